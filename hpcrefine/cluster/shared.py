"""A product's arrays in shared memory: as the master announces, as a worker finds them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import DTypeLike, NDArray

from hpcrefine.cluster.arena import Arena, Attachments
from hpcrefine.cluster.messages import receive_table
from hpcrefine.cluster.protocol import SEGMENT
from hpcrefine.resolution.refine import Refiner


@dataclass(frozen=True)
class SharedArrays:
    """What the master shares for one product.

    Attributes
    ----------
    left, right : ndarray of int8 or float64, shapes (digits, n, k) and (digits, k, p)
        Planes of the operands; None where there are none to share.
    values : sequence of ndarray of float64, shape (n, p)
        One for each layer, filled by the workers; empty if they do not refine.
    stores : sequence of ndarray
        One for each unit: its integers, block after block; empty if they are not kept.
    """

    left: NDArray[Any] | None
    right: NDArray[Any] | None
    values: Sequence[NDArray[np.float64]]
    stores: Sequence[NDArray[np.signedinteger]]


class Sharing:
    """Which workers share memory with the master, and what lies there for one product.

    Parameters
    ----------
    arena : Arena or None
        The memory; None if no worker shares it.
    ranks : collection of int
        The workers that do.
    """

    def __init__(self, arena: Arena | None, ranks: Collection[int]) -> None:
        self.arena, self.ranks = arena, frozenset(ranks)
        self._arrays: SharedArrays | None = None

    def publish(self, arrays: SharedArrays) -> None:
        """Set what the workers find, unless there is nobody to find it."""
        if self.ranks:
            self._arrays = arrays

    def arrays_for(self, rank: int) -> SharedArrays | None:
        """Return what a worker finds; None if it gets messages."""
        return self._arrays if rank in self.ranks else None

    def refines(self, rank: int) -> bool:
        """Say whether a worker writes the resolutions of its blocks itself."""
        arrays = self.arrays_for(rank)
        return arrays is not None and bool(arrays.values)

    @property
    def values(self) -> Sequence[NDArray[np.float64]]:
        """Resolutions that the workers write, one for each layer; empty if they do not."""
        return self._arrays.values if self._arrays else ()

    def store(self, unit: int) -> NDArray[np.signedinteger] | None:
        """Return the shared memory of a unit's integers, if they are kept there."""
        stores = self._arrays.stores if self._arrays else ()
        return stores[unit] if stores else None

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array, shared if that is possible."""
        return np.empty(shape, dtype) if self.arena is None else self.arena.empty(shape, dtype)

    def table(self, *, left: bool = True, results: bool = True) -> NDArray[np.void]:
        """Describe the segments, in the order of the attributes of SharedArrays.

        Parameters
        ----------
        left, results : bool
            Whether the planes of A, and values and stores, are among them.
        """
        if self._arrays is None or self.arena is None:
            return np.empty(0, SEGMENT)
        operands = [self._arrays.left if left else None, self._arrays.right]
        arrays: list[NDArray[Any]] = [planes for planes in operands if planes is not None]
        if results:
            arrays += [*self._arrays.values, *self._arrays.stores]
        return np.concatenate([self.arena.row(array) for array in arrays])

    def release(self) -> None:
        """Let go of the arrays: no worker is at them any more."""
        self._arrays = None


class Shared:
    """The same from the worker's side, received with the plan.

    Attributes
    ----------
    any : bool
        Whether memory is shared at all.
    left, right : ndarray, shapes (digits, n, k) and (digits, k, p), or None
        Planes.
    values : list of ndarray of float64, shape (n, p)
        Resolutions to write, one for each layer.
    stores : list of ndarray of uint8
        Integers to write, one for each unit.
    refiner : Refiner or None
        Turns integers into resolutions, if that is the worker's business.
    """

    def __init__(
        self, comm: MPI.Comm, header: np.void, memory: Attachments | None, *, held: bool
    ) -> None:
        number = int(header["round"])
        segments = receive_table(comm, SEGMENT, header["segments"], number)
        rows, inner, columns = (int(header[name]) for name in ("rows", "inner", "columns"))
        floating, digits = bool(header["floating"]), int(header["digits"])
        self.any = len(segments) > 0
        self.left = self.right = self.refiner = None
        self.values: list[NDArray[np.float64]] = []
        self.stores: list[NDArray[np.uint8]] = []
        if memory is None or not self.any:
            return
        dtype = np.float64 if floating else np.int8
        here = 0
        if not held:
            self.left = memory.array(segments[0], (digits, rows, inner), dtype)
            here = 1
        self.right = memory.array(segments[here], (digits, inner, columns), dtype)
        values, stores = np.split(segments[here + 1 :], [int(header["values"])])
        self.values = [memory.array(row, (rows, columns), np.float64) for row in values]
        self.stores = [memory.array(row, (int(row["nbytes"]),), np.uint8) for row in stores]
        if self.values and not floating:
            exponents = receive_table(comm, np.dtype(np.int64), rows + columns, number)
            self.refiner = Refiner(
                exponents[:rows],
                exponents[rows:],
                top=int(header["top"]),
                digit_bits=int(header["digit_bits"]),
            )
