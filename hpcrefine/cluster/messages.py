"""Messages of any size (most MPI libraries count in 32-bit integers) and tables."""

from functools import cache
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcrefine.cluster.backoff import wait_all
from hpcrefine.cluster.protocol import MASTER, Tag, as_bytes, round_tag

_LARGEST_COUNT = 2**31 - 1


def message(buffer: NDArray[Any]) -> NDArray[Any] | list[Any]:
    """Describe a C-contiguous array to MPI as bytes; beyond 2 GiB it is counted in rows.

    Both sides must describe a message by arrays of equal shape and type.
    """
    if buffer.nbytes <= _LARGEST_COUNT:
        return as_bytes(buffer)
    columns = buffer.shape[-1]
    return [buffer, buffer.size // columns, _row(columns * buffer.itemsize)]


@cache
def _row(size: int) -> MPI.Datatype:
    return MPI.BYTE.Create_contiguous(size).Commit()


def receive_table(comm: MPI.Comm, dtype: np.dtype[Any], rows: int, number: int = 0) -> NDArray[Any]:
    """Receive a table that belongs to a command, of a round; an empty one is not sent."""
    table = np.zeros(int(rows), dtype)
    if len(table):
        wait_all([comm.Irecv(as_bytes(table), MASTER, round_tag(Tag.PLAN, number))])
    return table
