r"""The error bound that goes with each resolution.

Let the mini-jobs computed so far form a staircase: with digit i of A go the first t(i) digits of
B. With R_t what the first t digits leave of an operand, the error is exactly

    A B - C  =  sum_i A_i R^B_{t(i)}  +  R^A_m B,

and by Cauchy and Schwarz each entry is at most the sum of products of the 2-norms of the rows and
columns on the right. Those norms are known from quantisation, so nothing is estimated: on random
data the bound is some sqrt(k) / 3 times the error, never below it. Digits of A that see the same
t are taken together, since A_i + ... + A_{i'-1} = R_i - R_{i'}.

Where float64 cannot hold the integer sums, each addition of a term x to a resolution C rounds by at
most min(2^-53 |C|, |x|), which is added to the bound.
"""

import itertools
import math
from dataclasses import dataclass

from hpcrefine.resolution.digits import Quantised
from hpcrefine.resolution.layers import Layer, significances

_SLACK = 1 + 2.0**-40  # covers the rounding in the evaluation of the bounds themselves


@dataclass(frozen=True)
class Bound:
    """Guaranteed bound on the largest error of any entry of a resolution.

    Attributes
    ----------
    absolute : float
        Bound on ``max |A B - value|``, in the units of the product.
    relative : float
        The same, relative to ``max_i |a_i|_2 * max_j |b_j|_2``.
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
    norm_a, norm_b = float(a.residuals[0].max()), float(b.residuals[0].max())
    if norm_a == 0 or norm_b == 0:
        return tuple(Bound(0.0, 0.0) for _ in layers)
    if math.isinf(norm_a) or math.isinf(norm_b):
        return tuple(Bound(math.inf, math.inf) for _ in layers)
    left, right = _Norms(a, norm_a), _Norms(b, norm_b)
    rounds = not exact_in_float64(a, b)
    stairs = [0] * a.digits
    rounding, additions, bounds = 0.0, 0, []
    for layer in layers:
        for i, _ in layer.minijobs:
            stairs[i] += 1
        missing = _missing(left, right, stairs)
        for significance in significances(layer.minijobs):
            additions += 1
            cells = [(i, j) for i, j in layer.minijobs if i + j == significance]
            term = sum(left.digit[i] * right.digit[j] for i, j in cells)
            rounding += min(2.0**-53 * (1 + missing + term + rounding), term) if rounds else 0.0
        relative = (missing + rounding) * _SLACK
        absolute = relative * norm_a * norm_b
        if a.exponents.min() + b.exponents.min() < -1074:  # entries may round as subnormals
            absolute += additions * 2.0**-1074
        bounds.append(Bound(absolute, relative))
    return tuple(bounds)


def exact_in_float64(a: Quantised, b: Quantised) -> bool:
    """Say whether every partial sum of digit products is an integer that float64 holds."""
    inner = a.shape[1]
    bits = a.digit_bits * a.digits - 1 + b.digit_bits * b.digits - 1
    return bool(2 * inner << bits <= 1 << 53)


class _Norms:
    """Largest norms over the vectors of an operand, relative to its largest vector."""

    def __init__(self, operand: Quantised, norm: float) -> None:
        residuals, digits = operand.residuals / norm, operand.norms / norm
        self.residual = [float(x) for x in residuals.max(axis=1)]
        self.digit = [float(x) for x in digits.max(axis=1)]

    def between(self, first: int, last: int) -> float:
        """Bound the norm of digits ``first`` to ``last - 1`` taken together."""
        joined = self.residual[first] + self.residual[last]
        return min(joined, sum(self.digit[first:last]))


def _missing(left: _Norms, right: _Norms, stairs: list[int]) -> float:
    """Sum the products of norms of all that the staircase leaves out."""
    total, first = 0.0, 0
    for count, group in itertools.groupby(stairs):
        last = first + len(list(group))
        if count == 0:
            break
        total += left.between(first, last) * right.residual[count]
        first = last
    return total + left.residual[first] * right.residual[0]
