"""What the ranks on the master's node have in common: memory for operands and results."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import DTypeLike, NDArray

from hpcrefine.cluster.arena import Arena
from hpcrefine.cluster.dispatch import Outbox
from hpcrefine.cluster.protocol import Command
from hpcrefine.cluster.roster import Roster
from hpcrefine.cluster.shared import Sharing
from hpcrefine.cluster.survey import Ranks
from hpcrefine.launch import available_cores
from hpcrefine.resolution.digits import Array, Threads

_QUANTISING_THREADS = 8  # the workers wait meanwhile; memory is the limit beyond a few


class Commons:
    """The master's arena with those who share it.

    Parameters
    ----------
    comm : MPI.Comm
        Communicator of the pool.
    roster : Roster
        Who is there.
    outbox : Outbox
        For word of memory that is given up.
    """

    def __init__(self, comm: MPI.Comm, roster: Roster, outbox: Outbox) -> None:
        self._comm, self._roster, self._outbox = comm, roster, outbox
        self._arena = Arena(self._forget)
        self._sharing: list[int] = []
        self._reading: list[int] = []

    def admit(self, workers: Sequence[dict[str, Any]]) -> None:
        """Take note of which workers can share memory with us, and which can read ours."""
        self._sharing = [row["rank"] for row in workers if row["shared"]]
        self._reading = [row["rank"] for row in workers if row["readable"]]

    @property
    def team(self) -> Ranks:
        """Who quantises."""
        arena = self._arena if self._sharers else None
        return Ranks(self._comm, self._roster, self._sharers, self._reading, arena, _threads())

    def onto(self, digits: int, shape: tuple[int, ...]) -> "Onto":
        """Return a team that needs no worker, with planes where workers find them."""
        return Onto(self.empty((digits, *shape), np.int8))

    def sharing(self) -> Sharing:
        """Return what a new product can share, and with whom."""
        return Sharing(self._arena if self._sharers else None, self._sharers)

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array of any content, shared if that is possible."""
        return self.sharing().empty(shape, dtype)

    def place(self, matrix: Array) -> Array:
        """Return a copy that workers can read, or the matrix itself where that would not help."""
        numbers = matrix.dtype.kind in "fiu" and matrix.size > 0
        if not (self._sharers and numbers and matrix.flags.c_contiguous):
            return matrix
        return self._arena.copy(matrix, matrix.dtype, _threads())

    def as_float64(self, matrix: Array) -> NDArray[np.float64]:
        """Return a matrix as contiguous float64, shared if that is possible; copied if need be."""
        if not self._sharers:
            return np.ascontiguousarray(matrix, np.float64)
        usable = matrix.dtype == np.float64 and matrix.flags.c_contiguous
        if usable and self._arena.holds(matrix):
            return matrix.view(np.float64)
        return self._arena.copy(matrix, np.float64, _threads())

    def close(self) -> None:
        """Give up what is free; arrays still in use keep their memory."""
        self._arena.close()

    @property
    def _sharers(self) -> list[int]:
        return [rank for rank in self._sharing if not self._roster.gone(rank)]

    def _forget(self, segment: int) -> None:
        self._outbox.command(Command.FORGET, self._sharers, segment=segment)


class Onto(Threads):
    """One thread that quantises onto given planes.

    Parameters
    ----------
    planes : ndarray of int8, shape (digits, rows, columns)
        Where the digits go.
    """

    def __init__(self, planes: NDArray[np.int8]) -> None:
        super().__init__()
        self._planes = planes

    def planes(self, digits: int, shape: tuple[int, int]) -> NDArray[np.int8]:
        """Return the planes given."""
        return self._planes


def _threads() -> int:
    return min(available_cores(), _QUANTISING_THREADS)
