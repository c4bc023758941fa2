"""Master and workers over MPI: the only package that imports mpi4py."""
