"""Which kernel to use: the fastest that passes a worst-case exactness check on this machine.

On CPUs without VNNI, some int8 kernels add pairs of products in saturating 16-bit registers: they
are right on small digits and wrong on large ones. So the check multiplies the largest digits there
are, in every combination of signs, beside random ones, and compares with integer arithmetic.
Whoever multiplies smaller digits alone says so: with 7 bits on one side the same kernels are exact.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError
from hpcrefine.kernels.base import Kernel, Plane
from hpcrefine.kernels.blas import Float32Kernel, Float64Kernel
from hpcrefine.kernels.int8 import Int8Kernel


@dataclass(frozen=True)
class Peaks:
    """Bounds on the magnitude of what is multiplied; above 128 the left operand is unsigned."""

    left: int = 128
    right: int = 128


_CHECK_SHAPES = ((19, 515, 37), (1, 515, 1))  # matrix and vector code paths differ

KERNELS: dict[str, Callable[[str | None], Kernel]] = {
    "int8": Int8Kernel,
    "float32": lambda library: Float32Kernel(),
    "float64": lambda library: Float64Kernel(),
}  # fastest first


@dataclass(frozen=True)
class Choice:
    """A kernel that passed its check, and why faster ones were passed over ("" if none was)."""

    kernel: Kernel
    warning: str


def choose_kernel(
    name: str = "auto", library: str | None = None, peaks: Peaks | None = None
) -> Choice:
    """Return the kernel asked for, or the fastest that works.

    Parameters
    ----------
    name : {"auto", "int8", "float32", "float64"}
        Kernel asked for.
    library : str, optional
        Path of the oneDNN library.
    peaks : Peaks, optional
        What it will multiply; default any 8-bit digits.

    Raises
    ------
    InputError
        If the name is unknown, the library given is none, or int8 was asked for and there is no
        oneDNN.
    """
    if name != "auto" and name not in KERNELS:
        raise InputError(
            f"[kernel] name: found {name!r}, expected one of auto, {', '.join(KERNELS)}"
        )
    candidates = list(KERNELS) if name == "auto" else list(KERNELS)[list(KERNELS).index(name) :]
    reasons = []
    for candidate in candidates:
        try:
            kernel = KERNELS[candidate](library)
        except InputError as error:
            if name != "auto" or library is not None:
                raise
            reasons.append(str(error))
            continue
        reason = check_exactness(kernel, peaks)
        if not reason:
            return Choice(kernel, "; ".join(reasons))
        reasons.append(reason)
    raise RuntimeError("no kernel multiplies exactly here: " + "; ".join(reasons))


def check_exactness(kernel: Kernel, peaks: Peaks | None = None) -> str:
    """Multiply worst-case digits; return "" if all results are exact, else what was wrong."""
    peaks = peaks or Peaks()
    for shape in _CHECK_SHAPES:
        for a, b in _worst_cases(*shape, peaks):
            expected = a.astype(np.int64) @ b.astype(np.int64)
            out = np.zeros(expected.shape, np.int32)
            for times in (1, 2):  # the second product is added to the first
                kernel.multiply(
                    kernel.load(a),
                    kernel.load(b),
                    out,
                    peak=peaks.left * peaks.right,
                    accumulate=times == 2,
                )
                wrong = np.argwhere(out != times * expected)
                if wrong.size:
                    i, j = wrong[0]
                    return (
                        f"kernel {kernel.name} is not exact here: found {out[i, j]} for a product "
                        f"of digits up to {peaks.left} and {peaks.right}, expected "
                        f"{times * expected[i, j]}"
                    )
    return ""


def _worst_cases(
    rows: int, inner: int, columns: int, peaks: Peaks
) -> Iterator[tuple[Plane, NDArray[np.int8]]]:
    generator = np.random.default_rng(0)
    right = -peaks.right, min(peaks.right, 127)
    lefts: list[tuple[type, int, int]] = [(np.int8, -128, 127)]
    if peaks.left > 128:
        lefts.append((np.uint8, 0, 255))
    for dtype, low, high in lefts:
        random: NDArray[Any] = generator.integers(low, high, (rows, inner), endpoint=True).astype(
            dtype
        )
        yield random, generator.integers(*right, (inner, columns), np.int8, endpoint=True)
        for one, other in itertools.product((low, high), right):
            yield np.full((rows, inner), one, dtype), np.full((inner, columns), other, np.int8)
