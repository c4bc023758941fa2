"""Whether the result of a task is right, told without multiplying again.

R = L B is believed if R X = L (B X) for a random X of a few columns: three products with a few
vectors instead of one with a matrix (Freivalds, "Probabilistic machines can use less running time",
IFIP 1977).
"""

import itertools
import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hpcrefine.codes.base import Blocks, Code, Combination, Integers, Plane, growth, is_plain
from hpcrefine.errors import InputError

MiniJob = tuple[int, int]
Floats = NDArray[np.float64]
Sums = NDArray[np.int64]

_MANTISSA = 1 << 53
_CHUNK_ENTRIES = 1 << 17  # as float64 they stay in the second level of the cache
_INT32 = 1 << 31
_SPLIT = 1 << 36  # larger results are multiplied in two halves, for longer exact sums


class Freivalds:
    """Checks results of the tasks of one product, in time O(n^2) each.

    The random X is the same for all tasks. What they share is computed once, when first needed:
    Y = B_c X for each block c of B and digit, and A_a Y for each block a of A and pair of digits.
    Coefficients combine these, so a combination of blocks costs hardly more than a plain one.

    Parameters
    ----------
    code : Code
        What the tasks combine.
    left : ndarray of int8, shape (digits, n, k)
        Digit planes of A; neither may change while results are checked.
    right : ndarray of int8, shape (digits, k, p)
        Digit planes of B.
    digit_bits : int
        Bits of a digit: none is larger than ``2**(digit_bits - 1)``.
    seed : int, optional
        Makes X the same every time; by default nobody can foresee it.

    Raises
    ------
    InputError
        If results of these sizes do not fit int64 with a bit to spare.

    Notes
    -----
    Sums are exact modulo 2**64: those in floating point stay below 2**53 and are added up in
    int64, which wraps around. Let e be a wrong row of a result minus the right one, e_q one of its
    entries that is not 0, and x a column of X. Whatever the other entries of x are, e x = 0 fixes
    e_q x_q modulo 2**64. Two integers x_q of b bits that both comply differ by less than 2**b, and
    |e_q| < 2**(64 - b); so e_q times their difference, a multiple of 2**64, is 0: they are the
    same. Of 2**b equally likely x_q at most one complies, and w columns accept a wrong result with
    probability 2**(-b w) at most. For |e_q| to be that small, b is chosen such that right results
    stay below 2**(63 - b), and larger ones are rejected unseen.
    """

    value_bits: ClassVar[int] = 10
    """Largest b: bits of a random integer, fewer where results are very large."""
    security: ClassVar[int] = 40
    """Least b w: random bits that a wrong row has to meet."""

    def __init__(
        self, code: Code, left: Plane, right: Plane, digit_bits: int, *, seed: int | None = None
    ) -> None:
        self._code, self._left, self._right = code, left, right
        self._rows = Blocks(left.shape[1], code.grid.rows)
        self._inner = Blocks(left.shape[2], code.grid.inner)
        self._columns = Blocks(right.shape[2], code.grid.columns)
        self._peak = 1 << (digit_bits - 1)
        worst = max(
            self._limit(code.left(task), code.right(task), len(left)) for task in range(code.coded)
        )
        narrow = self._peak**2 * self._columns.height  # times 2**b: terms of A_a Y
        self._bits = min(self.value_bits, 63 - worst.bit_length(), 53 - narrow.bit_length())
        if self._bits < 1:
            raise InputError(
                f"[code] verify: found results of up to {worst:.1e}, expected at most 4.6e18: "
                "fewer tasks or digit_bits make them smaller"
            )
        half, width = 1 << (self._bits - 1), math.ceil(self.security / self._bits)
        generator = np.random.default_rng(seed)
        drawn = generator.integers(-half, half, (self._columns.height, width))
        self._random = drawn.astype(np.float64)
        self._narrowed: dict[tuple[int, int], Floats] = {}  # (j, block of B): Y
        self._shared: dict[tuple[int, int, int, int], Sums] = {}  # (i, block of A, j, of B): A_a Y

    @property
    def error_probability(self) -> float:
        """Bound ``2**(-b w)`` on the probability that one wrong result is accepted.

        At most 2**-40, with b bits in each of the w random integers of a row of X; the class's
        notes derive it. The errors must not depend on X, which workers never see.
        """
        return float(2.0 ** (-self._bits * self._random.shape[1]))

    def accepts(self, minijobs: Sequence[MiniJob], task: int, result: Integers) -> bool:
        """Say whether a result is right.

        Parameters
        ----------
        minijobs : sequence of (int, int)
            Digit products (i, j) of the task.
        task : int
            Which blocks of both operands it combines.
        result : ndarray of int32 or int64, shape (significances, rows, columns)
            For each value of i + j, ascending, the sum of the products of the combined blocks.

        Returns
        -------
        bool
            True for every right result; for a wrong one too with a probability of at most
            ``error_probability``, never if its shape is wrong or it is no array of signed integers.

        Raises
        ------
        ValueError
            If a rateless task has so much larger coefficients than the first N that X does not suit
            it.
        """
        left, right = self._code.left(task), self._code.right(task)
        groups: dict[int, list[MiniJob]] = {}
        for i, j in sorted(minijobs, key=sum):
            groups.setdefault(i + j, []).append((i, j))
        shape = (len(groups), self._height(left), self._width(right))
        if result.shape != shape or result.dtype.kind != "i":
            return False
        limit = self._limit(left, right, max(map(len, groups.values())))
        if limit >> (63 - self._bits):
            raise ValueError(
                f"task {task} has larger results than the {self._code.coded} first ones"
            )
        if result.itemsize <= 4:
            limit = _INT32
        elif result.max(initial=0) > limit or result.min(initial=0) < -limit:
            return False
        self._share(minijobs, left, right)
        return all(
            np.array_equal(self._times_random(matrix, limit), self._expected(cells, left, right))
            for matrix, cells in zip(result, groups.values(), strict=True)
        )

    def _height(self, left: Combination) -> int:
        rows = self._rows.slices[left[0][0] // self._inner.count]
        return int(rows.stop - rows.start) if is_plain(left) else self._rows.height

    def _width(self, right: Combination) -> int:
        columns = self._columns.slices[right[0][0] % self._columns.count]
        return int(columns.stop - columns.start) if is_plain(right) else self._columns.height

    def _limit(self, left: Combination, right: Combination, cells: int) -> int:
        """Return the largest magnitude of an entry of a right result."""
        return growth(left) * growth(right) * self._peak**2 * self._inner.height * cells

    def _times_random(self, matrix: Integers, limit: int) -> Sums:
        """Multiply a result by X, modulo 2**64."""
        factors = self._random[: matrix.shape[1]]
        if limit <= _SPLIT:
            return multiply_exactly(matrix, factors, limit << (self._bits - 1))
        largest = 1 << (32 + self._bits - 1)
        high = multiply_exactly(matrix >> 32, factors, largest)
        return (high << 32) + multiply_exactly(matrix & 0xFFFFFFFF, factors, largest)

    def _expected(self, cells: Sequence[MiniJob], left: Combination, right: Combination) -> Sums:
        """Combine what is shared, modulo 2**64."""
        total = np.zeros((self._height(left), self._random.shape[1]), np.int64)
        for (i, j), (a, f), (b, g) in itertools.product(cells, left, right):
            part = self._shared[i, a, j, b]
            total[: len(part)] += f * g * part
        return total

    def _share(self, minijobs: Sequence[MiniJob], left: Combination, right: Combination) -> None:
        """Compute what is not there yet; each block of A meets all it is to meet in one pass."""
        for i, (a, _) in itertools.product(sorted({i for i, _ in minijobs}), left):
            wanted = [
                (j, b)
                for (other, j), (b, _) in itertools.product(minijobs, right)
                if other == i and (i, a, j, b) not in self._shared
            ]
            if not wanted:
                continue
            row, part = divmod(a, self._inner.count)
            block = self._left[i][self._rows.slices[row], self._inner.slices[part]]
            factors = np.concatenate([self._narrow(j, b) for j, b in wanted], axis=1)
            largest = self._peak**2 * self._columns.height << (self._bits - 1)
            product = multiply_exactly(block, factors[: block.shape[1]], largest)
            for (j, b), shared in zip(wanted, np.split(product, len(wanted), axis=1), strict=True):
                self._shared[i, a, j, b] = shared

    def _narrow(self, j: int, b: int) -> Floats:
        """Return Y of a block of B, zero rows below it up to the largest block."""
        if (j, b) not in self._narrowed:
            part, column = divmod(b, self._columns.count)
            block = self._right[j][self._inner.slices[part], self._columns.slices[column]]
            factors = self._random[: block.shape[1]]
            product = multiply_exactly(block, factors, self._peak << (self._bits - 1))
            padded = np.zeros((self._inner.height, factors.shape[1]))
            padded[: len(product)] = product
            self._narrowed[j, b] = padded
        return self._narrowed[j, b]


def multiply_exactly(matrix: NDArray[np.signedinteger], factors: Floats, largest: int) -> Sums:
    """Multiply integers by a few vectors of integers, modulo 2**64.

    Parameters
    ----------
    matrix : ndarray of integers, shape (rows, inner)
        Converted to float64 chunk by chunk.
    factors : ndarray of float64, shape (inner, columns)
        Integers.
    largest : int
        Bound on the magnitude of the product of an entry of each, at most 2**53.
    """
    rows, inner = matrix.shape
    width = max(1, min(inner, _MANTISSA // largest, _CHUNK_ENTRIES))
    height = max(1, min(rows, _CHUNK_ENTRIES // width))
    chunk = np.empty(height * width)
    total = np.zeros((rows, factors.shape[1]), np.int64)
    for top, start in itertools.product(range(0, rows, height), range(0, inner, width)):
        source = matrix[top : top + height, start : start + width]
        part = chunk[: source.size].reshape(source.shape)
        np.copyto(part, source)
        total[top : top + height] += (part @ factors[start : start + width]).astype(np.int64)
    return total
