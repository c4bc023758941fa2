"""From the integers of a layer to the next resolution of the product."""

from collections.abc import Sequence

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
    a, b : Quantised
        The operands; only their units and digit counts are kept.
    """

    def __init__(self, a: Quantised, b: Quantised) -> None:
        self._top = a.digit_bits * (a.digits - 1) + b.digit_bits * (b.digits - 1)
        self._bits = a.digit_bits
        self._rows, self._columns = a.exponents, b.exponents
        extreme = max(np.abs(self._rows).max(), np.abs(self._columns).max())
        self._factors: tuple[Floats, Floats] | None = None
        if 2 * extreme + self._top + 64 < _SAFE_EXPONENT:
            self._factors = (np.ldexp(1.0, self._rows), np.ldexp(1.0, self._columns))

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
            The resolution before (None before the first) and the new one.
        """
        height = max(1, _CHUNK_ENTRIES // out.shape[1])
        for start in range(rows.start, rows.stop, height):
            here = slice(start, min(start + height, rows.stop))
            local = slice(here.start - rows.start, here.stop - rows.start)
            into = out[here]
            for group, significance in enumerate(significances):
                if group == 0 and previous is not out:
                    self._term(here, integers[group, local], significance, into)
                    if previous is not None:
                        into += previous[here]
                else:
                    term = np.empty(into.shape)
                    self._term(here, integers[group, local], significance, term)
                    into += term

    def _term(
        self, rows: slice, integers: NDArray[np.signedinteger], significance: int, out: Floats
    ) -> None:
        shift = self._top - self._bits * significance
        if self._factors is None:
            exponents = self._rows[rows, None] + self._columns + shift
            np.ldexp(integers.astype(np.float64), exponents, out=out)
            return
        row_factors, column_factors = self._factors
        np.copyto(out, integers)
        out *= np.ldexp(row_factors[rows, None], shift)
        out *= column_factors
