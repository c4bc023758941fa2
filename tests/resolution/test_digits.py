"""Digits: every entry to within half a unit, every prefix, every norm, checked without rounding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcrefine.errors import InputError
from hpcrefine.resolution.digits import Quantised, Threads, quantise
from hpcrefine.resolution.sweep import largest_integer

WIDTHS = [(m, d) for m in range(1, 8) for d in range(1, 9)]
INTEGERS = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")

widths = pytest.mark.parametrize(("digits", "bits"), WIDTHS)
any_width = st.sampled_from(WIDTHS)
axes = pytest.mark.parametrize("axis", [0, 1])
scales = st.sampled_from(["row", "matrix"])
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered")  # norms beyond 1.8e308


def balanced(integer: int, digits: int, bits: int) -> list[int]:
    """Digits of an integer, most significant first, by definition; the first takes the rest."""
    found = []
    for _ in range(digits - 1):
        if bits == 1:  # non-adjacent form
            digit = 0 if integer % 2 == 0 else 2 - integer % 4
        else:
            digit = (integer + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))
        found.append(digit)
        integer = (integer - digit) >> bits
    return [integer, *found[::-1]]


def fits(integer: int, digits: int, bits: int) -> bool:
    low, high = (-1, 1) if bits == 1 else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    return low <= balanced(integer, digits, bits)[0] <= high


def worst_rest(digits: int, bits: int) -> int:
    """Largest magnitude that ``digits`` low digits can add up to, in units of the last."""
    if bits == 1:
        return (1 << (digits + 1)) // 3
    return (1 << (bits - 1)) * ((1 << (digits * bits)) - 1) // ((1 << bits) - 1)


def along(vector, axis):
    return np.expand_dims(vector, axis)


def lost_in_float64(matrix, exact):
    """How far float64 is from each entry: only integers beyond 2**53 are not float64 already."""
    return abs(exact(matrix.astype(np.float64)) - exact(matrix))


def prefixes(q: Quantised, times_power):
    """Exact values of the first 0, 1, ..., m digits."""
    joined = np.zeros(q.shape, object)
    yield times_power(joined, 0)
    for t, plane in enumerate(q.planes, 1):
        joined = joined * 2**q.digit_bits + plane.astype(object)
        rest = q.digit_bits * (q.digits - t)
        yield times_power(joined * 2**rest, along(q.exponents, q.axis))


def same(p: Quantised, q: Quantised) -> bool:
    names = ("planes", "exponents", "residuals")
    return all(np.array_equal(getattr(p, name), getattr(q, name)) for name in names)


@widths
@settings(deadline=None, max_examples=12)
@given(data=st.data(), axis=st.sampled_from([0, 1]), scale=scales)
def test_entries_and_prefixes_are_nearest(
    digits, bits, data, axis, scale, matrices, exact, times_power
):
    x = data.draw(matrices())
    q = quantise(x, digits, bits, axis=axis, scale=scale)
    assert q.planes.dtype == np.int8
    assert (q.digits, q.shape, q.axis) == (digits, x.shape, axis)
    assert np.abs(q.planes.astype(int)).max() <= 1 << (bits - 1)
    units = along(times_power(1, q.exponents), axis)
    extra = lost_in_float64(x, exact)
    partial = list(prefixes(q, times_power))
    assert (2 * abs(exact(x) - partial[-1]) <= units + 2 * extra).all()
    assert (times_power(q.integers(), along(q.exponents, axis)) == partial[-1]).all()
    for t in range(digits):
        rest = worst_rest(digits - t, bits)
        assert (2 * abs(exact(x) - partial[t]) <= (2 * rest + 1) * units + 2 * extra).all()


@settings(deadline=None, max_examples=150)
@given(data=st.data(), width=any_width, axis=st.sampled_from([0, 1]), scale=scales)
def test_unit_is_the_smallest_that_fits(width, data, axis, scale, matrices, exact, times_power):
    x = data.draw(matrices())
    q = quantise(x, *width, axis=axis, scale=scale)
    peaks = abs(exact(x.astype(np.float64))).max(axis=axis)
    if scale == "matrix":
        peaks[:] = peaks.max()
    assert (q.exponents[peaks == 0] == 0).all()
    for peak, unit in zip(peaks, times_power(1, q.exponents), strict=True):
        if peak:
            in_half_units, left = divmod(2 * peak, unit)
            in_half_units += 2 * left > unit or (2 * left == unit and in_half_units % 2)
            assert in_half_units > largest_integer(*width)


@settings(deadline=None, max_examples=150)
@given(data=st.data(), width=any_width, axis=st.sampled_from([0, 1]))
def test_values_are_the_prefixes(width, data, axis, matrices, exact, times_power):
    x = data.draw(matrices().filter(lambda x: np.abs(x.astype(float)).max() < 4e307))
    q = quantise(x, *width, axis=axis)
    for t, prefix in enumerate(prefixes(q, times_power)):
        assert (exact(q.values(t)) == prefix).all()
    assert (q.values() == q.values(q.digits)).all()


def assert_norms(q, x, exact, times_power, tight=True):
    """Every stated norm is at least the true one and, above what underflows, within 1e-12 of it."""
    length, axis = x.shape[q.axis], q.axis
    partial = list(prefixes(q, times_power))
    truth = [exact(x) - prefix for prefix in partial]
    slack = 2 * times_power(1, -1074) + length * times_power(1, q.exponents - 490)
    peak = abs(exact(x)).max()
    if x.dtype.kind in "iu" and peak >= exact([2.0**53])[0]:
        slack = slack + (length * peak >> 52)  # lost in float64, and once more in its bound
    for number, (stated, entries) in enumerate(zip(q.residuals, truth, strict=True)):
        squares = (entries * entries).sum(axis=axis)
        for v, norm in enumerate(stated):
            if np.isinf(norm):
                assert squares[v] >= exact([np.finfo(float).max * (1 - 1e-12)])[0] ** 2
                continue
            found = exact([norm])[0]
            assert found * found >= squares[v], f"norm {number} of vector {v} is too small"
            if tight and number in (0, q.digits):
                above = max(found - slack[v], 0) * 10**12
                assert above * above <= squares[v] * (10**12 + 1) ** 2
            elif tight:  # two norms of what is left in the end above it, and float32's rounding
                last = exact([q.residuals[-1, v]])[0]
                above = max(found - slack[v] - 2 * last, 0) * 10**5
                assert above * above <= squares[v] * (10**5 + length + 8) ** 2


@settings(deadline=None, max_examples=250)
@given(data=st.data(), width=any_width, axis=st.sampled_from([0, 1]), scale=scales)
def test_norms_are_tight_and_never_too_small(
    width, data, axis, scale, matrices, exact, times_power
):
    x = data.draw(matrices())
    assert_norms(quantise(x, *width, axis=axis, scale=scale), x, exact, times_power)


@axes
@pytest.mark.parametrize("small", [1e-150, 1e-170, 1e-200, 1e-320])
@pytest.mark.parametrize("large", [1.0, 1e-3, 2.0**40, 1e200, 1e308])
def test_entries_far_below_their_vector_keep_their_norm(small, large, axis, exact, times_power):
    x = np.array([[large, small], [small, -large]])
    for scale in ("row", "matrix"):
        assert_norms(quantise(x, 2, 8, axis=axis, scale=scale), x, exact, times_power)
    rows = np.array([[large, large / 3], [small, small / 3]])
    for scale in ("row", "matrix"):
        assert_norms(quantise(rows, 2, 8, axis=axis, scale=scale), rows, exact, times_power)


@pytest.mark.parametrize("length", range(2, 12))
def test_norms_of_subnormals_are_rounded_up(length, exact, times_power):
    x = np.array([[5e-324] * length, [1e-310 / 3] * length])
    assert_norms(quantise(x, 2, 3, axis=1, scale="matrix"), x, exact, times_power)
    assert_norms(quantise(x, 2, 3, axis=1), x, exact, times_power)


@pytest.mark.parametrize("entry", [2**53 + 1, -(2**53) - 1, 2**62 + 1, 2**63 - 1])
def test_integers_that_float64_cannot_hold_count_as_residual(entry, exact, times_power):
    x = np.array([[entry, 3]])
    assert_norms(quantise(x, 7, 8, axis=1), x, exact, times_power)


def test_norms_know_foreign_byte_order(exact, times_power):
    x = np.array([[2.0**996, 5e-324]], ">f8")
    assert_norms(quantise(x, 2, 8, axis=1), x, exact, times_power)


@axes
@pytest.mark.parametrize("dtype", INTEGERS)
def test_extremes_of_integer_types(dtype, axis, exact, times_power):
    limits = np.iinfo(dtype)
    x = np.array([[limits.min, limits.max, 0], [limits.max // 3, 1, limits.min]], dtype)
    for digits, bits in WIDTHS:
        q = quantise(x, digits, bits, axis=axis)
        units = along(times_power(1, q.exponents), axis)
        error = abs(exact(x) - list(prefixes(q, times_power))[-1])
        assert (2 * error <= units + 2 * lost_in_float64(x, exact)).all()
        assert_norms(q, x, exact, times_power, tight=False)


@widths
def test_largest_integer_is_the_largest(digits, bits):
    largest = largest_integer(digits, bits)
    step = max(1, largest // 1000)
    integers = {*range(0, largest + 1, step), *range(max(0, largest - 50), largest + 1)}
    assert all(fits(sign * q, digits, bits) for q in integers for sign in (1, -1))
    assert not fits(largest + 1, digits, bits)


@widths
def test_largest_integer_is_attained_and_no_more(digits, bits):
    largest = largest_integer(digits, bits)
    attained = above = float(largest)  # the neighbours in float64: 2**56 is beyond its integers
    if attained > largest:
        attained = np.nextafter(attained, 0)
    elif above == largest:
        above = max(largest + 1.0, np.nextafter(above, np.inf))
    for sign in (1, -1):
        q = quantise(np.array([[sign * attained]]), digits, bits, axis=1)
        assert (q.exponents[0], q.integers()[0, 0]) == (0, sign * int(attained))
        assert q.planes.ravel().tolist() == balanced(sign * int(attained), digits, bits)
        q = quantise(np.array([[sign * above]]), digits, bits, axis=1)
        assert q.exponents[0] > 0
        assert abs(q.values()[0, 0] - sign * above) <= 2.0 ** (q.exponents[0] - 1)


@widths
def test_zero_vectors_and_the_smallest_number(digits, bits):
    x = np.array([[0.0, -0.0], [5e-324, -1e-323], [1e308, 1e108]])
    q = quantise(x, digits, bits, axis=1)
    assert q.exponents[0] == 0
    assert not q.planes[:, 0].any()
    assert not q.residuals[:, 0].any()
    if digits * bits > 3:
        assert (q.values()[1] == x[1]).all()
        assert not q.residuals[-1, 1]
    assert not quantise(np.zeros((3, 2)), digits, bits, axis=0, scale="matrix").planes.any()


LARGE = [(1200, 500), (3, 70001), (70001, 3)]  # many blocks; a row beyond a block; short rows


@axes
@pytest.mark.parametrize("shape", LARGE)
def test_layout_changes_nothing(shape, axis, scaled, layouts):
    x = scaled(7, shape)
    reference = quantise(x, 3, 8, axis=axis)
    for layout in layouts.values():
        assert same(quantise(layout(x), 3, 8, axis=axis), reference)
    part = (slice(-40, None), slice(None))[:: 1 if axis == 1 else -1]
    alone = quantise(x[part], 3, 8, axis=axis)
    assert (alone.planes == reference.planes[(slice(None), *part)]).all()
    assert (alone.exponents == reference.exponents[-40:]).all()
    rests = [x - reference.values(t) for t in range(4)]
    length = shape[axis]
    smallest = 1e-140 * reference.residuals[0]  # what may be added for underflow
    norms = np.stack([np.linalg.norm(rest, axis=axis) for rest in rests])
    allowed = 1e-9 * norms + smallest
    allowed[1:-1] += 2 * norms[-1] + (length + 8) * 2.0**-23 * norms[1:-1]
    assert (np.abs(reference.residuals - norms) <= allowed).all()


@axes
@pytest.mark.parametrize("shape", [(1, 5), (2, 3), *LARGE])
def test_threads_change_nothing(shape, axis, scaled):
    x = scaled(8, shape)
    assert same(
        quantise(x, 2, 7, axis=axis, team=Threads(3)), quantise(x, 2, 7, axis=axis, team=Threads(1))
    )


@axes
@pytest.mark.parametrize("layout", ["C", "F", "strided"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_first_entry_that_is_not_finite_is_named(bad, dtype, layout, axis, layouts):
    x = np.ones((5, 4), dtype)
    x[2, 3] = x[3, 0] = x[4, 1] = bad
    with pytest.raises(InputError, match=rf"^b\[2, 3\]: found {bad}, expected a finite number"):
        quantise(layouts[layout](x), 2, 8, axis=axis, team=Threads(2), name="b")


@pytest.mark.parametrize(
    "matrix",
    [np.ones(3), np.ones((2, 2, 2)), np.ones((0, 3)), np.ones((3, 0)), np.array(1.0), [[1.0]]],
    ids=["1-D", "3-D", "no rows", "no columns", "0-D", "list"],
)
def test_what_is_no_matrix_is_refused(matrix):
    with pytest.raises(
        InputError, match=r"^a: found .*, expected a (two-dimensional array|matrix)"
    ):
        quantise(matrix, 2, 8, axis=1, name="a")


@pytest.mark.parametrize("dtype", ["c8", "c16", "O", "?", "U3", "M8[s]", np.longdouble])
def test_what_is_not_real_is_refused(dtype):
    with pytest.raises(InputError, match=r"^a: found dtype .*, expected float64"):
        quantise(np.zeros((2, 2), dtype), 2, 8, axis=1, name="a")


@pytest.mark.parametrize(
    ("digits", "bits", "message"),
    [
        (0, 8, r"^digits: found 0, expected 1\.\.7"),
        (8, 8, r"^digits: found 8, expected 1\.\.7"),
        (2, 0, r"^digit_bits: found 0, expected 1\.\.8"),
        (2, 9, r"^digit_bits: found 9, expected 1\.\.8"),
    ],
)
def test_widths_out_of_range_are_refused(digits, bits, message):
    with pytest.raises(InputError, match=message):
        quantise(np.ones((2, 2)), digits, bits, axis=1)


def test_unknown_scale_is_refused():
    with pytest.raises(InputError, match=r"^scale: found 'rows', expected one of row, matrix"):
        quantise(np.ones((2, 2)), 2, 8, axis=1, scale="rows")
