"""Master and workers over MPI; the only package that imports mpi4py."""

import sys
import warnings

import mpi4py

from hpcrefine.launch import outlives_ranks

if outlives_ranks():
    # Ranks meet once more in MPI_Finalize, and where one has died, Open MPI may wait for it for
    # ever (open-mpi/ompi issue 11404). When a run goes on without dead ranks, its launcher lets
    # the living exit without that meeting.
    mpi4py.rc.finalize = False
    if "mpi4py.MPI" in sys.modules:
        warnings.warn(
            "import hpcrefine before mpi4py.MPI: else the ranks that outlive another may wait for "
            "it at the end",
            RuntimeWarning,
            stacklevel=2,
        )
