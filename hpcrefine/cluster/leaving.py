"""How ranks leave: all at once when one fails, the master last when all is well."""

import atexit
import os
import socket
import sys
import time
import traceback

from mpi4py import MPI

from hpcrefine.launch import outlives_ranks

_LEAVING = 0.5  # seconds
_unable_to_part: list[MPI.Comm] = []


def abort(comm: MPI.Comm) -> None:
    """End all ranks; say on stderr which failed, where and why."""
    print(
        f"hpcrefine: rank {comm.rank} on {socket.gethostname()} failed:\n{traceback.format_exc()}",
        file=sys.stderr,
        flush=True,
    )
    comm.Abort(1)


def end_orphaned(comm: MPI.Comm) -> None:
    """End this worker, whose master has died."""
    text = f"hpcrefine: rank {comm.rank} on {socket.gethostname()} ends: the master has died"
    print(text, file=sys.stderr, flush=True)
    os._exit(1)


def end_without_goodbye(comm: MPI.Comm) -> None:
    """At this process's exit end all ranks: one of them would never come to ``MPI_Finalize``."""
    _unable_to_part.append(comm)
    atexit.register(comm.Abort, 0)


def leave_last(code: int) -> None:
    """Finalize and let the other ranks exit first: else the launcher comments on our exit code.

    Parameters
    ----------
    code : int
        With which this process is about to end, not 0.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if _unable_to_part:
        _unable_to_part[0].Abort(code)
    if not outlives_ranks():
        MPI.Finalize()
    time.sleep(_LEAVING)
