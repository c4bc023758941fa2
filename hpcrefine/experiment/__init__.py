"""A job file run: its turns, each measured, compared with what is exact, and recorded."""
