"""Codes whose results are integer combinations of the blocks, decoded exactly in integers.

The missing blocks solve a small linear system, whose floating-point solution is rounded, checked
in integers, and refined until the check holds. Since the system is regular, a solution that passes
is *the* solution.
"""

import itertools
import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

import numpy as np
from numpy.typing import NDArray

from hpcrefine.codes.base import Code, Combination, DecodeError, Integers, growth
from hpcrefine.errors import InputError

MAX_GROWTH = 1 << 31
"""How many times larger than a plain one a result may be: sums of 2**31 then fit int64."""

_REFINEMENTS = 20
_CHUNK_ENTRIES = 1 << 14


class Linear(Code):
    """The K blocks themselves, then integer combinations of them."""

    @property
    def threshold(self) -> int:
        """All N, unless a code knows better."""
        return self.coded

    @abstractmethod
    def combination(self, task: int) -> NDArray[np.int64]:
        """Return what a task t >= K computes: K coefficients of the blocks."""

    def left(self, task: int) -> Combination:
        """Blocks of rows, combined like the blocks of the product."""
        if task < self.tasks:
            return ((task, 1),)
        return terms(self.combination(task).tolist())

    def block(self, task: int) -> int | None:
        """Return the block of a plain task; combinations have none."""
        return task if task < self.tasks else None

    def recoverable(self, finished: Set[int]) -> bool:
        """Say whether there are as many independent combinations as missing blocks."""
        missing = [b for b in range(self.tasks) if b not in finished]
        return len(self.choose(missing, finished)) == len(missing)

    def choose(self, missing: Sequence[int], finished: Iterable[int]) -> list[int]:
        """Return as many combinations as there are missing blocks, independent in these."""
        combinations = sorted(t for t in finished if t >= self.tasks)
        if not missing or not combinations:
            return []
        rows = np.stack([self.combination(t) for t in combinations])[:, list(missing)]
        return [combinations[i] for i in independent_rows(rows)]

    def decode(
        self, blocks: Sequence[Integers], missing: Sequence[int], coded: Mapping[int, Integers]
    ) -> None:
        """Solve for the missing blocks, chunk by chunk so that all stays in cache."""
        if not missing:
            return
        used = self.choose(missing, coded)
        if len(used) < len(missing):
            raise ValueError(f"{len(missing)} blocks missing, {len(used)} combinations at hand")
        rows = np.stack([self.combination(t) for t in used])
        unknown = set(missing)
        known = [b for b in range(self.tasks) if b not in unknown and rows[:, b].any()]
        system = System(rows[:, list(missing)])
        for cut in _chunks(coded[used[0]].shape):
            right = np.stack([coded[task][cut] for task in used]).astype(np.int64)
            for b in known:
                part = blocks[b][cut].astype(np.int64)
                right[:, : part.shape[0], : part.shape[1]] -= rows[:, b, None, None] * part
            for b, found in zip(missing, system.solve(right), strict=True):
                store(found, blocks[b][cut])


class Separable(Linear):
    """A linear code from which any K tasks recover all (maximum distance separable, MDS)."""

    @property
    def threshold(self) -> int:
        """K."""
        return self.tasks

    def recoverable(self, finished: Set[int]) -> bool:
        """Any K."""
        return len(finished) >= self.tasks

    def choose(self, missing: Sequence[int], finished: Iterable[int]) -> list[int]:
        """Any as many as blocks are missing."""
        return sorted(t for t in finished if t >= self.tasks)[: len(missing)]


