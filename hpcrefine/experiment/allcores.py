"""All cores of a node for one process, for a while."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from hpcrefine import launch


@contextmanager
def unbound() -> Iterator[int]:
    """Let this process run on all cores of its node, also if a launcher bound it to one.

    Yields
    ------
    int
        How many threads fill them, if each calls BLAS with as many threads as this process is set
        to.
    """
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        yield max(1, launch.available_cores() // launch.prepare_process())
    finally:
        os.sched_setaffinity(0, own)
