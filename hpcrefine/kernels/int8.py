"""Digit products by oneDNN's C functions ``dnnl_gemm_{s8,u8}s8s32``, called through ctypes.

The library comes from the PyPI wheel ``onednn-cpu-gomp``, from a path the user gives, or from the
system. The call releases the GIL.
"""

import ctypes
import ctypes.util
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError
from hpcrefine.kernels.base import Integers, Kernel, Plane

LIBRARY_VARIABLE = "HPCREFINE_ONEDNN"

_C = ctypes
_NOTHING = np.zeros(1, np.int32)
_Gemm = Callable[..., int]


def _signature(left: Any) -> list[Any]:
    return [
        *[_C.c_char] * 3,  # transa, transb, offsetc
        *[_C.c_int64] * 3,  # M, N, K
        _C.c_float,  # alpha
        *[_C.c_void_p, _C.c_int64, left],  # A, lda, ao
        *[_C.c_void_p, _C.c_int64, _C.c_int8],  # B, ldb, bo
        _C.c_float,  # beta
        *[_C.c_void_p, _C.c_int64, _C.c_void_p],  # C, ldc, co
    ]


def find_library(path: str | None = None) -> str:
    """Find oneDNN: the user's path, the wheel in this environment, or the system's.

    Parameters
    ----------
    path : str, optional
        Path of the library; default: the environment variable ``HPCREFINE_ONEDNN``.

    Raises
    ------
    InputError
        If there is none.
    """
    given = path or os.environ.get(LIBRARY_VARIABLE)
    if given:
        if not Path(given).is_file():
            raise InputError(f"oneDNN library: found no file {given}, expected libdnnl.so.3")
        return given
    for folder in (Path(sys.prefix) / "lib", Path(sys.base_prefix) / "lib"):
        for name in ("libdnnl.so.3", "libdnnl.3.dylib"):
            if (folder / name).is_file():
                return str(folder / name)
    system = ctypes.util.find_library("dnnl")
    if system:
        return system
    raise InputError(
        "kernel int8: found no oneDNN library, expected the wheel onednn-cpu-gomp "
        f"(pip install 'hpcrefine[onednn]'), {LIBRARY_VARIABLE} or [kernel] library set to "
        "libdnnl.so.3, or a system library"
    )


@cache
def _load_library(path: str) -> dict[str, _Gemm]:
    """Return the product for each kind of left operand, signed and unsigned."""
    try:
        library = ctypes.CDLL(path)
        signed, unsigned = library.dnnl_gemm_s8s8s32, library.dnnl_gemm_u8s8s32
    except (OSError, AttributeError) as error:
        raise InputError(
            f"oneDNN library {path}: found {error}, expected dnnl_gemm_s8s8s32"
        ) from None
    for function, left in ((signed, _C.c_int8), (unsigned, _C.c_uint8)):
        function.argtypes, function.restype = _signature(left), ctypes.c_int
    return {"i": signed, "u": unsigned}


def _leading(matrix: NDArray[Any]) -> int:
    """Return the leading dimension; NumPy may give a single row any stride."""
    return int(max(matrix.strides[0] // matrix.itemsize, matrix.shape[1]))


class Int8Kernel(Kernel):
    """int8 or uint8 x int8 -> int32 by oneDNN; k is cut where the int32 sum could overflow."""

    name: ClassVar[str] = "int8"
    mantissa: ClassVar[int] = 2**31 - 1
    prefers_unsigned: ClassVar[bool] = True

    def __init__(self, library: str | None = None) -> None:
        self.library = find_library(library)
        self._gemms = _load_library(self.library)

    def load(self, plane: Plane) -> NDArray[Any]:
        """Digit planes are used as they are, in row order."""
        return np.ascontiguousarray(plane)

    def product(self, a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
        """Multiply into a new int32 matrix."""
        out = np.empty((a.shape[0], b.shape[1]), np.int32)
        self._call(a, b, out, False, None)
        return out

    def multiply(
        self,
        a: NDArray[Any],
        b: NDArray[Any],
        out: Integers,
        *,
        peak: int,
        accumulate: bool,
        offset: NDArray[np.int32] | None = None,
    ) -> None:
        """Multiply straight into an int32 result; cut k only for a wider one."""
        if out.dtype == np.int32:
            self._call(a, b, out, accumulate, offset)
        else:
            super().multiply(a, b, out, peak=peak, accumulate=accumulate, offset=offset)

    def _call(
        self,
        a: NDArray[Any],
        b: NDArray[Any],
        out: Integers,
        accumulate: bool,
        offset: NDArray[np.int32] | None,
    ) -> None:
        rows, inner = a.shape
        columns = b.shape[1]
        kind, offset = (b"F", _NOTHING) if offset is None else (b"R", offset)
        status = self._gemms[a.dtype.kind](
            *(b"N", b"N", kind, rows, columns, inner, 1.0),
            *(a.ctypes.data, _leading(a), 0, b.ctypes.data, _leading(b), 0),
            *(float(accumulate), out.ctypes.data, _leading(out), offset.ctypes.data),
        )
        if status != 0:
            raise RuntimeError(
                f"oneDNN's product of 8-bit integers failed with status {status} for "
                f"({rows}, {inner}) x ({inner}, {columns})"
            )
