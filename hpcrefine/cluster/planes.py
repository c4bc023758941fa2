"""Blocks of operands as they reach a worker: by message, or standing in shared memory."""

from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcrefine.cluster.backoff import all_complete
from hpcrefine.cluster.messages import message
from hpcrefine.cluster.protocol import MASTER
from hpcrefine.kernels import Kernel

Plane = NDArray[Any]


class BlockPlanes:
    """Digit planes of blocks of one operand, loaded into the kernel's form when first used.

    Parameters
    ----------
    blocks : ndarray of BLOCK
        Which blocks.
    dtype : dtype
        int8 digits, or float64 for a one-shot product.
    shared : ndarray, shape (digits, rows, columns), optional
        All planes of the operand in shared memory.

    Attributes
    ----------
    blocks : ndarray of BLOCK
        The blocks.
    here : int
        How many digits have arrived.
    """

    def __init__(
        self, blocks: NDArray[np.void], dtype: np.dtype[Any], shared: Plane | None
    ) -> None:
        self.blocks, self._dtype, self._shared = blocks, dtype, shared
        self._planes: list[list[Plane]] = []
        self._loaded: dict[tuple[str, int, range], list[Plane]] = {}
        self.here = 0

    def post(self) -> list[Plane]:
        """Make room for the next digit; return the buffers that its messages fill, in order."""
        digit, buffers = len(self._planes), []
        planes: list[Plane] = []
        for start, limbs, rows, columns in self.blocks.tolist():
            if self._shared is not None and start >= 0:
                planes.append(self._shared[digit, None, start : start + rows])
                continue
            planes.append(np.empty((limbs, rows, columns), self._dtype))
            buffers.append(planes[-1])
        self._planes.append(planes)
        return buffers

    def limbs(self, digit: int, blocks: range, kernel: Kernel | None) -> list[Plane]:
        """Limbs of a digit of a block, or of neighbouring ones in shared memory."""
        planes = self._planes[digit][blocks.start]
        if len(blocks) > 1 and self._shared is not None:
            first, last = self.blocks[blocks.start], self.blocks[blocks.stop - 1]
            planes = self._shared[digit, None, first["start"] : last["start"] + last["rows"]]
        if kernel is None:
            return list(planes)
        key = kernel.name, digit, blocks  # held planes may outlive the kernel
        if key not in self._loaded:
            self._loaded[key] = [kernel.load(plane) for plane in planes]
        return self._loaded[key]


class Arrivals:
    """The planes of a round as they come in, most significant digit first.

    The receives of a digit are posted when those of the one before are complete, so that nothing
    overtakes the most significant planes.

    Parameters
    ----------
    comm : MPI.Comm
        Communicator of the pool.
    tag : int
        Of the messages.
    digits : int
        How many digits are to come.
    operands : BlockPlanes
        What they fill, in the order of the messages.
    """

    def __init__(self, comm: MPI.Comm, tag: int, digits: int, *operands: BlockPlanes) -> None:
        self._comm, self._tag, self._digits, self._operands = comm, tag, digits, operands
        self._requests: list[MPI.Request] = []
        self._here = 0
        self._post()

    def progress(self) -> bool:
        """Take what is here, posting the receives of the next digit; say whether all is."""
        while self._here < self._digits and all_complete(self._requests):
            self._here += 1
            for operand in self._operands:
                operand.here = self._here
            if self._here < self._digits:
                self._post()
        return self._here == self._digits

    def _post(self) -> None:
        buffers = [buffer for operand in self._operands for buffer in operand.post()]
        self._requests = [
            self._comm.Irecv(message(buffer), MASTER, self._tag) for buffer in buffers
        ]
