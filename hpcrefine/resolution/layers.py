"""Which mini-jobs form which layer.

A mini-job (i, j) is the product of digit plane i of A with digit plane j of B; its *significance*
i + j says with which power of two it counts. A layer is a set of mini-jobs released together; the
layers so far always form a staircase (with (i, j) they hold every (i', j') above it), which is what
:mod:`hpcrefine.resolution.bounds` builds on. Source: Esfahanizadeh et al., "Successive Refinement
in Large-Scale Computation", IEEE TSP 2025 (`antidiagonal`, `product`; `square` is the linear twin
of its upgrades).
"""

from collections.abc import Callable
from dataclasses import dataclass

from hpcrefine.errors import InputError

MiniJob = tuple[int, int]


@dataclass(frozen=True)
class Layer:
    """Mini-jobs that are released together.

    Attributes
    ----------
    index : int
        Place in the order of release, from 0.
    minijobs : tuple of (int, int)
        Digit products (i, j) of this layer, in the order in which they are computed.
    share : float
        Operations of this and all earlier layers as a share of the one-shot product's, each
        mini-job costing 1/m**2 of it (the bit-complexity account of the source).
    """

    index: int
    minijobs: tuple[MiniJob, ...]
    share: float


def significances(minijobs: tuple[MiniJob, ...]) -> tuple[int, ...]:
    """Return the distinct values of i + j among mini-jobs, ascending."""
    return tuple(sorted({i + j for i, j in minijobs}))


_RELEASE: dict[str, Callable[[MiniJob], tuple[int, ...]]] = {
    "antidiagonal": lambda ij: (ij[0] + ij[1],),
    "product": lambda ij: (ij[0] + ij[1], ij[0]),
    "square": lambda ij: (max(ij),),
    "whole": lambda ij: (),
}
LAYERINGS = tuple(_RELEASE)


def layering(name: str, digits: int, truncate: int | None = None) -> tuple[Layer, ...]:
    """Cut the ``digits**2`` mini-jobs of a product into layers.

    Parameters
    ----------
    name : {"antidiagonal", "product", "square", "whole"}
        Antidiagonal: layer l holds all mini-jobs with i + j = l. Product: one mini-job a layer.
        Square: layer r completes the product of both operands cut to r + 1 digits.
        Whole: everything at once, without resolutions before the last.
    digits : int
        Digits m of each operand.
    truncate : int, optional
        Mini-jobs with i + j above it are never computed.

    Raises
    ------
    InputError
        If the name is unknown or ``truncate`` is negative.
    """
    if name not in _RELEASE:
        raise InputError(f"layering: found {name!r}, expected one of {', '.join(LAYERINGS)}")
    if truncate is not None and truncate < 0:
        raise InputError(f"truncate: found {truncate}, expected 0 or more")
    highest = 2 * digits - 2 if truncate is None else truncate
    release = _RELEASE[name]
    cells = [(i, j) for i in range(digits) for j in range(digits) if i + j <= highest]
    layers: list[Layer] = []
    done = 0
    for key in sorted({release(cell) for cell in cells}):
        minijobs = tuple(sorted((c for c in cells if release(c) == key), key=lambda c: (sum(c), c)))
        done += len(minijobs)
        layers.append(Layer(len(layers), minijobs, done / digits**2))
    return tuple(layers)
