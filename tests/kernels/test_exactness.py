"""Kernels: every product of digit planes equals integer arithmetic, bit for bit."""

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hpcrefine.kernels import result_dtype

KINDS = ("random", "lowest", "highest", "signs")


def integer_product(a, b):
    return a.astype(np.int64) @ b.astype(np.int64)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.differing_executors])
@example((1, 1, 1), ("lowest", "lowest"), 8, 0, np.int32, True, 1)
@example((1, 515, 1), ("signs", "lowest"), 8, 0, np.int32, False, 1)
@example((1, 97, 31), ("lowest", "highest"), 8, 0, np.int64, True, 2)
@example((37, 1, 41), ("random", "random"), 8, 0, np.int32, True, 3)
@example((67, 101, 53), ("signs", "signs"), 8, 0, np.int32, True, 2)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 300), st.integers(1, 40)),
    kinds=st.tuples(st.sampled_from(KINDS), st.sampled_from(KINDS)),
    bits=st.integers(1, 8),
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from([np.int32, np.int64]),
    accumulate=st.booleans(),
    stride=st.integers(1, 3),
)
def test_products_equal_integers(
    kernel, digits, shape, kinds, bits, seed, dtype, accumulate, stride
):
    rows, inner, columns = shape
    a = digits(seed, (stride * rows + 1, inner), kinds[0], bits)
    b = digits(seed + 1, (inner, columns), kinds[1], bits)
    start = np.random.default_rng(seed).integers(-(2**20), 2**20, (rows, columns))
    sums = np.stack([start - 7, start, start + 7]).astype(dtype)  # the neighbours stay untouched
    view = slice(1, None, stride)
    peak = 4 ** (bits - 1)
    left, right = kernel.load(a)[view], kernel.load(b)
    kernel.multiply(left, right, sums[1], peak=peak, accumulate=accumulate)
    expected = integer_product(a[view], b) + (start if accumulate else 0)
    assert (sums == np.stack([start - 7, expected, start + 7])).all()
    assert (kernel.load(a) == a).all()
    assert (kernel.load(b) == b).all()


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda x: np.repeat(x, 2, axis=1)[:, ::2]])
def test_loaded_planes_may_have_any_layout(kernel, digits, layout):
    a, b, out = (
        digits(0, (5, 70), "random"),
        digits(1, (70, 9), "signs"),
        np.empty((5, 9), np.int32),
    )
    left, right = kernel.load(layout(a)), kernel.load(layout(b))
    kernel.multiply(left, right, out, peak=2**14, accumulate=False)
    assert (out == integer_product(a, b)).all()


@pytest.mark.parametrize("inner", [1024, 1025, 1501, 2049, 5003])
@pytest.mark.parametrize(
    "kinds", [("lowest", "lowest"), ("highest", "highest"), ("signs", "random")]
)
@pytest.mark.parametrize("accumulate", [False, True])
def test_sums_beyond_the_mantissa_of_float32(kernel, digits, inner, kinds, accumulate):
    a, b = digits(2, (4, inner), kinds[0]), digits(3, (inner, 5), kinds[1])
    out = np.full((4, 5), 3, np.int32)
    kernel.multiply(kernel.load(a), kernel.load(b), out, peak=2**14, accumulate=accumulate)
    assert (out == integer_product(a, b) + 3 * accumulate).all()


@pytest.mark.parametrize("inner", [131071, 131072, 131073, 300007])
@pytest.mark.parametrize(
    "kinds", [("lowest", "lowest"), ("lowest", "highest"), ("signs", "random")]
)
def test_sums_beyond_int32(kernel, digits, inner, kinds):
    a, b = digits(4, (2, inner), kinds[0]), digits(5, (inner, 2), kinds[1])
    out = np.full((2, 2), 2**40, np.int64)
    kernel.multiply(kernel.load(a), kernel.load(b), out, peak=2**14, accumulate=True)
    assert (out == integer_product(a, b) + 2**40).all()


@given(
    inner=st.integers(1, 2**20),
    products=st.integers(1, 7),
    peak=st.sampled_from([1, 4, 2**6, 2**14, 2**14 * 37]),
)
@example(131071, 1, 2**14)
@example(131072, 1, 2**14)
def test_result_dtype_is_the_narrowest_that_holds_the_worst_sum(inner, products, peak):
    worst = inner * products * peak
    assert result_dtype(inner, products, peak) == (np.int32 if worst < 2**31 else np.int64)


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_an_offset_is_added_to_each_row(any_kernel, dtype, accumulate):
    generator = np.random.default_rng(0)
    a = generator.integers(0, 256, (33, 70), dtype=np.uint8)
    b = generator.integers(-64, 65, (70, 21), dtype=np.int8)
    offset = generator.integers(-(2**20), 2**20, 21, dtype=np.int32)
    wide = np.full((33, 30), 7, dtype)
    out = wide[:, 4:25]
    any_kernel.multiply(
        *(any_kernel.load(a), any_kernel.load(b), out),
        **{"peak": 255 * 64, "accumulate": accumulate, "offset": offset},
    )
    assert (out == integer_product(a, b) + offset + 7 * accumulate).all()
    assert (wide[:, :4] == 7).all()
    assert (wide[:, 25:] == 7).all()
