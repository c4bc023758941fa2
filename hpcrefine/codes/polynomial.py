"""A systematic polynomial code: both operands are encoded, so that blocks are cut both ways.

Task t multiplies ``sum_i u_i A_i`` by ``sum_j v_j B_j``, u = (1, x, .., x^(p-1)) and
v = (1, x^p, .., x^(p(q-1))) at its own point x: a value of a polynomial whose K = p q coefficients
are the blocks A_i B_j. Source: Yu, Maddah-Ali, Avestimehr, "Polynomial codes: an optimal design for
high-dimensional coded matrix multiplication", NeurIPS 2017. Theirs evaluates only; here the first K
tasks are the coefficients themselves. Any K of all tasks still suffice: generalised Vandermonde
matrices at distinct positive points have no zero minor (Gantmacher, "The Theory of Matrices",
vol. 2, ch. XIII, sec. 8).
"""

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hpcrefine.codes.base import Combination, Grid
from hpcrefine.codes.linear import Separable, refuse_growth, terms


class Polynomial(Separable):
    """K = p q plain products of p blocks of rows of A by q of columns of B, then encoded ones.

    Raises
    ------
    InputError
        Where coefficients, powers of degree K - 1, outgrow results of 64 bits. Omega = 1.25 goes up
        to K = 20, Omega = 1.5 up to 16, Omega = 2 up to 14.
    """

    name: ClassVar[str] = "polynomial"

    def __init__(self, tasks: int, redundancy: float = 1.0) -> None:
        super().__init__(tasks, redundancy)
        self._points = positive_points(self.coded - tasks)
        refuse_growth(self)

    @property
    def grid(self) -> Grid:
        """Return p, 1, q: p >= q as near to each other as K = p q allows."""
        columns = max(q for q in range(1, math.isqrt(self.tasks) + 1) if self.tasks % q == 0)
        return Grid(self.tasks // columns, 1, columns)

    def left(self, task: int) -> Combination:
        """Return a block of rows of A, or all of them times powers of x."""
        rows, _, columns = self.grid
        if task < self.tasks:
            return ((task // columns, 1),)
        return terms(self._powers(task, rows, 1))

    def right(self, task: int) -> Combination:
        """Return a block of columns of B, or all of them times powers of x^p."""
        rows, _, columns = self.grid
        if task < self.tasks:
            return ((task % columns, 1),)
        return terms(self._powers(task, columns, rows))

    def combination(self, task: int) -> NDArray[np.int64]:
        """Return the powers of x, block by block."""
        rows, _, columns = self.grid
        u, v = self._powers(task, rows, 1), self._powers(task, columns, rows)
        return np.outer(np.array(u, np.int64), np.array(v, np.int64)).ravel()

    def _powers(self, task: int, count: int, step: int) -> list[int]:
        """Powers 0, step, .. of x = a / b, times the largest power of b."""
        a, b = self._points[task - self.tasks]
        return [a ** (step * i) * b ** (step * (count - 1 - i)) for i in range(count)]


def positive_points(count: int) -> list[tuple[int, int]]:
    """Return distinct positive rationals (a, b), those of the smallest powers first."""
    points: list[tuple[int, int]] = []
    largest = 0
    while len(points) < count:
        largest += 1
        smaller = [b for b in range(1, largest + 1) if math.gcd(largest, b) == 1]
        points += [p for b in smaller for p in dict.fromkeys([(largest, b), (b, largest)])]
    return points[:count]
