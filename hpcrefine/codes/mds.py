"""A systematic MDS code over blocks of rows, decoded exactly in integers.

The first K tasks are the blocks themselves; each further task is a small integer combination of
all blocks. Any K results recover the rest: the missing blocks solve a small linear system, whose
floating-point solution is rounded, checked in integers, and refined until the check holds. Since
the system is regular, a solution that passes is *the* solution.
"""

from collections.abc import Mapping, Sequence, Set
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hpcrefine.codes.base import Blocks, Code, DecodeError, Integers, Plane
from hpcrefine.codes.generator import parity_generator
from hpcrefine.resolution.digits import MAX_DIGIT_BITS
from hpcrefine.resolution.sweep import largest_integer

_REFINEMENTS = 20
_CHUNK_ENTRIES = 1 << 14


class Mds(Code):
    """K plain tasks and ceil(Omega K) - K combinations; any K of all suffice."""

    name: ClassVar[str] = "mds"
    exact: ClassVar[bool] = True

    def __init__(self, tasks: int, redundancy: float = 1.0) -> None:
        super().__init__(tasks, redundancy)
        self.generator = parity_generator(self.coded - tasks, tasks)

    def block(self, task: int) -> int | None:
        """Return the block of a plain task; combinations have none."""
        return task if task < self.tasks else None

    def limbs(self, task: int) -> int:
        """As many base-256 digits as the largest possible sum needs."""
        if task < self.tasks:
            return 1
        largest, limbs = self._growth(task) * 128, 1
        while largest > largest_integer(limbs, MAX_DIGIT_BITS):
            limbs += 1
        return limbs

    def peak(self, task: int, digit_peak: int) -> int:
        """Sum of the magnitudes of the coefficients times the peak."""
        return digit_peak if task < self.tasks else self._growth(task) * digit_peak

    def _growth(self, task: int) -> int:
        return int(np.abs(self.generator[task - self.tasks]).sum())

    def encode(self, plane: Plane, task: int) -> Plane:
        """Combine the blocks (short ones padded by zero rows) and split the sum into limbs."""
        blocks = Blocks(plane.shape[0], self.tasks)
        total = np.zeros((blocks.height, plane.shape[1]), np.int32)
        for coefficient, rows in zip(self.generator[task - self.tasks], blocks.slices, strict=True):
            part = np.multiply(plane[rows], np.int32(coefficient), dtype=np.int32)
            total[: part.shape[0]] += part
        limbs = np.empty((self.limbs(task), *total.shape), np.int8)
        for limb in limbs[::-1]:
            np.copyto(limb, total, casting="unsafe")  # int8 wraps: the balanced digit
            total += 128
            total >>= MAX_DIGIT_BITS
        return limbs

    def recoverable(self, finished: Set[int]) -> bool:
        """Any K."""
        return len(finished) >= self.tasks

    def decode(
        self, blocks: Sequence[Integers], missing: Sequence[int], coded: Mapping[int, Integers]
    ) -> None:
        """Solve for the missing blocks, chunk by chunk of columns so that all stays in cache."""
        if not missing:
            return
        used = sorted(coded)[: len(missing)]
        if len(used) < len(missing):
            raise ValueError(f"{len(missing)} blocks missing, {len(used)} combinations at hand")
        rows = self.generator[[task - self.tasks for task in used]]
        known = [b for b in range(self.tasks) if b not in set(missing)]
        height, columns = coded[used[0]].shape[-2:]
        width = max(1, _CHUNK_ENTRIES // height)
        for index in np.ndindex(coded[used[0]].shape[:-2]):
            for start in range(0, columns, width):
                cut = (*index, slice(None), slice(start, start + width))
                right = np.stack([coded[task][cut] for task in used]).astype(np.int64)
                for b in known:
                    part = blocks[b][cut]
                    coefficients = rows[:, b, None, None]
                    right[:, : part.shape[0]] -= coefficients * part.astype(np.int64)
                solution = solve_exactly(rows[:, list(missing)], right)
                for b, found in zip(missing, solution, strict=True):
                    block = blocks[b][cut]
                    _require_fit(found, block)
                    block[...] = found[: block.shape[0]]


def solve_exactly(matrix: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Solve ``matrix @ x = right`` in integers.

    Parameters
    ----------
    matrix : ndarray of int64, shape (q, q)
        Regular.
    right : ndarray of int64, shape (q, ...)
        Right-hand sides.

    Raises
    ------
    DecodeError
        If no integer solution is found.
    """
    flat = right.reshape(len(matrix), -1)
    inverse = np.linalg.inv(matrix.astype(np.float64))
    solution = np.zeros_like(flat)
    residual = flat.copy()
    for _ in range(_REFINEMENTS):
        solution += np.rint(inverse @ residual).astype(np.int64)
        residual = flat - matrix @ solution
        if not residual.any():
            return solution.reshape(right.shape)
    raise DecodeError(
        f"decoding {len(matrix)} blocks left a residual of {np.abs(residual).max()}, expected 0: "
        "a result is wrong"
    )


def _require_fit(found: NDArray[np.int64], block: Integers) -> None:
    limits = np.iinfo(block.dtype)
    beyond = found[block.shape[-2] :].any() or found.min() < limits.min or found.max() > limits.max
    if beyond:
        raise DecodeError(
            f"a decoded block has entries outside {block.dtype} or beyond its rows: a result is "
            "wrong"
        )
