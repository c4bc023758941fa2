"""The protocol of a code: blocks of two operands become coded tasks, enough of which give all back.

A code cuts A (n x k) into ``grid.rows`` x ``grid.inner`` blocks and B (k x p) into ``grid.inner`` x
``grid.columns`` blocks. A task multiplies one integer combination of blocks of A by one of B. Codes
act on digit planes, so each digit product of coded blocks is the same combination of the digit
products of the plain ones: layers decode one by one, in integers.
"""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError
from hpcrefine.resolution.digits import MAX_DIGIT_BITS
from hpcrefine.resolution.sweep import largest_integer

Plane = NDArray[np.int8]
Integers = NDArray[np.signedinteger]

Combination = tuple[tuple[int, int], ...]
"""Blocks with their integer coefficients."""

WHOLE: Combination = ((0, 1),)


class DecodeError(RuntimeError):
    """Decoding did not reproduce the results it was given: a result or the decoder is wrong."""


class Grid(NamedTuple):
    """Into how many parts a code cuts the rows of A, the inner dimension, the columns of B."""

    rows: int
    inner: int
    columns: int


@dataclass(frozen=True)
class Blocks:
    """Rows 0..n-1 cut into K blocks whose sizes differ by at most one."""

    rows: int
    count: int

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Rows of each block."""
        edges = [self.rows * b // self.count for b in range(self.count + 1)]
        return tuple(slice(a, b) for a, b in itertools.pairwise(edges))

    @property
    def height(self) -> int:
        """Rows of the largest block: what a coded block is padded to."""
        return math.ceil(self.rows / self.count)


def coded_tasks(tasks: int, redundancy: float) -> int:
    """Return ceil(Omega K), not misled by the rounding of Omega to float64."""
    return math.ceil(tasks * redundancy - 1e-9)


def is_plain(combination: Combination) -> bool:
    """Say whether a combination is one block as it is."""
    return len(combination) == 1 and combination[0][1] == 1


def growth(combination: Combination) -> int:
    """Return how many times larger than a digit a combination of digits can be."""
    return sum(abs(coefficient) for _, coefficient in combination)


def limbs(combination: Combination) -> int:
    """Return how many int8 planes one digit plane of a combination needs.

    A combination of blocks outgrows int8; it is split into balanced base-256 digits again, and its
    digit products cost this many times those of a plain block.
    """
    if is_plain(combination):
        return 1
    largest, count = growth(combination) << (MAX_DIGIT_BITS - 1), 1
    while largest > largest_integer(count, MAX_DIGIT_BITS):
        count += 1
    return count


def encode(plane: Plane, rows: Blocks, columns: Blocks, combination: Combination) -> Plane:
    """Combine blocks of a plane.

    Parameters
    ----------
    plane : ndarray of int8, shape (rows.rows, columns.rows)
        Digit plane.
    rows, columns : Blocks
        How it is cut; block b is part ``b // columns.count`` of the rows and
        ``b % columns.count`` of the columns. Short blocks are padded by zeros.
    combination : Combination
        What is added up.

    Returns
    -------
    ndarray of int8, shape (limbs, rows.height, columns.height)
        Balanced base-256 digits of the sum, most significant first.
    """
    total = np.zeros((rows.height, columns.height), _sum_type(combination))
    for block, coefficient in combination:
        row, column = divmod(block, columns.count)
        source = plane[rows.slices[row], columns.slices[column]]
        part = np.multiply(source, total.dtype.type(coefficient), dtype=total.dtype)
        total[: part.shape[0], : part.shape[1]] += part
    split = np.empty((limbs(combination), *total.shape), np.int8)
    for limb in split[::-1]:
        np.copyto(limb, total, casting="unsafe")  # int8 wraps: the balanced digit
        total += 1 << (MAX_DIGIT_BITS - 1)
        total >>= MAX_DIGIT_BITS
    return split


def _sum_type(combination: Combination) -> type[np.int32 | np.int64]:
    return np.int32 if growth(combination) < 1 << (31 - MAX_DIGIT_BITS) else np.int64


class Code(ABC):
    """A way to cut and combine operands into tasks.

    Parameters
    ----------
    tasks : int
        Critical tasks K.
    redundancy : float
        Omega >= 1; N = ceil(Omega K) tasks are handed out at first.

    Attributes
    ----------
    tasks, coded : int
        K and N.

    Raises
    ------
    InputError
        If K < 1 or Omega < 1.
    """

    name: ClassVar[str]
    exact: ClassVar[bool] = True
    """Whether decoding returns the integers themselves."""
    reissues: ClassVar[bool] = False
    """Whether idle workers get copies of unfinished tasks."""
    rateless: ClassVar[bool] = False
    """Whether there are tasks beyond N: as many as it takes."""

    def __init__(self, tasks: int, redundancy: float = 1.0) -> None:
        if tasks < 1:
            raise InputError(f"[code] tasks: found {tasks}, expected K of 1 or more")
        if not 1 <= redundancy < math.inf:
            raise InputError(
                f"[code] redundancy: found {redundancy}, expected a finite Omega of 1 or more"
            )
        self.tasks = tasks
        self.coded = coded_tasks(tasks, redundancy)

    @property
    def grid(self) -> Grid:
        """How the operands are cut; K blocks of rows unless a code says otherwise."""
        return Grid(self.tasks, 1, 1)

    @property
    def outputs(self) -> int:
        """Blocks of the product, row by row of the grid."""
        return self.grid.rows * self.grid.columns

    @property
    def certain(self) -> bool:
        """Whether each block has one task, at one worker, and no other way to be known."""
        return self.coded == self.tasks and not (self.reissues or self.rateless)

    @property
    @abstractmethod
    def threshold(self) -> int:
        """Recovery threshold: any so many of the N tasks give all back."""

    @property
    def cost(self) -> float:
        """Digit products of full size that all N tasks cost, for each digit product wanted."""
        work = sum(limbs(self.left(t)) * limbs(self.right(t)) for t in range(self.coded))
        return work / math.prod(self.grid)

    def facts(self) -> dict[str, str | int | float | bool]:
        """Return what there is to say of the code in a row of a table."""
        return {
            "scheme": self.name,
            "tasks": self.tasks,
            "coded": self.coded,
            "threshold": self.threshold,
            "cost": self.cost,
            "exact": self.exact,
        }

    @abstractmethod
    def left(self, task: int) -> Combination:
        """Return the blocks of A that a task adds up."""

    def right(self, task: int) -> Combination:
        """Return the blocks of B that a task adds up."""
        return WHOLE

    @abstractmethod
    def block(self, task: int) -> int | None:
        """Return the block of the product that a task computes, None if it is a combination."""

    def group(self, task: int) -> int:
        """Return what a task has in common with those that should be at other workers."""
        return task

    @abstractmethod
    def recoverable(self, finished: Set[int]) -> bool:
        """Say whether these finished tasks give all blocks back."""

    @abstractmethod
    def decode(
        self, blocks: Sequence[Integers], missing: Sequence[int], coded: Mapping[int, Integers]
    ) -> None:
        """Fill in the missing blocks.

        Parameters
        ----------
        blocks : sequence of integer arrays, shape (..., rows of the block, columns of the block)
            The blocks of the product; the missing ones are overwritten.
        missing : sequence of int
            Blocks to fill in.
        coded : mapping of task to integer array, shape (..., height, width)
            Results of finished combinations, as large as the largest block.

        Raises
        ------
        DecodeError
            If the check of the decoded blocks fails.
        """
