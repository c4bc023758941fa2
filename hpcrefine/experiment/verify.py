"""Whether results are right: integers bit for bit, values against the operands as given."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcrefine.kernels.blas import Float64Kernel
from hpcrefine.resolution.digits import Array, Quantised
from hpcrefine.resolution.layers import Layer
from hpcrefine.resolution.refine import Refiner

Floats = NDArray[np.float64]

_EXTENDED_LIMIT = 2**26  # multiply-adds that the slow extended precision may take
_NEGLIGIBLE = 0.05  # share of the error bound that the reference's own rounding may have


@dataclass(frozen=True)
class Reference:
    """The product of the operands as given, on some rows.

    Attributes
    ----------
    rows : ndarray of int64
        Rows of the product that are compared.
    product : ndarray of longdouble or float64, shape (len(rows), p)
        Their true values, up to ``rounding``.
    rounding : float
        Bound on the error of ``product``, and of any float64 one-shot product.
    """

    rows: NDArray[np.int64]
    product: NDArray[np.floating]
    rounding: float

    def error(self, value: Floats) -> float:
        """Return the largest deviation of the compared rows of a resolution."""
        with np.errstate(invalid="ignore"):
            seen = value[self.rows]
            return float(np.where(seen == self.product, 0, np.abs(seen - self.product)).max())


def make_reference(a: Array, b: Array, smallest_bound: float, norms: float) -> Reference:
    """Multiply the operands as given, more exactly than the bound to be tested.

    Plain float64 serves where its worst-case rounding, k u max|a_i|_2 max|b_j|_2 (Higham,
    "Accuracy and Stability of Numerical Algorithms", sec. 3.5), is far below the bound; else
    a sample of rows is multiplied in extended precision.

    Parameters
    ----------
    a, b : ndarray, shapes (n, k) and (k, p)
        Operands.
    smallest_bound : float
        Smallest error bound that will be held against it.
    norms : float
        ``max_i |a_i|_2 * max_j |b_j|_2``.
    """
    inner = a.shape[1]
    rounding = (inner + 2) * 2.0**-53 * norms
    if rounding <= _NEGLIGIBLE * smallest_bound:
        rows = np.arange(a.shape[0])
        return Reference(rows, np.asarray(a, np.float64) @ np.asarray(b, np.float64), rounding)
    count = max(1, min(a.shape[0], _EXTENDED_LIMIT // (inner * b.shape[1])))
    rows = spread(a.shape[0], count)
    exact = a[rows].astype(np.longdouble) @ b.astype(np.longdouble)
    return Reference(rows, exact, rounding)


class Exact:
    """The integers that every layer must have, computed here by float64 BLAS on the digits.

    Parameters
    ----------
    left, right : Quantised
        The operands as the workers get them.
    layers : tuple of Layer
        Layers to check.
    mode : {"full", "sampled", "auto"}
        All rows, a sample of rows, or a sample only where all would cost more than ``limit``.
    limit : int
        Multiply-adds of digit products.
    """

    def __init__(
        self, left: Quantised, right: Quantised, layers: tuple[Layer, ...], mode: str, limit: int
    ) -> None:
        products = sum(len(layer.minijobs) for layer in layers)
        rows, inner, columns = *left.shape, right.shape[1]
        self.rows = compared_rows(rows, products * inner * columns, mode, limit)
        self.sampled = len(self.rows) < rows
        self._integers = [self._layer(left, right, layer) for layer in layers]
        top = left.digit_bits * (left.digits - 1) + right.digit_bits * (right.digits - 1)
        units = left.exponents[self.rows], right.exponents
        self._refiner = Refiner(*units, top=top, digit_bits=left.digit_bits)

    def _layer(
        self, left: Quantised, right: Quantised, layer: Layer
    ) -> dict[int, NDArray[np.int64]]:
        kernel, sums = Float64Kernel(), dict[int, NDArray[np.int64]]()
        peak = 4 ** (left.digit_bits - 1)
        for i, j in layer.minijobs:
            first = i + j not in sums
            total = sums.setdefault(i + j, np.empty((len(self.rows), right.shape[1]), np.int64))
            a, b = kernel.load(left.planes[i][self.rows]), kernel.load(right.planes[j])
            kernel.multiply(a, b, total, peak=peak, accumulate=not first)
        return sums

    def matches(self, layer: int, integers: dict[int, NDArray[np.int64]]) -> bool:
        """Compare the integers of a layer, shape (n, p) for each significance, bit for bit."""
        expected = self._integers[layer]
        return integers.keys() == expected.keys() and all(
            np.array_equal(integers[s][self.rows], expected[s]) for s in expected
        )

    def values(self) -> Iterator[Floats]:
        """Yield what each layer's resolution must be on ``rows``, bit for bit, coarse to fine.

        That is if layers are coded as a whole; and where float64 holds all sums, it proves the
        integers too.
        """
        value = None
        for sums in self._integers:
            integers = np.stack([sums[s] for s in sorted(sums)])
            out = np.empty(integers.shape[1:])
            self._refiner.add(slice(0, len(out)), integers, sorted(sums), value, out)
            yield out
            value = out


def compared_rows(total: int, each: int, mode: str, limit: int) -> NDArray[np.int64]:
    """Return which rows (or samples) are compared.

    Parameters
    ----------
    total : int
        How many there are.
    each : int
        Multiply-adds that comparing one of them takes.
    mode : {"full", "sampled", "auto", "off"}
        All, a sample, a sample only where all would cost more than the limit, or none.
    limit : int
        Multiply-adds.
    """
    if mode == "off":
        return np.empty(0, np.int64)
    affordable = limit // each
    count = total
    if mode == "sampled" or (mode == "auto" and affordable < total):
        count = max(1, min(total, affordable, max(1, total // 8)))
    return spread(total, count)


def spread(total: int, count: int) -> NDArray[np.int64]:
    """Return ``count`` indices spread evenly over 0..total-1, first and last among them."""
    return np.unique(np.linspace(0, total - 1, max(2, count)).round().astype(np.int64))
