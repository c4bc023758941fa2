"""Refine: integers in units of rows and columns, added to a resolution without losing a bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcrefine.resolution.digits import Quantised
from hpcrefine.resolution.refine import Refiner

# Units of rows and of columns: multiplied as factors, or beyond their range, where ldexp is needed.
RANGES = {
    "factors": ((-300, 300), (-300, 300)),
    "1e-320 by 1e300": ((-1070, -1050), (960, 1000)),
    "1e290 by 1e-320": ((930, 960), (-1074, -1040)),
    "one row far away": ((-1000, 0), (0, 0)),
}
STARTS = ("nothing", "another array", "in place")  # the resolution before


def operand(exponents, axis, digits, bits):
    """An operand of which only the units and the number of digits matter."""
    vectors = len(exponents)
    shape = (digits, vectors, 1) if axis == 1 else (digits, 1, vectors)
    empty = np.zeros((digits + 1, vectors))
    units = np.asarray(exponents, np.int64)
    return Quantised(np.zeros(shape, np.int8), bits, axis, units, empty)


def assert_added(rows, columns, digits, bits, groups, integers, start, exact, times_power):
    """Half of the rows are added at a time; they equal Python integers times powers of two."""
    refiner = Refiner.of(operand(rows, 1, digits, bits), operand(columns, 0, digits, bits))
    units = np.asarray(rows)[:, None] + np.asarray(columns)
    shifts = [bits * (2 * digits - 2 - group) for group in groups]
    expected = sum(times_power(x, units + s) for x, s in zip(integers, shifts, strict=True))
    previous = None
    if start != "nothing":
        previous = np.ldexp(np.arange(1.0, units.size + 1).reshape(units.shape), units + shifts[0])
        expected = expected + exact(previous)
        before = previous.copy()
    out = previous if start == "in place" else np.full(units.shape, np.nan)
    middle = len(rows) // 2
    for part in (slice(0, middle), slice(middle, len(rows))):
        refiner.add(part, integers[:, part], groups, previous, out)
        if start != "in place":
            assert np.isnan(out[part.stop :]).all()
    assert (exact(out) == expected).all()
    if start == "another array":
        assert (previous == before).all()


@pytest.mark.parametrize("kind", RANGES)
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@settings(deadline=None, max_examples=40)
@given(
    data=st.data(),
    width=st.sampled_from([(1, 8), (2, 8), (3, 3), (5, 1), (7, 8)]),
    start=st.sampled_from(STARTS),
    seed=st.integers(0, 2**32),
)
def test_sums_are_exact(kind, dtype, data, width, start, seed, exact, times_power):
    digits, bits = width
    first = data.draw(st.integers(0, 2 * digits - 2))
    groups = range(first, min(first + data.draw(st.integers(1, 3)), 2 * digits - 1))
    low, high = RANGES[kind]
    n, p = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    generator = np.random.default_rng(seed)
    rows = generator.integers(low[0], low[1] + 1, n)
    columns = generator.integers(high[0], high[1] + 1, p)
    limit = 2**31 if dtype == np.int32 else 2**34
    integers = generator.integers(-limit, limit, (len(groups), n, p)).astype(dtype)
    assert_added(rows, columns, digits, bits, groups, integers, start, exact, times_power)


@pytest.mark.parametrize("kind", ["factors", "1e-320 by 1e300"])
def test_many_chunks(kind, exact, times_power):
    generator = np.random.default_rng(0)
    low, high = RANGES[kind]
    rows = generator.integers(low[0], low[1] + 1, 31)
    columns = generator.integers(high[0], high[1] + 1, 5003)
    integers = generator.integers(-(2**31), 2**31, (2, 31, 5003)).astype(np.int32)
    assert_added(rows, columns, 2, 8, (1, 2), integers, "another array", exact, times_power)
