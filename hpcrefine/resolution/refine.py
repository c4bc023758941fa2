"""From the integers of a layer to the next resolution of the product."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hpcrefine.resolution.digits import Quantised

Floats = NDArray[np.float64]

_CHUNK_ENTRIES = 1 << 16  # chunk and temporary stay in cache
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
        self._factors: tuple[Floats, Floats] | None = None
        if 2 * extreme + top + 64 < _SAFE_EXPONENT:
            self._factors = (np.ldexp(1.0, rows), np.ldexp(1.0, columns))

    @classmethod
    def of(cls, a: Quantised, b: Quantised) -> Self:
        """Return the refiner of two operands' products."""
        top = a.digit_bits * (a.digits - 1) + b.digit_bits * (b.digits - 1)
        return cls(a.exponents, b.exponents, top=top, digit_bits=a.digit_bits)

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
        scratch = np.empty((2, min(height, rows.stop - rows.start), out.shape[1]))
        for start in range(rows.start, rows.stop, height):
            here = slice(start, min(start + height, rows.stop))
            local = slice(here.start - rows.start, here.stop - rows.start)
            total, term = scratch[:, : here.stop - here.start]
            terms = len(significances) + (previous is not None)
            self._term(
                here, integers[0, local], significances[0], out[here] if terms == 1 else total
            )
            if previous is not None:
                np.add(total, previous[here], out=out[here] if terms == 2 else total)
            for group, significance in enumerate(significances[1:], start=1):
                self._term(here, integers[group, local], significance, term)
                last = group == len(significances) - 1
                np.add(total, term, out=out[here] if last else total)

    def _term(
        self, rows: slice, integers: NDArray[np.signedinteger], significance: int, out: Floats
    ) -> None:
        shift = self.top - self.digit_bits * significance
        if self._factors is None:
            exponents = self.rows[rows, None] + self.columns + shift
            np.ldexp(integers.astype(np.float64), exponents, out=out)
            return
        row_factors, column_factors = self._factors
        np.copyto(out, integers)
        out *= np.ldexp(row_factors[rows, None], shift)
        out *= column_factors
