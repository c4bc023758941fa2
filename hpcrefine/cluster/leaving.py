"""How ranks leave: all at once when one fails, the master last when all is well."""

import atexit
import os
import sys
import time
import traceback
from typing import NoReturn

from mpi4py import MPI

from hpcrefine.cluster.protocol import MASTER
from hpcrefine.cluster.remote import GoneError
from hpcrefine.launch import host, outlives_ranks

_LEAVING = 0.5  # seconds
_unable_to_part: list[MPI.Comm] = []


def abort(comm: MPI.Comm, error: BaseException) -> NoReturn:
    """End all ranks; say on stderr which failed, where and why.

    Parameters
    ----------
    comm : MPI.Comm
        Communicator of the pool.
    error : BaseException
        What happened here; it may be that another rank failed or died.
    """
    without_master = isinstance(error, GoneError)  # before MPI may know
    if isinstance(error, MPI.Exception) and outlives_ranks():
        if error.Get_error_class() == MPI.ERR_REVOKED:
            _end_here()  # the rank that failed has said why
        without_master = _has_failed(comm, MASTER)
    if without_master:
        _say(comm, "ends: the master has died")
        _end_here()
    _say(comm, f"failed:\n{''.join(traceback.format_exception(error))}")
    if outlives_ranks():
        _revoke(comm)
    comm.Abort(1)


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


def _has_failed(comm: MPI.Comm, rank: int) -> bool:
    """Say whether this process knows that a rank has died."""
    failed = comm.Get_failed()
    return rank in failed.Translate_ranks(range(failed.size), comm.Get_group())


def _revoke(comm: MPI.Comm) -> None:
    """Let all that others do in a communicator fail.

    Where a run outlives its ranks, MPI_Abort may end no more than the process that calls it (Open
    MPI 5.0.11 does so from four ranks on).
    """
    comm.Revoke()
    until = time.monotonic() + _LEAVING
    while time.monotonic() < until:
        MPI.COMM_SELF.Iprobe()  # word of it spreads while we call MPI
        time.sleep(_LEAVING / 100)


def _say(comm: MPI.Comm, what: str) -> None:
    text = f"hpcrefine: rank {comm.rank} on {host()} {what}"
    print(text, file=sys.stderr, flush=True)


def _end_here() -> NoReturn:
    sys.stdout.flush()
    os._exit(1)
