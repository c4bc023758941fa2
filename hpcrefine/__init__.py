"""Layered-resolution matrix products over MPI: the leading digits first, the exact answer last.

The names below load on first use, so that a worker rank imports no more than it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from hpcrefine.launch import outlives_ranks

if TYPE_CHECKING:
    from hpcrefine.analysis.study import load
    from hpcrefine.cluster.master import Resolution
    from hpcrefine.cluster.pool import Pool
    from hpcrefine.errors import InputError, LostError

__version__ = "0.1.0"
__all__ = ["InputError", "LostError", "Pool", "Resolution", "__version__", "load"]

if outlives_ranks():
    import_module("hpcrefine.cluster")  # sets up mpi4py, which must not have loaded MPI before

_HOMES = {
    "InputError": "hpcrefine.errors",
    "LostError": "hpcrefine.errors",
    "Pool": "hpcrefine.cluster.pool",
    "Resolution": "hpcrefine.cluster.master",
    "load": "hpcrefine.analysis.study",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
