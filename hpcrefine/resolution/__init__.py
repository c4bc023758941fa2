"""The mathematics of layering: digits, layers, bounds, refinement. No MPI, no files."""
