"""Fixed-point digits: a real matrix as balanced signed digit planes, most significant first.

A vector (a row of A, a column of B) with unit ``2**u`` is written as

    x  =  2**u * (D_0 * 2**(d(m-1)) + ... + D_{m-1})  +  residual,    |residual| <= 2**u / 2

with ``m`` digits of ``d`` bits, ``D_0`` the most significant. Digits are balanced (round to nearest
at every cut, not towards zero), so a prefix of them is the best approximation of its length.
Integers beyond 2**53 are rounded to float64 first; their residual norms count that in.

Source of the expansion: Esfahanizadeh et al., "Successive Refinement in Large-Scale Computation",
IEEE TSP 2025, section on linear jobs; balanced digits and one scale per vector are those of the
Ozaki scheme (Ozaki, Ogita, Oishi, Rump, Numer. Algorithms 59, 2012).
"""

import itertools
import math
import operator
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError

Array = NDArray[np.generic]
MAX_DIGITS = 7
MAX_DIGIT_BITS = 8
SCALES = ("row", "matrix")

_BLOCK_ENTRIES = 1 << 16  # a float64 block and its temporaries stay in a 2 MiB cache
_STRIPS = 8
_TILE = 64
_SMALLEST_SQUARES = 2.0**-1000  # below it, squares of entries may have underflowed
_SAFE_EXPONENT = 900  # beyond it a power of two may overflow when used as a factor


