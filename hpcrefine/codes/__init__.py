"""Codes against stragglers: blocks of two operands into N tasks. No MPI."""

from hpcrefine.codes.base import Blocks, Code, DecodeError, coded_tasks
from hpcrefine.codes.blockdiagonal import BlockDiagonal
from hpcrefine.codes.lt import LubyTransform
from hpcrefine.codes.matdot import MatDot
from hpcrefine.codes.mds import Mds
from hpcrefine.codes.polynomial import Polynomial
from hpcrefine.codes.replication import Replication
from hpcrefine.codes.speculative import Speculative
from hpcrefine.codes.uncoded import Uncoded
from hpcrefine.errors import InputError

CODES: dict[str, type[Code]] = {
    code.name: code
    for code in (
        Uncoded,
        Speculative,
        Replication,
        Mds,
        BlockDiagonal,
        Polynomial,
        MatDot,
        LubyTransform,
    )
}

__all__ = ["CODES", "Blocks", "Code", "DecodeError", "coded_tasks", "make_code"]


def make_code(scheme: str, tasks: int, redundancy: float = 1.0) -> Code:
    """Return the code of a scheme.

    Parameters
    ----------
    scheme : str
        Name of the code, one of ``CODES``.
    tasks : int
        Critical tasks K.
    redundancy : float
        Redundancy ratio Omega.

    Raises
    ------
    InputError
        If the scheme is unknown, or a number is out of range or nothing for this scheme.
    """
    if scheme not in CODES:
        raise InputError(f"[code] scheme: found {scheme!r}, expected one of {', '.join(CODES)}")
    return CODES[scheme](tasks, redundancy)
