"""Strips of rows of a matrix on their way to digit planes, block by block within the cache.

A *source* gives blocks of rows: of an array, or of another process's memory. Strips are
independent, so threads or processes may share a matrix.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_TILE = 64
_SMALLEST_SQUARES = 2.0**-1000  # below it, squares of entries may have underflowed
_SAFE_EXPONENT = 900  # beyond it a power of two may overflow when used as a factor


class Source(Protocol):
    """Rows of a matrix."""

    shape: tuple[int, ...]

    def read(self, rows: slice, scratch: Floats) -> NDArray[Any]:
        """Return a block of rows, C-contiguous; ``scratch``, of its shape, may hold it."""


class Rows:
    """The rows of an array of any memory order."""

    def __init__(self, matrix: NDArray[Any]) -> None:
        self._matrix = matrix
        self.shape: tuple[int, ...] = matrix.shape

    def read(self, rows: slice, scratch: Floats) -> NDArray[Any]:
        """Return the rows where they are, or copied to be in order.

        Strided ones are copied tile by tile: a cache line is used whole when loaded.
        """
        block = self._matrix[rows]
        if block.flags.c_contiguous:
            return block
        for start in range(0, block.shape[1], _TILE):
            scratch[:, start : start + _TILE] = block[:, start : start + _TILE]
        return scratch


class NotFiniteError(Exception):
    """An entry is NaN or infinite."""


class Swept(NamedTuple):
    """What the sweep over a strip found out beside the digits.

    Attributes
    ----------
    peaks : ndarray of float64, shape (vectors of the strip,)
        Largest magnitude of each vector.
    squares : ndarray of float64, shape (digits + 1, vectors of the strip)
        Squared norms of each vector (within the strip) in its units: of all of it, of its digits
        from t = 1, 2, ... on, of what all digits leave. Those of digits are summed in float32.
    """

    peaks: Floats
    squares: Floats


def largest_integer(digits: int, digit_bits: int) -> int:
    """Return the largest q such that every integer in [-q, q] has ``digits`` balanced digits."""
    if digit_bits == 1:
        return (1 << (digits + 1)) // 3
    return (
        ((1 << (digit_bits - 1)) - 1)
        * ((1 << (digits * digit_bits)) - 1)
        // ((1 << digit_bits) - 1)
    )


def unit_exponents(peaks: Floats, digits: int, digit_bits: int) -> NDArray[np.int64]:
    """Return the smallest exponent u for which every rounded entry has enough digits.

    Raises
    ------
    NotFiniteError
        If a peak is NaN or infinite.
    """
    if not math.isfinite(peaks.max(initial=0)):
        raise NotFiniteError
    largest = largest_integer(digits, digit_bits)
    limit = float(largest)
    if limit > largest:  # float64 rounded it up
        limit = math.nextafter(limit, 0)
    # With several bits a digit, a peak of 2**(digits * digit_bits - 1) or more is always too large.
    sure = int(digit_bits > 1)
    units: NDArray[np.int64] = np.frexp(peaks)[1] - np.int64(digits * digit_bits - sure)
    for _ in range(2 - sure):
        units += np.rint(np.ldexp(peaks, -units)) > limit
    units[peaks == 0] = 0
    return units


def strip_peaks(source: Source, strip: slice, axis: int, block_entries: int) -> Floats:
    """Return the largest magnitude of each vector within a strip, NaN if an entry is."""
    columns = source.shape[1]
    found = np.zeros(strip.stop - strip.start if axis == 1 else columns)
    scratch = np.empty((_height(strip, columns, block_entries), columns))
    for rows in _blocks(strip, columns, block_entries):
        peaks = _largest(source.read(rows, scratch[: rows.stop - rows.start]), axis)
        if axis == 1:
            found[_within(rows, strip)] = peaks
        else:
            np.maximum(found, peaks, out=found)
    return found


def _largest(block: NDArray[Any], axis: int) -> Floats:
    highest = block.max(axis=axis).astype(np.float64)
    return np.asarray(np.maximum(highest, -block.min(axis=axis).astype(np.float64)))


def _blocks(strip: slice, columns: int, block_entries: int) -> Iterator[slice]:
    height = max(1, block_entries // columns)
    for start in range(strip.start, strip.stop, height):
        yield slice(start, min(start + height, strip.stop))


def _height(strip: slice, columns: int, block_entries: int) -> int:
    return int(min(max(1, block_entries // columns), strip.stop - strip.start))


def _within(rows: slice, strip: slice) -> slice:
    return slice(rows.start - strip.start, rows.stop - strip.start)


def _narrowest(bits: int) -> type[np.signedinteger]:
    return np.int16 if bits <= 16 else np.int32 if bits <= 32 else np.int64


def _factors(exponents: NDArray[np.int64]) -> Floats | None:
    """Return 2**-u, or None if a factor might overflow."""
    within = np.abs(exponents).max(initial=0) < _SAFE_EXPONENT
    return np.ldexp(1.0, -exponents) if within else None


class Sweep:
    """One pass over a strip: scale, round, split into digits, add up squares.

    Parameters
    ----------
    source : Source
        The matrix.
    strip : slice
        Its rows to sweep over.
    axis : int
        1 if rows share a unit, 0 if columns do.
    peaks : ndarray of float64, shape (vectors of the strip,), optional
        Magnitudes that fix the units; those of rows are found on the way if not given.
    planes : ndarray of int8, shape (digits, rows, columns)
        Digit planes of the whole matrix; those of the strip are filled in.
    digit_bits : int
        Bits of a digit.
    block_entries : int
        Entries of a block.

    Raises
    ------
    NotFiniteError
        If an entry is NaN or infinite.
    """

    def __init__(
        self,
        source: Source,
        strip: slice,
        axis: int,
        peaks: Floats | None,
        planes: NDArray[np.int8],
        digit_bits: int,
        block_entries: int,
    ) -> None:
        self._source, self._strip, self._axis = source, strip, axis
        self._planes, self._bits, self._entries = planes, digit_bits, block_entries
        self._digits, _, self._columns = planes.shape
        self._find = peaks is None
        self._peaks = np.empty(strip.stop - strip.start) if peaks is None else peaks
        if peaks is not None:
            self._exponents = unit_exponents(peaks, self._digits, digit_bits)
            self._all_factors = _factors(self._exponents)

    def run(self) -> Swept:
        """Fill in the digit planes."""
        strip, columns = self._strip, self._columns
        height = _height(strip, columns, self._entries)
        scratch = np.empty((2, height, columns))
        integers = np.empty((height, columns), _narrowest(self._digits * self._bits))
        squares = np.zeros((self._digits + 1, len(self._peaks)))
        for rows in _blocks(strip, columns, self._entries):
            here, size = _within(rows, strip), rows.stop - rows.start
            scaled, rounded, whole = scratch[0, :size], scratch[1, :size], integers[:size]
            self._scale(rows, here, scaled)
            np.rint(scaled, out=rounded)
            np.copyto(whole, rounded, casting="unsafe")
            planes = self._planes[:, rows]
            self._split(whole, planes)
            into = squares[:, here] if self._axis == 1 else squares
            self._add_squares(scaled, rounded, planes, into)
        return Swept(self._peaks, squares)

    def _scale(self, rows: slice, here: slice, out: Floats) -> None:
        block = self._source.read(rows, out)
        exponents, factors = self._units(block, here)
        if factors is None:
            np.ldexp(block, -exponents, out=out, casting="unsafe", dtype=np.float64)
        else:
            np.multiply(block, factors, out=out)

    def _units(self, block: NDArray[Any], here: slice) -> tuple[NDArray[np.int64], Floats | None]:
        """Return exponents and factors of a block, to be broadcast against it."""
        if self._axis == 0:
            return self._exponents, self._all_factors
        if self._find:
            self._peaks[here] = _largest(block, 1)
            exponents = unit_exponents(self._peaks[here], self._digits, self._bits)
        else:
            exponents = self._exponents[here]
        factors = _factors(exponents)
        return exponents[:, None], None if factors is None else factors[:, None]

    def _split(self, integers: NDArray[np.signedinteger], planes: NDArray[np.int8]) -> None:
        bits, half, mask = self._bits, 1 << (self._bits - 1), (1 << self._bits) - 1
        for plane in planes[:0:-1]:
            if bits == 8:
                np.copyto(plane, integers, casting="unsafe")  # int8 wraps: the balanced digit
                integers += half
            elif bits == 1:  # non-adjacent form, else a single bit could not be balanced
                np.multiply(integers & 1, 1 - (integers & 2), out=plane, casting="unsafe")
                integers -= plane
            else:
                np.subtract((integers + half) & mask, half, out=plane, casting="unsafe")
                integers += half
            integers >>= bits
        np.copyto(planes[0], integers, casting="unsafe")

    def _add_squares(
        self, scaled: Floats, rounded: Floats, planes: NDArray[np.int8], into: Floats
    ) -> None:
        into[0] += self._safe_squares(scaled)
        residual = np.subtract(scaled, rounded, out=rounded)
        into[-1] += self._safe_squares(residual)
        halves = scaled.reshape(-1).view(np.float32).reshape(2, *scaled.shape)
        low, digit = halves
        for t in range(self._digits - 1, 0, -1):
            if t == self._digits - 1:
                np.copyto(low, planes[t])
            else:
                np.copyto(digit, planes[t])
                digit *= np.float32(2.0 ** (self._bits * (self._digits - 1 - t)))
                low += digit
            into[t] += self._squares(low)

    def _squares(self, block: NDArray[np.floating]) -> NDArray[np.floating]:
        """Sum the squares of each vector."""
        sums: NDArray[np.floating]
        sums = np.vecdot(block, block) if self._axis == 1 else np.einsum("ij,ij->j", block, block)
        return sums

    def _safe_squares(self, block: Floats) -> NDArray[np.floating]:
        """Sum the squares of each vector; where they underflow, return a bound on the sum."""
        sums = self._squares(block)
        if sums.min() < _SMALLEST_SQUARES:
            sums[(sums < _SMALLEST_SQUARES) & block.any(axis=self._axis)] = 2 * _SMALLEST_SQUARES
        return sums