@dataclass(frozen=True)
class Quantised:
    """A matrix as digit planes.

    Attributes
    ----------
    planes : ndarray of int8, shape (digits, rows, columns)
        Digit planes, most significant first.
    digit_bits : int
        Bits ``d`` of a digit.
    axis : int
        Axis along which entries share a unit: 1 for rows of A, 0 for columns of B.
    exponents : ndarray of int64, shape (vectors,)
        ``u``: the last digit of vector v counts in units of ``2**exponents[v]``.
    residuals : ndarray of float64, shape (digits + 1, vectors)
        Upper bounds, tight to rounding, of the 2-norm of what the first t digits leave of each
        vector; row 0 holds the norms of the vectors themselves.
    norms : ndarray of float64, shape (digits, vectors)
        Upper bounds of what digit t alone contributes to each vector; tight but for the first.
    """

    planes: NDArray[np.int8]
    digit_bits: int
    axis: int
    exponents: NDArray[np.int64]
    residuals: NDArray[np.float64]
    norms: NDArray[np.float64]

    @property
    def digits(self) -> int:
        """Number of digit planes."""
        return int(self.planes.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        return int(self.planes.shape[1]), int(self.planes.shape[2])

    def integers(self) -> NDArray[np.int64]:
        """Join all digits: the matrix in units of each vector, int64."""
        joined = np.zeros(self.shape, np.int64)
        for plane in self.planes:
            joined = (joined << self.digit_bits) + plane
        return joined

    def values(self, digits: int | None = None) -> NDArray[np.float64]:
        """Return the matrix that the first ``digits`` digits (default: all) stand for, float64."""
        kept = self.digits if digits is None else digits
        total = np.zeros(self.shape, np.float64)
        for t, plane in enumerate(self.planes[:kept]):
            shift = self.digit_bits * (self.digits - 1 - t)
            total += np.ldexp(plane.astype(np.float64), _along(self.exponents, self.axis) + shift)
        return total


def largest_integer(digits: int, digit_bits: int) -> int:
    """Return the largest q such that every integer in [-q, q] has ``digits`` balanced digits."""
    if digit_bits == 1:
        return (1 << (digits + 1)) // 3
    return (
        ((1 << (digit_bits - 1)) - 1)
        * ((1 << (digits * digit_bits)) - 1)
        // ((1 << digit_bits) - 1)
    )


def quantise(
    matrix: Array,
    digits: int,
    digit_bits: int,
    *,
    axis: int,
    scale: str = "row",
    threads: int = 1,
    name: str = "operand",
) -> Quantised:
    """Round a matrix to ``digits`` digits of ``digit_bits`` bits.

    Parameters
    ----------
    matrix : ndarray, shape (rows, columns)
        float64, float32, float16 or any integer type; C- or Fortran-ordered.
    digits, digit_bits : int
        1..7 digits of 1..8 bits.
    axis : int
        Axis along which a scale is shared: 1 gives one per row (A), 0 one per column (B).
    scale : {"row", "matrix"}
        One power-of-two scale per vector, or one for the whole matrix.
    threads : int
        Threads that share the sweep (NumPy releases the GIL in it).
    name : str
        What error messages call the matrix.

    Raises
    ------
    InputError
        If an entry is NaN or infinite (its first index is given), the matrix is empty or not
        two-dimensional, its type is not real, or the digits are out of range.
    """
    check_matrix(matrix, name)
    digits, digit_bits = operator.index(digits), operator.index(digit_bits)  # NumPy's wrap around
    _check_options(digits, digit_bits, scale)
    matrix = np.asarray(matrix)  # a subclass may keep two dimensions where one is meant
    with ThreadPoolExecutor(threads) as pool:
        peaks = _peaks(matrix, axis, pool)
        if not np.isfinite(peaks).all():
            _refuse_non_finite(matrix, name)
        if scale == "matrix":
            peaks = np.full_like(peaks, peaks.max())
        exponents = _units(peaks, digits, digit_bits)
        planes = np.empty((digits, *matrix.shape), np.int8)
        sweep = _Sweep(matrix, axis, exponents, planes, digit_bits)
        parts = list(pool.map(sweep, _strips(matrix.shape[0])))
    squares = np.concatenate(parts, axis=1) if axis == 1 else np.sum(parts, axis=0)
    residuals = _norms(squares[: digits + 1], exponents, matrix, axis, peaks)
    lower = _norms(squares[digits + 1 :], exponents, matrix, axis, peaks)
    norms = np.concatenate([residuals[:1] + residuals[1:2], lower])
    return Quantised(planes, digit_bits, axis, exponents, residuals, norms)


def check_matrix(matrix: Array, name: str) -> None:
    """Refuse what is no matrix of real numbers.

    Raises
    ------
    InputError
        If it is no array, not two-dimensional, empty, or of a type that is not real.
    """
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2:
        found = getattr(matrix, "shape", type(matrix).__name__)
        raise InputError(f"{name}: found {found}, expected a two-dimensional array")
    if isinstance(matrix, np.ma.MaskedArray):
        raise InputError(f"{name}: found a masked array, expected all entries")
    if matrix.size == 0:
        raise InputError(f"{name}: found shape {matrix.shape}, expected a matrix with entries")
    if matrix.dtype.kind not in "fiu" or matrix.dtype.itemsize > 8:
        raise InputError(
            f"{name}: found dtype {matrix.dtype}, expected float64, float32 or integers"
        )


def _check_options(digits: int, digit_bits: int, scale: str) -> None:
    if not 1 <= digits <= MAX_DIGITS:
        raise InputError(f"digits: found {digits}, expected 1..{MAX_DIGITS}")
    if not 1 <= digit_bits <= MAX_DIGIT_BITS:
        raise InputError(f"digit_bits: found {digit_bits}, expected 1..{MAX_DIGIT_BITS}")
    if scale not in SCALES:
        raise InputError(f"scale: found {scale!r}, expected one of {', '.join(SCALES)}")


def _along(vector: NDArray[np.int64], axis: int) -> NDArray[np.int64]:
    return vector[:, None] if axis == 1 else vector[None, :]


def _strips(rows: int) -> list[slice]:
    """Cut the rows into strips for the threads, the same ones however many there are."""
    edges = [rows * i // _STRIPS for i in range(_STRIPS + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges) if b > a]


def _block_height(columns: int) -> int:
    return max(1, _BLOCK_ENTRIES // columns)


def _blocks(strip: slice, columns: int) -> Iterator[slice]:
    height = _block_height(columns)
    for start in range(strip.start, strip.stop, height):
        yield slice(start, min(start + height, strip.stop))


def _in_row_order(block: Array, out: NDArray[np.float64]) -> NDArray[np.float64]:
    """Copy a strided block into ``out`` tile by tile: a cache line is used whole when loaded."""
    for start in range(0, block.shape[1], _TILE):
        out[:, start : start + _TILE] = block[:, start : start + _TILE]
    return out


def _peaks(matrix: Array, axis: int, pool: ThreadPoolExecutor) -> NDArray[np.float64]:
    """Largest magnitude of each vector; NaN and infinity are found on the way."""
    if matrix.flags.f_contiguous and not matrix.flags.c_contiguous:
        return _peaks(matrix.T, 1 - axis, pool)

    def peaks(strip: slice) -> NDArray[np.float64]:
        found = np.zeros(strip.stop - strip.start if axis == 1 else matrix.shape[1])
        for rows in _blocks(strip, matrix.shape[1]):
            block = matrix[rows]
            into = found[rows.start - strip.start : rows.stop - strip.start] if axis == 1 else found
            np.maximum(into, block.max(axis=axis), out=into)
            np.maximum(into, -block.min(axis=axis).astype(np.float64), out=into)
        return found

    parts = list(pool.map(peaks, _strips(matrix.shape[0])))
    return np.concatenate(parts) if axis == 1 else np.max(parts, axis=0)


def _refuse_non_finite(matrix: Array, name: str) -> None:
    row, column = np.argwhere(~np.isfinite(matrix))[0]
    raise InputError(
        f"{name}[{row}, {column}]: found {matrix[row, column]}, expected a finite number"
    )


def _units(peaks: NDArray[np.float64], digits: int, digit_bits: int) -> NDArray[np.int64]:
    """Return the smallest exponent u for which every rounded entry has enough digits."""
    largest = largest_integer(digits, digit_bits)
    limit = float(largest)
    if limit > largest:  # float64 rounded it up
        limit = math.nextafter(limit, 0)
    units: NDArray[np.int64] = np.frexp(peaks)[1].astype(np.int64) - digits * digit_bits
    for _ in range(2):
        units += np.rint(np.ldexp(peaks, -units)) > limit
    units[peaks == 0] = 0
    return units


class _Sweep:
    """One pass over strips of rows: scale, round, split into digits, add up squares."""

    def __init__(
        self,
        matrix: Array,
        axis: int,
        exponents: NDArray[np.int64],
        planes: NDArray[np.int8],
        digit_bits: int,
    ) -> None:
        self._matrix, self._axis, self._planes, self._bits = matrix, axis, planes, digit_bits
        self._exponents = exponents
        within = bool(np.abs(exponents).max(initial=0) < _SAFE_EXPONENT)
        self._factors = np.ldexp(1.0, -exponents) if within else None
        self._integer = np.int16 if planes.shape[0] * digit_bits <= 16 else np.int64
        self._norm = "ij,ij->i" if axis == 1 else "ij,ij->j"

    def __call__(self, strip: slice) -> NDArray[np.float64]:
        """Fill the digit planes of these rows; return squared norms in scaled units.

        The result, shape (2 * digits, vectors), holds those of the ``digits + 1`` residuals and
        of every digit but the first.
        """
        digits, columns = self._planes.shape[0], self._planes.shape[2]
        height = min(_block_height(columns), strip.stop - strip.start)
        scratch = [np.empty((height, columns), np.float64) for _ in range(2)]
        integers = np.empty((height, columns), self._integer)
        vectors = strip.stop - strip.start if self._axis == 1 else columns
        squares = np.zeros((2 * digits, vectors))
        for rows in _blocks(strip, columns):
            size = rows.stop - rows.start
            scaled, rounded, whole = scratch[0][:size], scratch[1][:size], integers[:size]
            self._scale(rows, scaled)
            np.rint(scaled, out=rounded)
            np.copyto(whole, rounded, casting="unsafe")
            planes = self._planes[:, rows]
            self._split(whole, planes)
            into = squares
            if self._axis == 1:
                into = squares[:, rows.start - strip.start : rows.stop - strip.start]
            self._add_squares(scaled, rounded, planes, into)
        return squares

    def _scale(self, rows: slice, out: NDArray[np.float64]) -> None:
        block = self._matrix[rows]
        mine = rows if self._axis == 1 else slice(None)
        if not block.flags.c_contiguous:
            block = _in_row_order(block, out)
        if self._factors is None:
            exponents = _along(self._exponents[mine], self._axis)
            np.ldexp(block, -exponents, out=out, casting="unsafe", dtype=np.float64)
        else:
            factors = self._factors[mine]
            np.multiply(block, factors[:, None] if self._axis == 1 else factors, out=out)

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
        self,
        scaled: NDArray[np.float64],
        rounded: NDArray[np.float64],
        planes: NDArray[np.int8],
        into: NDArray[np.float64],
    ) -> None:
        digits = len(planes)
        into[0] += self._squares(scaled)
        residual = np.subtract(scaled, rounded, out=rounded)
        into[digits] += self._squares(residual)
        for t in range(digits - 1, 0, -1):
            np.copyto(scaled, planes[t])
            scaled *= 2.0 ** (self._bits * (digits - 1 - t))
            into[digits + t] += self._squares(scaled)
            residual += scaled
            into[t] += self._squares(residual)

    def _squares(self, block: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum the squares of each vector; where they underflow, return a bound on the sum."""
        sums: NDArray[np.float64] = np.einsum(self._norm, block, block)
        low = sums < _SMALLEST_SQUARES
        if low.any():
            sums[low & block.any(axis=self._axis)] = 2 * _SMALLEST_SQUARES
        return sums


def _norms(
    squares: NDArray[np.float64],
    exponents: NDArray[np.int64],
    matrix: Array,
    axis: int,
    peaks: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Turn sums of squares in scaled units into norms that are never too small."""
    length = matrix.shape[axis]
    norms = np.sqrt(squares) * (1 + (length + 8) * 2.0**-52)
    if (
        matrix.dtype.kind == "f" and matrix.dtype.itemsize == 8
    ):  # entries far below the largest may underflow when scaled
        norms += np.where(exponents > 0, np.sqrt(length) * 2.0**-1074, 0.0)
    norms = np.ldexp(norms, exponents)
    norms = np.where((norms > 0) & (norms < 2.0**-1000), np.nextafter(norms, np.inf), norms)
    if matrix.dtype.kind in "iu":  # integers beyond 2**53 were rounded to float64 on the way
        norms += np.where(peaks >= 2.0**53, np.sqrt(length) * peaks * 2.0**-53, 0.0)
    return np.asarray(norms, np.float64)
