"""Load split and plans: what is computed where. No MPI."""
