"""The protocol of a code: K blocks of rows become N coded tasks, enough of which give all back.

Codes act on the rows of digit planes of A, so each digit product of a coded block is the same
combination of the digit products of the plain blocks: layers decode one by one, in integers.
"""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError

Plane = NDArray[np.int8]
Integers = NDArray[np.signedinteger]


class DecodeError(RuntimeError):
    """Decoding did not reproduce the results it was given: a result or the decoder is wrong."""


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


class Code(ABC):
    """K critical tasks encoded into N >= K.

    Parameters
    ----------
    tasks : int
        K.
    redundancy : float
        Omega >= 1; N = ceil(Omega K).

    Raises
    ------
    InputError
        If K < 1 or Omega < 1.
    """

    name: ClassVar[str]
    exact: ClassVar[bool]
    """Whether decoding returns the integers themselves."""
    min_workers: ClassVar[int] = 1

    def __init__(self, tasks: int, redundancy: float = 1.0) -> None:
        if tasks < 1:
            raise InputError(f"[code] tasks: found {tasks}, expected K of 1 or more")
        if not 1 <= redundancy < math.inf:
            raise InputError(
                f"[code] redundancy: found {redundancy}, expected a finite Omega of 1 or more"
            )
        self.tasks = tasks
        self.coded = coded_tasks(tasks, redundancy)

    @abstractmethod
    def block(self, task: int) -> int | None:
        """Return the plain block that a coded task computes, or None if it is a combination."""

    @abstractmethod
    def limbs(self, task: int) -> int:
        """Return how many int8 planes one digit plane of this task needs.

        A combination of blocks outgrows int8; it is split into balanced base-256 digits again, and
        its digit products cost this many times those of a plain block.
        """

    @abstractmethod
    def peak(self, task: int, digit_peak: int) -> int:
        """Bound the magnitude of a digit of this task, the digits of A being up to a peak."""

    @abstractmethod
    def encode(self, plane: Plane, task: int) -> Plane:
        """Return the limbs of a coded task, most significant first, shape (limbs, rows, k)."""

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
        blocks : sequence of K integer arrays, shape (..., rows of the block, columns)
            Results of the plain blocks; the missing ones are overwritten.
        missing : sequence of int
            Blocks to fill in.
        coded : mapping of task to int64 array, shape (..., height, columns)
            Results of finished combinations.

        Raises
        ------
        DecodeError
            If the check of the decoded blocks fails.
        """
