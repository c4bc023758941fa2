"""What a kernel is: exact products of digit planes, added up in integers."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.int8] | NDArray[np.uint8]  # unsigned on the left alone
Integers = NDArray[np.signedinteger]


class Kernel(ABC):
    """Multiplies digit planes exactly.

    Sums of products stay exact in the kernel's native arithmetic up to ``mantissa``; longer inner
    dimensions are cut and added up in the integer type of ``out``, which the caller has chosen wide
    enough (:func:`result_dtype`).
    """

    name: ClassVar[str]
    mantissa: ClassVar[int]
    prefers_unsigned: ClassVar[bool] = False
    """Whether it is faster with an unsigned left operand, so that shifting one pays."""

    @abstractmethod
    def load(self, plane: Plane) -> NDArray[Any]:
        """Bring a digit plane into the kernel's native form; done once for each plane."""

    @abstractmethod
    def product(self, a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
        """Multiply native operands whose sums fit the mantissa."""

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
        """Compute ``out = a @ b + offset`` or ``out += a @ b + offset`` exactly.

        Parameters
        ----------
        a, b : ndarray, shapes (rows, k) and (k, columns)
            Operands as returned by :meth:`load`.
        out : ndarray of int32 or int64, shape (rows, columns)
            Result.
        peak : int
            Bound on the magnitude of the product of an entry of a with one of b.
        accumulate : bool
            Add to ``out`` instead of overwriting it.
        offset : ndarray of int32, shape (columns,), optional
            Added to each row.
        """
        step = max(1, self.mantissa // peak)
        for start in range(0, a.shape[1], step):
            part = self.product(a[:, start : start + step], b[start : start + step])
            if accumulate or start:
                np.add(out, part, out=out, casting="unsafe")
            else:
                np.copyto(out, part, casting="unsafe")
        if offset is not None:
            out += offset


def result_dtype(inner: int, products: int, peak: int) -> np.dtype[np.signedinteger]:
    """Return the integer type that holds a sum of ``products`` digit products.

    Parameters
    ----------
    inner : int
        Inner dimension k.
    products : int
        Digit products added into the same result.
    peak : int
        Bound on the magnitude of the product of two digits.
    """
    return np.dtype(np.int32 if inner * products * peak < 2**31 else np.int64)
