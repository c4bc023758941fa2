"""Order statistics: known values, properties, and the coverage they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import bdtr, stdtrit

from hpcrefine.analysis import statistics
from hpcrefine.analysis.statistics import (
    Spread,
    Summary,
    holm,
    mann_whitney,
    ratio_of_medians,
    resampled_medians,
)

SAMPLES = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("count", "low", "high"),
    # From tables of the binomial confidence interval of the median.
    [(6, 1, 6), (7, 1, 7), (8, 1, 8), (9, 2, 8), (10, 2, 9), (20, 6, 15), (50, 18, 33)],
)
def test_ranks_of_the_interval(count, low, high):
    times = np.random.default_rng(1).permutation(np.arange(1.0, count + 1))
    summary = Summary.of(times)
    assert (summary.low, summary.high) == (low, high)
    assert summary.median == (count + 1) / 2


@pytest.mark.parametrize("count", range(1, 6))
def test_five_times_and_fewer_have_no_interval(count):
    summary = Summary.of(np.arange(count))
    assert summary.count == count
    assert np.isnan([summary.low, summary.high]).all()
    assert not summary.unstable


@pytest.mark.parametrize("count", [6, 15, 40])
@pytest.mark.parametrize("draw", ["exponential", "standard_normal"])
def test_the_interval_covers_the_median_as_often_as_it_says(count, draw):
    median = np.log(2) if draw == "exponential" else 0.0
    samples = getattr(np.random.default_rng(20), draw)(size=(4000, count))
    summaries = [Summary.of(sample) for sample in samples]
    coverage = np.mean([s.low <= median <= s.high for s in summaries])
    # Four standard deviations; the true coverage is discrete, 0.95 or somewhat more.
    slack = 4 * np.sqrt(0.05 * 0.95 / len(samples))
    assert 0.95 - slack < coverage < 0.98 + slack


@pytest.mark.parametrize(("count", "rank"), [(1, 1), (10, 10), (100, 99), (101, 100), (1000, 990)])
def test_p99_is_the_nearest_rank(count, rank):
    assert Summary.of(np.arange(1.0, count + 1)).p99 == rank


@given(SAMPLES, st.randoms(use_true_random=False))
def test_order_does_not_matter_and_bounds_enclose_the_median(sample, random):
    summary = Summary.of(sample)
    shuffled = random.sample(sample, len(sample))
    assert repr(Summary.of(shuffled)) == repr(summary)
    assert summary.p99 in sample
    if len(sample) > 5:
        assert summary.low in sample
        assert summary.high in sample
        assert summary.low <= summary.median <= summary.high


@given(SAMPLES, st.integers(-10, 10))
def test_the_unit_does_not_matter(sample, power):
    summary, scaled = Summary.of(sample), Summary.of(np.array(sample) * 2.0**power)
    assert scaled.unstable == summary.unstable
    assert scaled.median == summary.median * 2.0**power


def test_unstable_means_wider_than_a_tenth():
    assert not Summary.of([1.0, 1.0, 1.0, 1.0, 1.0, 1.09]).unstable
    assert Summary.of([1.0, 1.0, 1.0, 1.0, 1.0, 1.11]).unstable


def test_the_empty_sample():
    assert repr(Summary.of([])) == "Summary(count=0, median=nan, low=nan, high=nan, p99=nan)"


@pytest.mark.parametrize("sample", [[1.0, np.nan], [[1.0, 2.0]], 1.0])
def test_what_is_no_sample(sample):
    with pytest.raises(ValueError, match="one-dimensional"):
        Summary.of(sample)


def test_spread_by_hand():
    spread = Spread.of([*np.arange(1.0, 20.0), 100.0])
    assert (spread.least, spread.p25, spread.p75, spread.p90) == (1, 5, 15, 18)
    assert (spread.p99, spread.most) == (100, 100)
    assert spread.outliers == 1 / 20
    times = np.array([1.0, 2.0, 3.0])
    assert Spread.of(times).variation == pytest.approx(1 / 2)
    assert np.isnan(Spread.of([1.0]).variation)
    assert np.isnan([*vars(Spread.of([])).values()]).all()


@pytest.mark.parametrize("count", [1, 2, 7, 10])
def test_medians_of_resamples_are_those_of_drawing_all(count):
    sample = np.random.default_rng(4).exponential(size=count)
    draw = np.random.default_rng(5)
    quick = resampled_medians(sample, draw, 20_000)
    plain = np.median(draw.choice(sample, (20_000, count)), axis=1)
    grid = np.quantile(sample, [0.2, 0.4, 0.5, 0.6, 0.8])
    below = [np.mean(medians[:, None] <= grid, axis=0) for medians in (quick, plain)]
    assert below[0] == pytest.approx(below[1], abs=4 * np.sqrt(2 * 0.25 / 20_000))


@pytest.mark.parametrize("sizes", [(10, 10), (9, 30), (40, 15)])
def test_the_interval_of_a_ratio_covers_it_as_often_as_it_says(sizes):
    draw = np.random.default_rng(6)
    hits = 0
    for _ in range(400):
        new, base = 2 * draw.lognormal(0, 0.3, sizes[0]), draw.lognormal(0, 0.3, sizes[1])
        ratio, low, high = ratio_of_medians(new, base)
        assert low <= ratio <= high
        hits += low <= 2 <= high
    slack = 4 * np.sqrt(0.05 * 0.95 / 400)
    assert 0.95 - slack < hits / 400 < 1


def test_ratios_without_enough_times():
    assert ratio_of_medians([2.0] * 5, [1.0] * 9)[0] == 2
    assert np.isnan(ratio_of_medians([2.0] * 5, [1.0] * 9)[1:]).all()
    assert np.isnan(ratio_of_medians([], [1.0])).all()
    assert np.isnan(ratio_of_medians([1.0], [0.0])).all()


def test_mann_and_whitney_s_exact_p():
    # 2 of the 252 ways to rank five and five are as far apart.
    assert mann_whitney([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == pytest.approx(2 / 252)
    assert mann_whitney([1.0, 1.0, 1.0], [1.0, 1.0, 1.0]) == pytest.approx(1)
    assert np.isnan(mann_whitney([], [1.0]))


def test_holm_by_hand():
    # Sorted 0.005, 0.01, 0.03, 0.04 against 0.05 / 4, / 3, / 2, / 1: the third ends it.
    assert list(holm([0.01, 0.04, 0.03, 0.005])) == [True, False, False, True]
    assert list(holm([0.02, np.nan, 0.9])) == [True, False, False]
    assert list(holm([])) == []


def test_quantiles_and_ranks_are_those_of_scipy():
    assert pytest.approx(stdtrit(statistics.BATCHES - 1, 0.975), rel=1e-14) == statistics._STUDENT
    for count in (*range(1, 60), 499, 500, 501, 4000):
        below = bdtr(np.arange(count // 2), count, 0.5) <= 0.025
        assert statistics._rank(count) == np.count_nonzero(below), count
