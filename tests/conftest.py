"""Which tests run where: those in tests/mpi on every rank of an MPI run, all others without MPI.

A plain ``python -m pytest`` reaches tests/mpi through test_mpi_ranks.py, which starts ``mpiexec``.
"""

from pathlib import Path

MPI_TESTS = Path(__file__).parent / "mpi"


def pytest_ignore_collect(collection_path, config):
    """Collect tests/mpi with ``--with-mpi``, and only then."""
    if collection_path.is_dir():
        return None
    of_mpi = MPI_TESTS in collection_path.parents
    return True if of_mpi != bool(config.getoption("--with-mpi", default=False)) else None
