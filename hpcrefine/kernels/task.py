"""One task: the digit products of a block of rows, added up by significance."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcrefine.kernels.base import Integers, Kernel, result_dtype
from hpcrefine.resolution.digits import MAX_DIGIT_BITS

LIMB_PEAK = 1 << (MAX_DIGIT_BITS - 1)


def compute_task(
    kernel: Kernel,
    left: Sequence[Sequence[NDArray[Any]]],
    right: Sequence[NDArray[Any]],
    minijobs: Sequence[tuple[int, int]],
    out: Integers,
    digit_peak: int,
) -> None:
    """Add up digit products, one sum for each significance i + j, ascending.

    Parameters
    ----------
    kernel : Kernel
        Exact products.
    left : sequence over digits of sequence over limbs of loaded planes, shape (rows, k)
        A plain block has one limb; a combination of blocks has its base-256 digits, most
        significant first.
    right : sequence of loaded planes, shape (k, columns)
        Digit planes of B.
    minijobs : sequence of (int, int)
        Digit products of the task.
    out : ndarray of int32 or int64, shape (significances, rows, columns)
        Result.
    digit_peak : int
        Largest magnitude of a digit.
    """
    groups = sorted({i + j for i, j in minijobs})
    for total, group in zip(out, groups, strict=True):
        cells = [(i, j) for i, j in minijobs if i + j == group]
        limbs = len(left[cells[0][0]])
        if limbs == 1:
            peak = digit_peak**2
            for count, (i, j) in enumerate(cells):
                kernel.multiply(left[i][0], right[j], total, peak=peak, accumulate=count > 0)
            continue
        peak = LIMB_PEAK * digit_peak
        part = np.empty(total.shape, result_dtype(right[0].shape[0], len(cells), peak))
        total[...] = 0
        for limb in range(limbs):
            for count, (i, j) in enumerate(cells):
                kernel.multiply(left[i][limb], right[j], part, peak=peak, accumulate=count > 0)
            total <<= MAX_DIGIT_BITS
            np.add(total, part, out=total, casting="unsafe")
