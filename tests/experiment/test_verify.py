"""What checks the results must itself find every mistake, and be more exact than what it checks."""

from fractions import Fraction

import numpy as np
import pytest

from hpcrefine.experiment.verify import Exact, Reference, make_reference
from hpcrefine.resolution.bounds import error_bounds
from hpcrefine.resolution.digits import quantise
from hpcrefine.resolution.layers import layering

UNLIMITED = 2**62


def draw(n, k, p, seed=0):
    """Two operands whose rows and columns have wildly different scales."""
    generator = np.random.default_rng(seed)
    a = generator.standard_normal((n, k)) * 10.0 ** generator.uniform(-6, 6, (n, 1))
    b = generator.standard_normal((k, p)) * 10.0 ** generator.uniform(-6, 6, (1, p))
    return a, b


def digits_of(a, b, digits=2, digit_bits=8):
    return tuple(
        quantise(matrix, digits, digit_bits, axis=axis) for matrix, axis in ((a, 1), (b, 0))
    )


def true_integers(left, right, layer):
    """Sums of a layer by plain integer arithmetic, without BLAS."""
    sums = {}
    for i, j in layer.minijobs:
        product = left.planes[i].astype(np.int64) @ right.planes[j].astype(np.int64)
        sums[i + j] = sums.get(i + j, 0) + product
    return sums


def exact_product(a, b):
    """The product in rational arithmetic."""
    rows = [[Fraction(float(x)) for x in row] for row in a]
    columns = [[Fraction(float(x)) for x in column] for column in b.T]
    return [[sum(x * y for x, y in zip(row, col, strict=True)) for col in columns] for row in rows]


def fraction(x):
    return Fraction(*x.as_integer_ratio())


@pytest.fixture
def norms():
    return lambda a, b: float(np.linalg.norm(a, axis=1).max() * np.linalg.norm(b, axis=0).max())


@pytest.mark.parametrize("digits", [1, 2, 3])
@pytest.mark.parametrize("layers", ["antidiagonal", "product", "square"])
def test_right_integers_match(digits, layers):
    left, right = digits_of(*draw(20, 33, 7), digits=digits)
    planned = layering(layers, digits)
    exact = Exact(left, right, planned, "full", UNLIMITED)
    assert not exact.sampled
    assert exact.rows.tolist() == list(range(20))
    for layer in planned:
        assert exact.matches(layer.index, true_integers(left, right, layer))


@pytest.mark.parametrize("row", [0, 9, 19])
@pytest.mark.parametrize("column", [0, 6])
@pytest.mark.parametrize("change", [1, -1, 2**31])
def test_one_wrong_integer_is_found(row, column, change):
    left, right = digits_of(*draw(20, 33, 7))
    planned = layering("antidiagonal", 2)
    exact = Exact(left, right, planned, "full", UNLIMITED)
    for layer in planned:
        sums = true_integers(left, right, layer)
        for significance in sums:
            sums[significance][row, column] += change
            assert not exact.matches(layer.index, sums)
            sums[significance][row, column] -= change
        assert exact.matches(layer.index, sums)


def test_a_missing_a_surplus_and_another_layer_are_found():
    left, right = digits_of(*draw(20, 33, 7))
    planned = layering("square", 2)
    exact = Exact(left, right, planned, "full", UNLIMITED)
    sums = true_integers(left, right, planned[1])
    assert exact.matches(1, sums)
    assert not exact.matches(0, sums)
    assert not exact.matches(1, {1: sums[1]})
    assert not exact.matches(1, sums | {3: sums[2]})


@pytest.mark.parametrize("n", [2, 9, 20, 64, 65])
def test_a_sample_has_the_first_and_the_last_row(n):
    left, right = digits_of(*draw(n, 33, 7))
    exact = Exact(left, right, layering("antidiagonal", 2), "sampled", UNLIMITED)
    assert exact.rows[0] == 0
    assert exact.rows[-1] == n - 1
    assert exact.sampled == (len(exact.rows) < n)


def test_a_sample_finds_mistakes_in_its_rows_only():
    left, right = digits_of(*draw(64, 33, 7))
    planned = layering("antidiagonal", 2)
    exact = Exact(left, right, planned, "sampled", UNLIMITED)
    assert exact.sampled
    assert len(exact.rows) == 8
    for row in range(64):
        sums = true_integers(left, right, planned[0])
        sums[0][row, 3] += 1
        assert exact.matches(0, sums) == (row not in exact.rows)


