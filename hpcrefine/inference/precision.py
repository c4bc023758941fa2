"""Weights and inputs in digits: how much of them each upgrade knows.

Balanced digits round to nearest, so that the leading digit alone is the best approximation of its
length; scales are of each output channel. Truncated digits cut towards zero at powers of two, one
or more bits at a time, as in the published experiments.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError

Integers = NDArray[np.int64]

LIMB_BITS = 7  # so that int8 kernels are exact on processors without VNNI too
LIMB_PEAK = 1 << (LIMB_BITS - 1)


@dataclass(frozen=True)
class Precision:
    """How a network is quantised, and in how many upgrades.

    Attributes
    ----------
    digits : {"balanced", "truncate"}
        Digits that round to nearest, one scale for each output channel, activations on calibrated
        grids; or digits cut towards zero, one leading exponent for each tensor, activations on a
        grid of ``2**grid``.
    upgrades : int
        How many; each knows ``digit_bits`` more of the weights.
    digit_bits : int
        Bits of a digit of the weights, 1..7.
    grid_bits : int
        Balanced: bits of an activation, 4..15.
    grid : int
        Truncated: exponent of the activations' grid.
    leading : tuple of int, optional
        Truncated: exponents above the leading bit of each linear layer's weights; default the
        least that hold them.
    input_leading : int
        Truncated: the same of the input, of which each upgrade knows ``digit_bits`` more.
    """

    digits: Literal["balanced", "truncate"] = "balanced"
    upgrades: int = 2
    digit_bits: int = 7
    grid_bits: int = 8
    grid: int = -4
    leading: tuple[int, ...] | None = None
    input_leading: int = 0

    def __post_init__(self) -> None:
        most = 30 // self.digit_bits if self.digit_bits else 0
        for name, found, low, high in (
            ("digit_bits", self.digit_bits, 1, LIMB_BITS),
            ("upgrades", self.upgrades, 1, most),
            ("grid_bits", self.grid_bits, 4, 15),
            ("grid", self.grid, -14, 8),
        ):
            if not low <= found <= high:
                raise InputError(f"precision: {name}: found {found}, expected {low}..{high}")
        if self.digits == "balanced" and self.digit_bits == 1:
            raise InputError("precision: digit_bits: found 1, expected 2..7 for balanced digits")

    @property
    def bits(self) -> int:
        """Bits of a weight in the end."""
        return self.upgrades * self.digit_bits


@dataclass(frozen=True)
class Digits:
    """Weights as integers at each upgrade.

    Attributes
    ----------
    values : tuple of ndarray of int64, shape (K, out)
        The weights as known after each upgrade, in units of ``scales``.
    scales : tuple of ndarray of float64, shape (out,) or (1,)
        What such an integer stands for.
    """

    values: tuple[Integers, ...]
    scales: tuple[NDArray[np.float64], ...]


def balanced(weights: NDArray[Any], precision: Precision) -> Digits:
    """Cut weights, shape (K, out), into balanced digits with a scale for each output channel."""
    bits, upgrades = precision.digit_bits, precision.upgrades
    half, base = 1 << (bits - 1), 1 << bits
    highest = (half - 1) * ((base**upgrades - 1) // (base - 1))
    peaks = np.abs(weights, dtype=np.float64).max(axis=0)
    scale = np.where(peaks > 0, peaks, 1.0) / highest
    values = [np.rint(weights / scale).astype(np.int64)]
    for _ in range(upgrades - 1):
        values.append((values[-1] + half) >> bits)
    scales = [scale * float(base) ** place for place in range(upgrades)]
    return Digits(tuple(reversed(values)), tuple(reversed(scales)))


def truncated(weights: NDArray[Any], precision: Precision, leading: int) -> Digits:
    """Cut weights, shape (K, out), towards zero; those above ``2**leading`` end there."""
    values, scales = [], []
    for upgrade in range(precision.upgrades):
        place = leading - (upgrade + 1) * precision.digit_bits
        values.append(cut(weights, place, leading))
        scales.append(np.array([2.0**place]))
    return Digits(tuple(values), tuple(scales))


def exponent(weights: NDArray[Any]) -> int:
    """Return the least e with all weights below ``2**e`` in magnitude."""
    return int(np.frexp(np.abs(weights).max(initial=0.0))[1])


def cut(values: NDArray[Any], place: int, leading: int) -> Integers:
    """Cut values towards zero to multiples of ``2**place``, which the result counts."""
    highest = 2.0 ** (leading - place) - 1
    return np.clip(np.trunc(values * 2.0**-place), -highest, highest).astype(np.int64)


def limbs(values: Integers) -> list[NDArray[np.int8]]:
    """Write integers in balanced digits of 7 bits, the least significant first; at least one."""
    found: list[NDArray[np.int8]] = []
    while not found or values.any():
        low = ((values + LIMB_PEAK) & (2 * LIMB_PEAK - 1)) - LIMB_PEAK
        values = (values - low) >> LIMB_BITS
        found.append(low.astype(np.int8))
    return found


def addends(values: NDArray[Any]) -> list[tuple[int, NDArray[Any]]]:
    """Write integers as sums of 8-bit ones: pairs of a shift in bits and an array for kernels."""
    found: list[tuple[int, NDArray[Any]]] = []
    while values.dtype.itemsize > 1:
        low = values.astype(np.int8)  # the lowest 8 bits, as a number in -128..127
        found.append((8 * len(found), low))
        values = (values >> 8) + (low < 0)
        if not values.any():
            return found
        if values.min() >= -128 and values.max() <= 127:
            values = values.astype(np.int8)
    return [*found, (8 * len(found), values)]


def in_digits(weights: NDArray[Any], precision: Precision, leading: int) -> Digits:
    """Cut weights, shape (K, out), as the precision says; ``leading`` is for truncated ones."""
    if precision.digits == "balanced":
        return balanced(weights, precision)
    return truncated(weights, precision, leading)
