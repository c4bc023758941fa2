"""Digit products by floating-point BLAS: exact as long as the sums fit the mantissa."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hpcrefine.kernels.base import Kernel, Plane


class Float32Kernel(Kernel):
    """Digits as float32: exact up to 2**24, so k is cut every 2**24 / peak."""

    name: ClassVar[str] = "float32"
    mantissa: ClassVar[int] = 2**24
    _dtype: ClassVar[type] = np.float32

    def load(self, plane: Plane) -> NDArray[Any]:
        """Convert the digits to floating point."""
        return plane.astype(self._dtype)

    def product(self, a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
        """Multiply by BLAS."""
        return np.asarray(a @ b)


class Float64Kernel(Float32Kernel):
    """Digits as float64: exact up to 2**53."""

    name: ClassVar[str] = "float64"
    mantissa: ClassVar[int] = 2**53
    _dtype: ClassVar[type] = np.float64
