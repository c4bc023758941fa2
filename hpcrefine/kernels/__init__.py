"""Exact products of digit planes, and the choice of the fastest kernel that proves exact here."""

from hpcrefine.kernels.base import Kernel, result_dtype
from hpcrefine.kernels.choice import KERNELS, Choice, Peaks, check_exactness, choose_kernel

__all__ = [
    "KERNELS",
    "Choice",
    "Kernel",
    "Peaks",
    "check_exactness",
    "choose_kernel",
    "result_dtype",
]