def test_auto_takes_all_rows_up_to_the_limit():
    left, right = digits_of(*draw(64, 33, 7))
    planned = layering("antidiagonal", 2)
    cost = 4 * 64 * 33 * 7  # multiply-adds of the four digit products
    assert not Exact(left, right, planned, "auto", cost).sampled
    sampled = Exact(left, right, planned, "auto", cost - 1)
    assert sampled.sampled
    assert len(sampled.rows) == 8
    assert len(Exact(left, right, planned, "auto", cost // 16).rows) == 4
    assert not Exact(left, right, planned, "full", 0).sampled


def test_no_limit_is_too_low_for_a_sample():
    left, right = digits_of(*draw(64, 33, 7))
    rows = Exact(left, right, layering("antidiagonal", 2), "auto", 0).rows
    assert {0, 63} <= set(rows.tolist())


def test_float64_serves_where_bounds_are_wide(norms):
    a, b = draw(12, 30, 5)
    reference = make_reference(a, b, 1e-3 * norms(a, b), norms(a, b))
    assert reference.product.dtype == np.float64
    assert reference.rows.tolist() == list(range(12))
    assert np.array_equal(reference.product, a @ b)
    assert 0 < reference.rounding <= 1e-3 * norms(a, b)


@pytest.mark.parametrize("seed", range(4))
def test_extended_precision_serves_where_bounds_are_tiny(norms, seed):
    a, b = draw(12, 400, 5, seed)
    planned = layering("antidiagonal", 7)
    tiny = error_bounds(*digits_of(a, b, digits=7), planned)[-1].absolute
    reference = make_reference(a, b, tiny, norms(a, b))
    assert reference.product.dtype == np.longdouble
    assert reference.rows.tolist() == list(range(12))

    truth = exact_product(a, b)

    def worst(product):
        return max(abs(fraction(product[i, j]) - truth[i][j]) for i in range(12) for j in range(5))

    assert worst(reference.product) * 100 < worst(a @ b)
    assert worst(a @ b) <= reference.rounding
    assert worst(reference.product) <= reference.rounding / 1000


def test_the_switch_between_the_two(norms):
    a, b = draw(12, 30, 5)
    rounding = make_reference(a, b, 1.0, norms(a, b)).rounding
    assert make_reference(a, b, 21 * rounding, norms(a, b)).product.dtype == np.float64
    assert make_reference(a, b, 19 * rounding, norms(a, b)).product.dtype == np.longdouble
    assert make_reference(a, b, 0.0, norms(a, b)).product.dtype == np.longdouble


@pytest.mark.parametrize("affordable", [0, 1, 5])
def test_extended_precision_is_spent_on_a_sample(norms, monkeypatch, affordable):
    a, b = draw(40, 30, 5)
    monkeypatch.setattr("hpcrefine.experiment.verify._EXTENDED_LIMIT", affordable * 30 * 5)
    reference = make_reference(a, b, 0.0, norms(a, b))
    assert len(reference.rows) == max(2, affordable)
    assert {0, 39} <= set(reference.rows.tolist())
    expected = a[reference.rows].astype(np.longdouble) @ b.astype(np.longdouble)
    assert np.array_equal(reference.product, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.int64])
def test_operands_of_any_type(norms, dtype):
    generator = np.random.default_rng(0)
    a, b = (generator.integers(-100, 100, shape).astype(dtype) for shape in ((6, 30), (30, 5)))
    expected = a.astype(np.int64) @ b.astype(np.int64)
    for bound in (1e9, 0.0):
        reference = make_reference(a, b, bound, norms(a, b))
        assert np.array_equal(reference.product, expected)
        assert reference.error(expected.astype(np.float64)) == 0


def test_error_is_the_largest_deviation_of_the_compared_rows():
    product = np.arange(6.0).reshape(2, 3)
    reference = Reference(np.array([0, 3]), product, 0.0)
    value = np.full((4, 3), 1e9)
    value[[0, 3]] = product
    assert reference.error(value) == 0
    value[3, 1] -= 0.5
    value[0, 2] += 0.25
    assert reference.error(value) == 0.5


def test_error_below_float64_is_seen():
    product = np.array([[np.longdouble(1) + np.longdouble(2) ** -60]])
    assert Reference(np.array([0]), product, 0.0).error(np.ones((1, 1))) == 2.0**-60


def test_nan_never_passes_for_small():
    reference = Reference(np.array([0]), np.ones((1, 1)), 0.0)
    assert not reference.error(np.full((1, 1), np.nan)) <= 1e300


def test_an_entry_that_overflows_in_both_is_no_error():
    reference = Reference(np.array([0]), np.array([[np.inf, -np.inf, 1.0]]), np.inf)
    assert reference.error(np.array([[np.inf, -np.inf, 1.0]])) == 0
    assert reference.error(np.array([[np.inf, np.inf, 1.0]])) == np.inf
