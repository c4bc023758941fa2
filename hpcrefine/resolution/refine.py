"""From the integers of a layer to the next resolution of the product."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hpcrefine.resolution.digits import Quantised

Floats = NDArray[np.float64]

_CHUNK_ENTRIES = 1 << 16  # chunk and temporary stay in cache
_LONG_ROW = 512  # entries that make a NumPy call of its own worthwhile
_SCALED_KEPT = 8
_SAFE_EXPONENT = 900


class Refiner:
    """Adds the integers of a layer, in the units of their rows and columns, to a resolution.

    Parameters
    ----------
    rows, columns : ndarray of int64, shapes (n,) and (p,)
        Exponents of the units of A's rows and B's columns.
    top : int
        Place value of the leading digit product, in bits.
    digit_bits : int
        Bits of a digit.
    """

    def __init__(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], *, top: int, digit_bits: int
    ) -> None:
        self.rows, self.columns, self.top, self.digit_bits = rows, columns, top, digit_bits
        extreme = max(np.abs(rows).max(), np.abs(columns).max())
        safe = 2 * extreme + top + 64 < _SAFE_EXPONENT
        self._columns = np.ldexp(1.0, columns) if safe else None
        self._scaled: dict[int, Floats] = {}

    @classmethod
    def of(cls, a: Quantised, b: Quantised) -> Self:
        """Return the refiner of two operands' products."""
        top = a.digit_bits * (a.digits - 1) + b.digit_bits * (b.digits - 1)
        return cls(a.exponents, b.exponents, top=top, digit_bits=a.digit_bits)

    def restricted(self, columns: slice) -> "Refiner":
        """Return the refiner of some columns of the product."""
        return Refiner(self.rows, self.columns[columns], top=self.top, digit_bits=self.digit_bits)

    def add(
        self,
        rows: slice,
        integers: NDArray[np.signedinteger],
        significances: Sequence[int],
        previous: Floats | None,
        out: Floats,
    ) -> None:
        """Compute ``out[rows] = previous[rows] + integers`` in their units.

        Parameters
        ----------
        rows : slice
            Rows of the product.
        integers : ndarray of int32 or int64, shape (len(significances), rows, columns)
            Sums of digit products, one for each significance.
        significances : sequence of int
            Values of i + j that the integers belong to.
        previous, out : ndarray of float64, shape (all rows, columns)
            The resolution before (None before the first) and the new one; may be the same.
        """
        height = max(1, _CHUNK_ENTRIES // out.shape[1])
        in_place = previous is out
        scratch = np.empty((min(height, rows.stop - rows.start), out.shape[1]))
        for start in range(rows.start, rows.stop, height):
            here = slice(start, min(start + height, rows.stop))
            local = slice(here.start - rows.start, here.stop - rows.start)
            total, term = out[here], scratch[: here.stop - here.start]
            for group, significance in enumerate(significances):
                fresh = group == 0 and not in_place
                self._term(here, integers[group, local], significance, total if fresh else term)
                if not fresh:
                    total += term
                elif previous is not None:
                    total += previous[here]

    def _term(
        self, rows: slice, integers: NDArray[np.signedinteger], significance: int, out: Floats
    ) -> None:
        exponents = self.rows[rows] + (self.top - self.digit_bits * significance)
        if self._columns is None:
            np.ldexp(integers.astype(np.float64), exponents[:, None] + self.columns, out=out)
            return
        np.copyto(out, integers)
        if out.shape[1] < _LONG_ROW:
            out *= np.ldexp(1.0, exponents[:, None])
            out *= self._columns
            return
        for row, exponent in zip(out, exponents.tolist(), strict=True):  # one pass instead of two
            np.multiply(row, self._scaled_by(exponent, self._columns), out=row)

    def _scaled_by(self, exponent: int, columns: Floats) -> Floats:
        """Return the factors of a row's entries; neighbouring rows have few different ones."""
        if exponent not in self._scaled:
            if len(self._scaled) >= _SCALED_KEPT:
                self._scaled.clear()
            self._scaled[exponent] = columns * 2.0**exponent
        return self._scaled[exponent]
