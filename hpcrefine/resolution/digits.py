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
import operator
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NoReturn, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError
from hpcrefine.resolution.sweep import (
    NotFiniteError,
    Rows,
    Sweep,
    Swept,
    strip_peaks,
    unit_exponents,
)

Array = NDArray[np.generic]
Part = TypeVar("Part")
MAX_DIGITS = 7
MAX_DIGIT_BITS = 8
SCALES = ("row", "matrix")

_BLOCK_ENTRIES = 1 << 17  # small enough for caches, large enough that threads seldom meet
_STRIPS = 8


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
        Upper bounds of the 2-norm of what the first t digits leave of each vector. The first, the
        norms of the vectors themselves, and the last are tight to rounding; those between are sums
        of the last and the norm of the digits left out.
    """

    planes: NDArray[np.int8]
    digit_bits: int
    axis: int
    exponents: NDArray[np.int64]
    residuals: NDArray[np.float64]

    def rows(self, chosen: NDArray[np.integer]) -> "Quantised":
        """Return some rows of a left operand."""
        return Quantised(
            self.planes[:, chosen],
            self.digit_bits,
            self.axis,
            self.exponents[chosen],
            self.residuals[:, chosen],
        )

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


class Team(Protocol):
    """Those who share the passes over a matrix; each returns a part for each of their strips."""

    def planes(self, digits: int, shape: tuple[int, int]) -> NDArray[np.int8]:
        """Return an array for digit planes, shape (digits, rows, columns)."""

    def peaks(self, matrix: Array, axis: int) -> list[NDArray[np.float64]]:
        """Return the largest magnitude of each vector within each strip."""

    def sweep(
        self,
        matrix: Array,
        axis: int,
        peaks: NDArray[np.float64] | None,
        planes: NDArray[np.int8],
        digit_bits: int,
    ) -> list[Swept]:
        """Fill in the planes; without given peaks, find those of the rows."""


class Threads:
    """A team of threads of this process (NumPy releases the GIL in long passes).

    Parameters
    ----------
    count : int
        Number of threads.
    """

    def __init__(self, count: int = 1) -> None:
        self._count = count

    def planes(self, digits: int, shape: tuple[int, int]) -> NDArray[np.int8]:
        """Return a new array."""
        return np.empty((digits, *shape), np.int8)

    def peaks(self, matrix: Array, axis: int) -> list[NDArray[np.float64]]:
        """Return the peaks within each strip."""
        if matrix.flags.f_contiguous and not matrix.flags.c_contiguous:
            matrix, axis = matrix.T, 1 - axis  # strips are then of columns
            parts = self._map(partial(strip_peaks, Rows(matrix), axis=axis), matrix.shape[0])
            return [np.max(parts, axis=0) if axis == 0 else np.concatenate(parts)]
        return self._map(partial(strip_peaks, Rows(matrix), axis=axis), matrix.shape[0])

    def sweep(
        self,
        matrix: Array,
        axis: int,
        peaks: NDArray[np.float64] | None,
        planes: NDArray[np.int8],
        digit_bits: int,
    ) -> list[Swept]:
        """Fill in the planes, strip by strip."""

        def run(strip: slice, block_entries: int) -> Swept:
            mine = peaks[strip] if peaks is not None and axis == 1 else peaks
            return Sweep(Rows(matrix), strip, axis, mine, planes, digit_bits, block_entries).run()

        return self._map(run, matrix.shape[0])

    def _map(self, work: Callable[..., Part], rows: int) -> list[Part]:
        with ThreadPoolExecutor(self._count) as pool:
            return list(pool.map(partial(work, block_entries=_BLOCK_ENTRIES), strips(rows)))


def quantise(
    matrix: Array,
    digits: int,
    digit_bits: int,
    *,
    axis: int,
    scale: str = "row",
    team: Team | None = None,
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
    team : Team, optional
        Who shares the work; default this thread alone.
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
    team = Threads() if team is None else team
    planes = team.planes(digits, matrix.shape)
    try:
        peaks = None  # of a row they are found when its block is in cache
        if axis == 0 or scale == "matrix":
            peaks = _joined(team.peaks(matrix, axis), axis)
            if scale == "matrix":
                peaks = np.full_like(peaks, peaks.max())
            unit_exponents(peaks, digits, digit_bits)  # NaN is found before the sweep
        swept = team.sweep(matrix, axis, peaks, planes, digit_bits)
        peaks = np.concatenate([part.peaks for part in swept]) if peaks is None else peaks
        exponents = unit_exponents(peaks, digits, digit_bits)
    except NotFiniteError:
        _refuse_non_finite(matrix, name)
    squares = [part.squares for part in swept]
    total = np.concatenate(squares, axis=1) if axis == 1 else np.sum(squares, axis=0)
    residuals = _norms(total, exponents, matrix, axis, peaks)
    return Quantised(planes, digit_bits, axis, exponents, residuals)


def _joined(parts: list[NDArray[np.float64]], axis: int) -> NDArray[np.float64]:
    return np.concatenate(parts) if axis == 1 else np.asarray(np.max(parts, axis=0))


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


def strips(rows: int) -> list[slice]:
    """Cut the rows into strips, the same ones however many share them."""
    edges = [rows * i // _STRIPS for i in range(_STRIPS + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges) if b > a]


def _refuse_non_finite(matrix: Array, name: str) -> NoReturn:
    row, column = np.argwhere(~np.isfinite(matrix))[0]
    raise InputError(
        f"{name}[{row}, {column}]: found {matrix[row, column]}, expected a finite number"
    )


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
    norms[1:-1] *= 1 + (length + 8) * 2.0**-24  # digits were summed in float32
    norms[1:-1] += norms[-1]
    if (
        matrix.dtype.kind == "f" and matrix.dtype.itemsize == 8
    ):  # entries far below the largest may underflow when scaled
        norms += np.where(exponents > 0, np.sqrt(length) * 2.0**-1074, 0.0)
    norms = np.ldexp(norms, exponents)
    norms = np.where((norms > 0) & (norms < 2.0**-1000), np.nextafter(norms, np.inf), norms)
    if matrix.dtype.kind in "iu":  # integers beyond 2**53 were rounded to float64 on the way
        norms += np.where(peaks >= 2.0**53, np.sqrt(length) * peaks * 2.0**-53, 0.0)
    return np.asarray(norms, np.float64)
