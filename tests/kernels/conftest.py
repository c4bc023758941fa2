"""Every kernel that this machine has, and digits for it to multiply."""

import numpy as np
import pytest

from hpcrefine.errors import InputError
from hpcrefine.kernels import KERNELS, check_exactness


@pytest.fixture(scope="session", params=["int8", "float32", "float64"])
def any_kernel(request):
    """Each kernel, whether it is exact here or not."""
    try:
        return KERNELS[request.param](None)
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def kernel(any_kernel):
    """Each kernel that may be chosen here; int8 alone depends on the processor."""
    if any_kernel.name == "int8" and (reason := check_exactness(any_kernel)):
        pytest.skip(reason)
    return any_kernel


def make_digits(seed, shape, kind, bits=8):
    """Random digits, or the largest there are with equal or random signs."""
    generator, peak = np.random.default_rng(seed), 1 << (bits - 1)
    if kind == "random":
        return generator.integers(-peak, peak, shape, dtype=np.int8)
    if kind == "lowest":
        return np.full(shape, -peak, np.int8)
    if kind == "highest":
        return np.full(shape, peak - 1, np.int8)
    return np.where(generator.random(shape) < 0.5, -peak, peak - 1).astype(np.int8)


@pytest.fixture(scope="session")
def digits():
    return make_digits