class System:
    """A regular system of integer equations.

    Parameters
    ----------
    matrix : ndarray of int64, shape (q, q)
        Its coefficients.
    """

    def __init__(self, matrix: NDArray[np.int64]) -> None:
        self._matrix = matrix
        self._scales = np.abs(matrix).max(axis=1)
        self._inverse = np.linalg.inv(self._equilibrated) / self._scales

    @property
    def condition(self) -> float:
        """2-norm condition number, each equation scaled to a largest coefficient of 1."""
        return float(np.linalg.cond(self._equilibrated))

    @property
    def _equilibrated(self) -> NDArray[np.float64]:
        scaled: NDArray[np.float64] = self._matrix / self._scales[:, None]
        return scaled

    def solve(self, right: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the integers x for which ``matrix @ x = right``.

        Parameters
        ----------
        right : ndarray of int64, shape (q, ...)
            Right-hand sides.

        Raises
        ------
        DecodeError
            If no integer solution is found.
        """
        flat = right.reshape(len(right), -1)
        solution, residual = np.zeros_like(flat), flat
        for _ in range(_REFINEMENTS):
            step = np.rint(self._inverse @ residual)
            if np.abs(step).max(initial=0) >= 2.0**63:
                break
            solution += step.astype(np.int64)
            residual = flat - self._matrix @ solution
            if not residual.any():
                return solution.reshape(right.shape)
        raise DecodeError(
            f"decoding {len(right)} blocks left a residual of {np.abs(residual).max()}, expected "
            f"0: a result is wrong (condition of the system: {self.condition:.0e})"
        )


def terms(coefficients: Iterable[int]) -> Combination:
    """Return the coefficients that are not zero, with their blocks."""
    return tuple((b, c) for b, c in enumerate(coefficients) if c)


def independent_rows(matrix: NDArray[np.int64]) -> list[int]:
    """Return the first rows that are independent, by fraction-free elimination in integers."""
    pivots: list[tuple[int, list[int]]] = []
    chosen: list[int] = []
    for index, row in enumerate(matrix.tolist()):
        for column, pivot in pivots:
            if factor := row[column]:
                row = [pivot[column] * x - factor * y for x, y in zip(row, pivot, strict=True)]
        if divisor := math.gcd(*row):
            row = [x // divisor for x in row]
            pivots.append((next(c for c, x in enumerate(row) if x), row))
            chosen.append(index)
        if len(chosen) == matrix.shape[1]:
            break
    return chosen


def store(found: NDArray[np.int64], block: Integers) -> None:
    """Put a decoded block, padded by zeros, where it belongs.

    Parameters
    ----------
    found : ndarray of int64, shape (..., height, width)
        Decoded, as large as the largest block.
    block : integer array, shape (..., rows, columns)
        Overwritten.

    Raises
    ------
    DecodeError
        If an entry does not fit, or the padding is not zero.
    """
    limits, (rows, columns) = np.iinfo(block.dtype), block.shape[-2:]
    beyond = found[..., rows:, :].any() or found[..., columns:].any()
    if beyond or found.min() < limits.min or found.max() > limits.max:
        raise DecodeError(
            f"a decoded block has entries outside {block.dtype} or beyond its rows or columns: "
            "a result is wrong"
        )
    block[...] = found[..., :rows, :columns]


def refuse_growth(code: Code, least: int = 1) -> None:
    """Raise InputError if results of a code outgrow int64.

    Parameters
    ----------
    code : Code
        The code.
    least : int
        How much they grow at least, where that is known without looking at each task.
    """
    growths = (growth(code.left(task)) * growth(code.right(task)) for task in range(code.coded))
    if any(grown > MAX_GROWTH for grown in itertools.chain([least], growths)):
        raise InputError(
            f"[code] tasks, redundancy: found {code.tasks} tasks coded into {code.coded} for "
            f"the scheme {code.name}, whose results would not fit int64, expected fewer (or "
            "the scheme blockdiagonal)"
        )


def _chunks(shape: tuple[int, ...]) -> Iterator[tuple[int | slice, ...]]:
    """Cut the last two dimensions of an array into chunks, whole rows where these are short."""
    height, columns = shape[-2:]
    width = max(1, min(columns, _CHUNK_ENTRIES))
    rows = max(1, _CHUNK_ENTRIES // width)
    for index in np.ndindex(shape[:-2]):
        for top in range(0, height, rows):
            for start in range(0, columns, width):
                yield (*index, slice(top, top + rows), slice(start, start + width))
