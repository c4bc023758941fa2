"""What is asked of a product, checked and turned into layers, bounds, a code and shared arrays."""

import operator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcrefine.cluster.shared import SharedArrays, Sharing
from hpcrefine.codes import Code, make_code
from hpcrefine.errors import InputError
from hpcrefine.resolution.bounds import Bound, error_bounds
from hpcrefine.resolution.digits import Array, Quantised, check_matrix
from hpcrefine.resolution.layers import Layer, layering
from hpcrefine.schedule.plan import Plan

CHECKS = ("none", "freivalds")
_MOST_TASKS = 4  # for each worker
_FAST_ROWS = 2048  # a GEMM of so many rows runs at full speed


@dataclass(frozen=True)
class Cut:
    """How the left operand is cut into digits and tasks; as in :meth:`Pool.matmul`."""

    digits: int
    digit_bits: int
    scale: str
    code: str
    tasks: int | None
    redundancy: float
    split: str
    survive: int

    def make_code(self, rows: int, workers: int) -> Code:
        """Return the code, with a number of tasks that suits the rows if none was given.

        Redundancy needs several tasks a worker to work with; else the fewest are best that still
        let a purge save something on large products.
        """
        if self.tasks is not None:
            count = operator.index(self.tasks)
        elif self.code == "uncoded":
            each = min(_MOST_TASKS, max(1, rows // (workers * _FAST_ROWS)))
            count = min(rows, workers * each)
        else:
            count = min(rows, _MOST_TASKS * workers)
            count -= self.code == "matdot" and count % 2 == 0  # 2 p - 1 there
        return make_code(self.code, count, float(self.redundancy))


@dataclass(frozen=True)
class Wanted:
    """Which layers are wanted and what is kept of them; as in :meth:`Pool.matmul`."""

    layers: str
    truncate: int | None
    tolerance: float | None
    relative_tolerance: float | None
    unit: str
    keep_integers: bool
    verify: str = "none"

    def __post_init__(self) -> None:
        if self.verify not in CHECKS:
            raise InputError(f"verify: found {self.verify!r}, expected one of {', '.join(CHECKS)}")

    def choose(
        self, left: Quantised, right: Quantised
    ) -> tuple[tuple[Layer, ...], tuple[Bound, ...]]:
        """Return the layers and their bounds, none that the tolerance does not need.

        Bounds are known before anything is computed.
        """
        truncate = None if self.truncate is None else operator.index(self.truncate)
        layers = layering(self.layers, left.digits, truncate)
        bounds = error_bounds(left, right, layers)
        for count, bound in enumerate(bounds, start=1):
            enough = self.tolerance is not None and bound.absolute <= self.tolerance
            relative = self.relative_tolerance
            if enough or (relative is not None and bound.relative <= relative):
                return layers[:count], bounds[:count]
        return layers, bounds


def check_operands(a: Array, b: Array) -> None:
    """Refuse what are no two matrices that can be multiplied.

    Raises
    ------
    InputError
        The message says what was found.
    """
    check_matrix(a, "a")
    check_matrix(b, "b")
    check_shapes(a.shape, b.shape)


def check_shapes(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    """Refuse shapes that do not fit."""
    if a[1] != b[0]:
        raise InputError(
            f"operands: found a of shape {a} and b of shape {b}, expected as many columns of a "
            "as rows of b"
        )


def shared_arrays(
    sharing: Sharing, plan: Plan, left: NDArray[np.int8], right: NDArray[np.int8], wanted: Wanted
) -> SharedArrays:
    """Make the arrays of a product in shared memory.

    Where blocks may have to be decoded, come twice or be checked, integers are kept, and the master
    refines; so it does where a code cuts columns.
    """
    rows, columns = plan.shape[0], plan.shape[2]
    code, whole = plan.code, plan.code.grid.inner == plan.code.grid.columns == 1
    redundant = not code.certain or wanted.verify != "none"
    values = []
    if whole and not redundant:
        values = [sharing.empty((rows, columns), np.float64) for _ in plan.layers]
    stores = [
        sharing.empty((len(unit.significances) * rows * columns,), plan.block_dtype(unit))
        for unit in plan.units
        if whole and (redundant or wanted.keep_integers)
    ]
    return SharedArrays(left, right, values, stores)
