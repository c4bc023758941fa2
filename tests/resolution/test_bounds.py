"""Bounds: never below the true error, in exact arithmetic, and close to it on real data."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcrefine.resolution.bounds import error_bounds, exact_in_float64
from hpcrefine.resolution.digits import quantise
from hpcrefine.resolution.layers import layering
from hpcrefine.resolution.sweep import largest_integer

LAYERINGS = ("antidiagonal", "product", "square")
WIDTHS = [(m, d) for m in range(1, 8) for d in range(1, 9)]

every_layering = pytest.mark.parametrize("name", LAYERINGS)
extremes_overflow = pytest.mark.filterwarnings(
    "ignore:(overflow|invalid value) encountered:RuntimeWarning"
)


@st.composite
def pairs(draw, matrices):
    """Shapes and types of two operands that can be multiplied."""
    n, k, p = (draw(st.integers(1, 4)) for _ in range(3))
    types = ("f8", "f8", "f4", "i8")
    return draw(matrices(types, shape=(n, k))), draw(matrices(types, shape=(k, p)))


def assert_bounded(a, b, x, y, layers, exact, resolutions):
    """Each bound holds, computed without rounding; a resolution that overflowed has none."""
    truth = exact(a) @ exact(b)
    for value, bound in zip(resolutions(x, y, layers), error_bounds(x, y, layers), strict=True):
        assert bound.relative >= 0
        if np.isinf(bound.absolute):
            continue
        assert np.isfinite(value).all(), "a resolution that overflowed has a finite bound"
        unit = exact([1.0])[0]
        error = abs(truth - exact(value) * unit).max()
        assert exact([bound.absolute])[0] * unit >= error


@every_layering
@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    width=st.sampled_from([*WIDTHS, (7, 8), (7, 8), (6, 8)]),
    truncate=st.none() | st.integers(0, 12),
    scale=st.sampled_from(["row", "matrix"]),
    types=st.tuples(*[st.sampled_from(["f8", "f4"])] * 2),
)
def test_never_below_the_error(
    name, seed, shape, width, truncate, scale, types, scaled, exact, resolutions
):
    a = scaled(seed, shape[:2], 60, types[0])
    b = scaled(seed + 1, shape[1:], 60, types[1])
    x, y = quantise(a, *width, axis=1, scale=scale), quantise(b, *width, axis=0, scale=scale)
    layers = layering(name, width[0], truncate)
    assert_bounded(a, b, x, y, layers, exact, resolutions)


@every_layering
@pytest.mark.parametrize("length", [1, 3, 40])
def test_rounding_in_float64_is_bounded(name, length, exact, resolutions):
    generator = np.random.default_rng(length)
    a = generator.standard_normal((5, length))
    b = generator.standard_normal((length, 4))
    x, y = quantise(a, 7, 8, axis=1), quantise(b, 7, 8, axis=0)
    assert not exact_in_float64(x, y)
    layers = layering(name, 7)
    assert_bounded(a, b, x, y, layers, exact, resolutions)
    last = error_bounds(x, y, layers)[-1]
    assert 2.0**-53 < last.relative < 2.0**-53 * (len(layers) + 20)


SMALL = np.random.default_rng(0).standard_normal((9, 9)) * 2.0**-530
ENDS = {
    "squares underflow": ([[0, 2.0**600]], [[1.0], [2.0**-600]]),
    "squares underflow in the first operand": ([[1.0, 1e-200]], [[0], [2.0**600]]),
    "a share of the norm underflows": ([[0, 2.0**300]], [[2.0**600], [1e-200]]),
    "a product of shares underflows": ([[1.0, 1e-170, 0]], [[0, 1.0], [1e-170, 0], [0, 0]]),
    "bound underflows before the other norm": ([[1.2345e-318]], [[1.23456789e300]]),
    "bound is subnormal": ([[2.0**-530 * (1 + 2.0**-50)]], [[2.0**-530]]),
    "product is subnormal": ([[1e-160 / 3]], [[1e-160 / 7]]),
    "product vanishes": ([[1e-320]], [[1e-320]]),
    "roundings of subnormals add up": (SMALL[:, :1], SMALL[:1]),
    "rows and columns 1e200 apart": ([[1e-100 / 3], [1e100]], [[1e-100, 1e100 / 7]]),
    "first digit overflows": ([[1.7925e308]], [[1.0]]),
    "product overflows": ([[2.0**600]], [[2.0**600]]),
}


@extremes_overflow
@every_layering
@pytest.mark.parametrize("case", ENDS)
def test_never_below_the_error_at_the_ends_of_float64(name, case, exact, resolutions):
    a, b = (np.array(x, np.float64) for x in ENDS[case])
    for digits, bits in [(1, 2), (2, 8), (3, 5), (7, 8)]:
        x, y = quantise(a, digits, bits, axis=1), quantise(b, digits, bits, axis=0)
        assert_bounded(a, b, x, y, layering(name, digits), exact, resolutions)


@extremes_overflow
@every_layering
@settings(deadline=None, max_examples=120)
@given(data=st.data(), width=st.sampled_from(WIDTHS))
def test_never_below_the_error_for_any_entries(name, data, width, matrices, exact, resolutions):
    a, b = data.draw(pairs(matrices))
    x, y = quantise(a, *width, axis=1), quantise(b, *width, axis=0)
    assert_bounded(a, b, x, y, layering(name, width[0]), exact, resolutions)


@pytest.mark.parametrize(
    ("digits", "bits", "name", "dtype"),
    [
        (2, 8, "antidiagonal", "f8"),
        (2, 8, "product", "f4"),
        (3, 8, "square", "f8"),
        (4, 4, "antidiagonal", "f4"),
        (4, 4, "product", "f8"),
        (7, 1, "square", "f4"),
        (7, 1, "antidiagonal", "f8"),
    ],
)
def test_within_a_hundred_times_the_error_on_normal_data(digits, bits, name, dtype, resolutions):
    generator = np.random.default_rng(3)
    a = generator.standard_normal((64, 4096)).astype(dtype)
    b = generator.standard_normal((4096, 64)).astype(dtype)
    x, y = quantise(a, digits, bits, axis=1), quantise(b, digits, bits, axis=0)
    layers, truth = layering(name, digits), a.astype(np.float64) @ b.astype(np.float64)
    norms = (
        np.linalg.norm(a.astype(float), axis=1).max(),
        np.linalg.norm(b.astype(float), axis=0).max(),
    )
    bounds = error_bounds(x, y, layers)
    for value, bound in zip(resolutions(x, y, layers), bounds, strict=True):
        error = np.abs(value - truth).max()
        assert error <= bound.absolute <= (100 if bits > 1 else 150) * error
        assert bound.relative == pytest.approx(bound.absolute / (norms[0] * norms[1]), rel=1e-9)
    assert bounds[-1].absolute < bounds[0].absolute


@every_layering
@settings(deadline=None, max_examples=40)
@given(
    data=st.data(),
    width=st.sampled_from([(m, d) for m, d in WIDTHS if 2 * m * d <= 50]),
    seed=st.integers(0, 2**32),
    dtype=st.sampled_from(["f8", "i8"]),
)
def test_integers_that_fit_have_no_error_in_the_end(
    name, data, width, seed, dtype, exact, resolutions
):
    generator, largest = np.random.default_rng(seed), largest_integer(*width)
    n, k, p = (data.draw(st.integers(1, 3)) for _ in range(3))
    a = generator.integers(-largest, largest + 1, (n, k)).astype(dtype)
    b = generator.integers(-largest, largest + 1, (k, p)).astype(dtype)
    if dtype == "f8":
        a *= 2.0 ** -generator.integers(0, 300, (n, 1))
        b *= 2.0 ** -generator.integers(0, 300, p)
    x, y = quantise(a, *width, axis=1), quantise(b, *width, axis=0)
    layers = layering(name, width[0])
    assert exact_in_float64(x, y)
    last = error_bounds(x, y, layers)[-1]
    assert (last.absolute, last.relative) == (0, 0)
    value = [*resolutions(x, y, layers)][-1]
    assert (exact(value) * exact([1.0])[0] == exact(a) @ exact(b)).all()


@every_layering
def test_bounds_follow_truncation_and_zero_operands(name, scaled):
    a, b = scaled(1, (6, 50), 4), scaled(2, (50, 5), 4)
    x, y = quantise(a, 3, 6, axis=1), quantise(b, 3, 6, axis=0)
    whole = error_bounds(x, y, layering(name, 3))
    cut = error_bounds(x, y, layering(name, 3, 1))
    assert cut[-1].absolute > 2 * whole[-1].absolute
    assert all(p.absolute >= q.absolute for p, q in itertools.pairwise(whole))
    zero = quantise(np.zeros((50, 5)), 3, 6, axis=0)
    assert {(q.absolute, q.relative) for q in error_bounds(x, zero, layering(name, 3))} == {(0, 0)}
