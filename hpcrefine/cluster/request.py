"""What is asked of a product, checked and turned into layers, bounds, a code and shared arrays."""

import operator
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcrefine.cluster.shared import SharedArrays, Sharing
from hpcrefine.codes import Code, make_code
from hpcrefine.errors import InputError
from hpcrefine.resolution.bounds import Bound, error_bounds
from hpcrefine.resolution.digits import Array, Quantised, Team, check_matrix, quantise
from hpcrefine.resolution.layers import Layer, layering
from hpcrefine.schedule.plan import Plan
from hpcrefine.schedule.split import Split

CHECKS = ("none", "freivalds")
_MOST_TASKS = 4  # for each worker
_FAST_ROWS = 2048  # a GEMM of so many rows runs at full speed


@dataclass(frozen=True)
class Cut:
    """How the left operand is cut into digits and tasks; as in :meth:`Pool.matmul`."""

    digits: int = 2
    digit_bits: int = 8
    scale: str = "row"
    code: str = "uncoded"
    tasks: int | None = None
    redundancy: float = 1.0
    split: Split = Split("uniform")  # noqa: RUF009 (frozen)
    survive: int = 0

    def quantise(self, matrix: Array, name: str, team: Team | None = None) -> Quantised:
        """Cut operand ``a`` or ``b`` into digits."""
        axis = 1 if name == "a" else 0
        digits, bits = self.digits, self.digit_bits
        return quantise(matrix, digits, bits, axis=axis, scale=self.scale, team=team, name=name)

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

    layers: str = "antidiagonal"
    truncate: int | None = None
    tolerance: float | None = None
    relative_tolerance: float | None = None
    unit: str = "layer"
    keep_integers: bool = False
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


def read_options(options: Mapping[str, Any]) -> tuple[Cut, Wanted]:
    """Sort options of :meth:`Pool.matmul` by what they are about.

    Raises
    ------
    TypeError
        If there is no such option.
    """
    about_cut = {field.name for field in fields(Cut)}
    cut = {name: value for name, value in options.items() if name in about_cut}
    cut["split"] = Split.of(cut.get("split", "uniform"))
    rest = {name: value for name, value in options.items() if name not in about_cut}
    return Cut(**cut), Wanted(**rest)


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
    whole = plan.code.grid.inner == plan.code.grid.columns == 1
    redundant = not plan.certain or wanted.verify != "none"
    values = []
    if whole and not redundant:
        values = [sharing.empty((rows, columns), np.float64) for _ in plan.layers]
    stores = [
        sharing.empty((len(unit.significances) * rows * columns,), plan.block_dtype(unit))
        for unit in plan.units
        if whole and (redundant or wanted.keep_integers)
    ]
    return SharedArrays(left, right, values, stores)
