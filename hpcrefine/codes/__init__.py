"""Codes against stragglers: K blocks of rows into N tasks. No MPI."""

from hpcrefine.codes.base import Blocks, Code, DecodeError, coded_tasks
from hpcrefine.codes.mds import Mds
from hpcrefine.codes.uncoded import Uncoded
from hpcrefine.errors import InputError

CODES: dict[str, type[Code]] = {code.name: code for code in (Uncoded, Mds)}

__all__ = ["CODES", "Blocks", "Code", "DecodeError", "coded_tasks", "make_code"]


def make_code(scheme: str, tasks: int, redundancy: float = 1.0) -> Code:
    """Return the code of a scheme.

    Parameters
    ----------
    scheme : {"uncoded", "mds"}
        Name of the code.
    tasks : int
        Critical tasks K.
    redundancy : float
        Redundancy ratio Omega.

    Raises
    ------
    InputError
        If the scheme is unknown or a number is out of range.
    """
    if scheme not in CODES:
        raise InputError(f"[code] scheme: found {scheme!r}, expected one of {', '.join(CODES)}")
    return CODES[scheme](tasks, redundancy)
