"""A systematic MatDot code: the inner dimension is cut, the product is a sum of p plain ones.

A(x) = sum_i A_i L_i(x) and B(x) = sum_i B_i L_i(x) with the Lagrange polynomials L_i of the nodes
0..p-1; task t computes C(x_t) = A(x_t) B(x_t), of degree 2p - 2. At the nodes these are the plain
products A_i B_i, whose sum is wanted. All points are consecutive integers, where Lagrange
polynomials are integers. Source: Dutta, Fahim, Haddadpour, Jeong, Cadambe, Grover, "On the optimal
recovery threshold of coded matrix multiplication", IEEE Trans. Inf. Theory 66 (1), 2020.
"""

from collections.abc import Mapping, Sequence, Set
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hpcrefine.codes.base import Combination, Grid, Integers
from hpcrefine.codes.linear import Separable, refuse_growth, store, terms
from hpcrefine.errors import InputError


class MatDot(Separable):
    """Values of C at K = 2p - 1 points and more; what is decoded are the first K of them.

    Raises
    ------
    InputError
        If K is even, or coefficients outgrow results of 64 bits. Omega = 1.25 goes up to K = 13,
        Omega = 1.5 up to 11, Omega = 2 up to 11.
    """

    name: ClassVar[str] = "matdot"

    def __init__(self, tasks: int, redundancy: float = 1.0) -> None:
        super().__init__(tasks, redundancy)
        if tasks % 2 == 0:
            raise InputError(
                f"[code] tasks: found {tasks} for the scheme {self.name}, expected an odd number "
                f"(2p - 1 for p parts of the inner dimension): {tasks - 1} or {tasks + 1}"
            )
        self._parts = (tasks + 1) // 2
        refuse_growth(self, least=(2**self._parts - 1) ** 2)  # at the point -1

    @property
    def grid(self) -> Grid:
        """Return 1, p, 1."""
        return Grid(1, self._parts, 1)

    def left(self, task: int) -> Combination:
        """Return A at the point of a task."""
        if task < self._parts:
            return ((task, 1),)
        return terms(_lagrange(range(self._parts), self._point(task)))

    def right(self, task: int) -> Combination:
        """Return B at the point of a task."""
        return self.left(task)

    def block(self, task: int) -> int | None:
        """No task computes the whole product, unless it has only one part."""
        return 0 if self._parts == 1 else None

    def combination(self, task: int) -> NDArray[np.int64]:
        """Return C(x) of a task t >= K as a combination of those of the first K tasks."""
        points = [self._point(t) for t in range(self.tasks)]
        nodes = range(min(points), max(points) + 1)
        values = np.array(_lagrange(nodes, self._point(task)), np.int64)
        return values[np.subtract(points, nodes[0])]

    def recoverable(self, finished: Set[int]) -> bool:
        """Say whether all plain tasks are there, or any 2p - 1."""
        return len(finished) >= self.tasks or finished >= set(range(self._parts))

    def decode(
        self, blocks: Sequence[Integers], missing: Sequence[int], coded: Mapping[int, Integers]
    ) -> None:
        """Add up the plain products, interpolated first where some are missing."""
        if not missing:
            return
        values = {t: coded[t] for t in range(self.tasks) if t in coded}
        if not values.keys() >= set(range(self._parts)):
            shape = next(iter(coded.values())).shape if coded else blocks[0].shape
            lost = [t for t in range(self.tasks) if t not in coded]
            values |= {t: np.empty(shape, np.int64) for t in lost}
            super().decode([values[t] for t in range(self.tasks)], lost, coded)
        total = values[0].astype(np.int64)
        for t in range(1, self._parts):
            total += values[t]
        store(total, blocks[0])

    def _point(self, task: int) -> int:
        """0..p-1, then -1, p, -2, p + 1, .."""
        if task < self._parts:
            return task
        beyond, above = divmod(task - self._parts, 2)
        return self._parts + beyond if above else -1 - beyond


def _lagrange(nodes: range, point: int) -> list[int]:
    """Values at an integer of the Lagrange polynomials of consecutive integers."""
    values = []
    for i in nodes:
        above = below = 1
        for j in nodes:
            if j != i:
                above, below = above * (point - j), below * (i - j)
        values.append(above // below)
    return values
