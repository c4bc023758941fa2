"""One task: the digit products of a block of rows, added up by significance."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcrefine.kernels.base import Integers, Kernel, result_dtype
from hpcrefine.resolution.digits import MAX_DIGIT_BITS

LIMB_PEAK = 1 << (MAX_DIGIT_BITS - 1)

Limbs = Sequence[NDArray[Any]]


def compute_task(
    kernel: Kernel,
    left: Sequence[Limbs],
    right: Sequence[Limbs],
    minijobs: Sequence[tuple[int, int]],
    out: Integers,
    digit_peak: int,
) -> None:
    """Add up digit products, one sum for each significance i + j, ascending.

    Parameters
    ----------
    kernel : Kernel
        Exact products.
    left, right : sequence over digits of sequence over limbs of loaded planes
        Digit planes, shapes (rows, k) and (k, columns). A plain block has one limb; a combination
        of blocks has its base-256 digits, most significant first.
    minijobs : sequence of (int, int)
        Digit products of the task.
    out : ndarray of int32 or int64, shape (significances, rows, columns)
        Result.
    digit_peak : int
        Largest magnitude of a digit.
    """
    peaks = [digit_peak if len(side[0]) == 1 else LIMB_PEAK for side in (left, right)]
    peak = peaks[0] * peaks[1]
    groups = sorted({i + j for i, j in minijobs})
    for total, group in zip(out, groups, strict=True):
        cells = [(i, j) for i, j in minijobs if i + j == group]
        steps = len(left[cells[0][0]]) + len(right[cells[0][1]]) - 1
        for step in range(steps):
            pairs = [
                (left[i][limb], right[j][step - limb])
                for i, j in cells
                for limb in range(len(left[i]))
                if 0 <= step - limb < len(right[j])
            ]
            if step == 0:
                _add_up(kernel, pairs, total, peak)
                continue
            part = np.empty(total.shape, result_dtype(pairs[0][1].shape[0], len(pairs), peak))
            _add_up(kernel, pairs, part, peak)
            total <<= MAX_DIGIT_BITS
            np.add(total, part, out=total, casting="unsafe")


def _add_up(
    kernel: Kernel, pairs: Sequence[tuple[NDArray[Any], NDArray[Any]]], out: Integers, peak: int
) -> None:
    for count, (a, b) in enumerate(pairs):
        kernel.multiply(a, b, out, peak=peak, accumulate=count > 0)
