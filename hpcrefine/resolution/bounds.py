r"""The error bound that goes with each resolution.

Let the mini-jobs computed so far form a staircase: with digit i of A go the first t(i) digits of
B. With R_t what the first t digits leave of an operand, the error is exactly

    A B - C  =  sum_i A_i R^B_{t(i)}  +  R^A_m B,

and by Cauchy and Schwarz each entry is at most the sum of products of the 2-norms of the rows and
columns on the right. Those norms are known from quantisation, so nothing is estimated: on random
data the bound is some sqrt(k) / 3 times the error, never below it. Digits of A that see the same
t are taken together, since A_i + ... + A_{i'-1} = R_i - R_{i'}.

Where float64 cannot hold the integer sums, each addition of a term x to a resolution C rounds by at
most min(2^-53 |C|, |x|), which is added to the bound. The few norms are combined in rational
arithmetic: nothing under- or overflows on the way, and only the result is rounded, upwards.
"""

import itertools
import math
import sys
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from hpcrefine.resolution.digits import Quantised
from hpcrefine.resolution.layers import Layer, significances

_ROUNDING = Fraction(1, 2**53)
_SMALLEST = Fraction(1, 2**1074)
_LARGEST = Fraction(sys.float_info.max)


@dataclass(frozen=True)
class Bound:
    """Guaranteed bound on the largest error of any entry of a resolution.

    Attributes
    ----------
    absolute : float
        Bound on ``max |A B - value|``, in the units of the product.
    relative : float
        The same, relative to ``max_i |a_i|_2 * max_j |b_j|_2``; infinite where that is so far below
        the smallest float64 that no float64 holds the quotient.
    """

    absolute: float
    relative: float


def error_bounds(a: Quantised, b: Quantised, layers: tuple[Layer, ...]) -> tuple[Bound, ...]:
    """Return the bound after each layer.

    Parameters
    ----------
    a, b : Quantised
        Left operand (one scale per row) and right operand (one per column).
    layers : tuple of Layer
        As made by :func:`hpcrefine.resolution.layers.layering`.
    """
    if not all(np.isfinite(x.residuals).all() for x in (a, b)):
        return tuple(Bound(math.inf, math.inf) for _ in layers)
    left, right = _Norms(a), _Norms(b)
    scale = left.residual[0] * right.residual[0]
    rounds = not exact_in_float64(a, b)
    subnormal = a.exponents.min() + b.exponents.min() < -1074
    stairs = [0] * a.digits
    rounding = Fraction(0)
    bounds = []
    for layer in layers:
        for i, _ in layer.minijobs:
            stairs[i] += 1
        missing = _missing(left, right, stairs)
        for significance in significances(layer.minijobs):
            cells = [(i, j) for i, j in layer.minijobs if i + j == significance]
            term = sum((left.digit(i) * right.digit(j) for i, j in cells), Fraction(0))
            if rounds:
                rounding += min(_ROUNDING * (scale + missing + term + rounding), term)
            if subnormal and scale:
                rounding += _SMALLEST
        error = missing + rounding
        overflows = 2 * (scale + error) > _LARGEST
        absolute = math.inf if overflows else _round_up(error)
        bounds.append(Bound(absolute, _round_up(error / scale) if scale else 0.0))
    return tuple(bounds)


def _round_up(exact: Fraction) -> float:
    if exact > _LARGEST:
        return math.inf
    rounded = float(exact)
    return rounded if Fraction(rounded) >= exact else math.nextafter(rounded, math.inf)


def exact_in_float64(a: Quantised, b: Quantised) -> bool:
    """Say whether every partial sum of digit products is an integer that float64 holds."""
    inner = a.shape[1]
    bits = a.digit_bits * a.digits - 1 + b.digit_bits * b.digits - 1
    return bool(2 * inner << bits <= 1 << 53)


class _Norms:
    """Largest norms over the vectors of an operand."""

    def __init__(self, operand: Quantised) -> None:
        self.residual = [Fraction(float(x)) for x in operand.residuals.max(axis=1)]

    def between(self, first: int, last: int) -> Fraction:
        """Bound the norm of digits ``first`` to ``last - 1`` taken together."""
        return self.residual[first] + self.residual[last]

    def digit(self, t: int) -> Fraction:
        """Bound the norm of digit t alone."""
        return self.between(t, t + 1)


def _missing(left: _Norms, right: _Norms, stairs: list[int]) -> Fraction:
    """Sum the products of norms of all that the staircase leaves out."""
    total, first = Fraction(0), 0
    for count, group in itertools.groupby(stairs):
        last = first + len(list(group))
        if count == 0:
            break
        total += left.between(first, last) * right.residual[count]
        first = last
    return total + left.residual[first] * right.residual[0]
