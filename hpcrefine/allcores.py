"""All cores of a node for one process, for a while."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

from hpcrefine.launch import available_cores

_LOOK = 0.01  # seconds
_AT_REST = 0.1  # of a core


@contextmanager
def unbound() -> Iterator[int]:
    """Let this process run on all cores of its node, also if a launcher bound it to one.

    Yields
    ------
    int
        How many they are.
    """
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        yield available_cores()
    finally:
        os.sched_setaffinity(0, own)


@contextmanager
def all_cores() -> Iterator[None]:
    """Let BLAS in this process use all cores of its node, until its threads are at rest again."""
    with unbound() as cores, threadpool_limits(cores, user_api="blas"):
        yield
        _rest()


def _rest() -> None:
    """Wait, a second at most, until threads of BLAS have stopped to spin for more work."""
    for _ in range(round(1 / _LOOK)):
        before = time.process_time()
        time.sleep(_LOOK)
        if time.process_time() - before < _AT_REST * _LOOK:
            return
