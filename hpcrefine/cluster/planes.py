"""Digit planes as they reach a worker: by message, or as word that they stand in shared memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcrefine.cluster.messages import message
from hpcrefine.cluster.protocol import MASTER, Tag
from hpcrefine.kernels import Kernel

Plane = NDArray[Any]


class LeftPlanes:
    """Planes of A of one worker's blocks, loaded into the kernel's form when first used.

    Parameters
    ----------
    blocks : ndarray of BLOCK
        The worker's blocks.
    inner : int
        Columns of A.
    dtype : dtype
        int8 digits, or float64 for a one-shot product.
    shared : ndarray, shape (digits, n, k), optional
        All planes of A in shared memory.
    """

    def __init__(
        self, blocks: NDArray[np.void], inner: int, dtype: np.dtype[Any], shared: Plane | None
    ) -> None:
        self._blocks, self._inner, self._dtype, self._shared = blocks, inner, dtype, shared
        self._planes: list[list[Plane]] = []
        self._loaded: dict[tuple[str, int, range], list[Plane]] = {}

    def post(self) -> list[Plane]:
        """Make room for the next digit; return the buffers that its messages fill, in order."""
        digit, buffers = len(self._planes), []
        planes: list[Plane] = []
        for start, rows, limbs in self._blocks.tolist():
            if self._shared is not None and start >= 0:
                planes.append(self._shared[digit, None, start : start + rows])
                continue
            planes.append(np.empty((limbs, rows, self._inner), self._dtype))
            buffers.append(planes[-1])
        self._planes.append(planes)
        return buffers

    def limbs(self, digit: int, blocks: range, kernel: Kernel | None) -> list[Plane]:
        """Limbs of a digit of a block, or of neighbouring ones in shared memory."""
        planes = self._planes[digit][blocks.start]
        if len(blocks) > 1 and self._shared is not None:
            (start, *_), (last, rows, _) = (
                self._blocks[b].tolist() for b in (blocks[0], blocks[-1])
            )
            planes = self._shared[digit, None, start : last + rows]
        if kernel is None:
            return list(planes)
        key = kernel.name, digit, blocks  # held planes may outlive the kernel
        if key not in self._loaded:
            self._loaded[key] = [kernel.load(plane) for plane in planes]
        return self._loaded[key]


class Arrivals:
    """The planes of a job as they come in, most significant digit first.

    The receives of a digit are posted when those of the one before are complete, so that nothing
    overtakes the most significant planes.

    Parameters
    ----------
    comm : MPI.Comm
        Communicator of the pool.
    digits : int
        How many digits are to come.
    left : LeftPlanes
        Planes of A.
    held : bool
        Whether those are here already.
    right : sequence of ndarray, shape (k, p)
        Where each plane of B goes; empty if none comes.
    shared : bool
        Whether B stands in shared memory, so that one byte announces it.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        digits: int,
        left: LeftPlanes,
        *,
        held: bool,
        right: Sequence[Plane],
        shared: bool,
    ) -> None:
        self._comm, self._digits, self.left, self._held = comm, digits, left, held
        self._right, self._shared = right, shared
        self._loaded: dict[int, Plane] = {}
        self._requests: list[MPI.Request] = []
        self._here = 0
        self._post()

    def progress(self) -> int:
        """Return how many digits are here, posting the receives of the next one."""
        while self._here < self._digits and MPI.Request.Testall(self._requests):
            self._here += 1
            if self._here < self._digits:
                self._post()
        return self._here

    def right(self, digit: int, kernel: Kernel | None) -> Plane:
        """Digit plane of B."""
        if kernel is None:
            return self._right[digit]
        if digit not in self._loaded:
            self._loaded[digit] = kernel.load(self._right[digit])
        return self._loaded[digit]

    def _post(self) -> None:
        buffers: list[Plane] = []
        if self._shared:
            buffers.append(np.empty(1, np.uint8))
        elif self._right:
            buffers.append(self._right[self._here])
        if not self._held:
            buffers += self.left.post()
        self._requests = [
            self._comm.Irecv(message(buffer), MASTER, Tag.PLANE) for buffer in buffers
        ]
