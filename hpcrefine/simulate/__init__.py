"""Job files with random workers in place of ranks: the same plans, the same record. No MPI."""
