"""Rules of adaptive resolution: who is decided, and what calibrated thresholds promise."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from hpcrefine.errors import InputError
from hpcrefine.inference.network import decisions
from hpcrefine.inference.rules import (
    Rule,
    allowed_differences,
    calibrated,
    fixed_margin,
    gray_interval,
    margins,
    smallest_split,
    undecided,
)


def column(*scores):
    return np.array(scores, np.float32)[:, None]


def logit(*shares):
    return column(*(math.log(p / (1 - p)) for p in shares))


def test_margins():
    scores = np.array([[0.25, 2.0, 1.5], [3.0, 3.0, -1.0], [-4.0, -1.0, -2.0]], np.float32)
    assert margins(scores).tolist() == [0.5, 0.0, 1.0]
    assert margins(column(-2.5, 0.0, 1.5)).tolist() == [2.5, 0.0, 1.5]
    assert margins(scores).dtype == np.float64


def test_a_margin_is_exceeded_before_the_last_upgrade():
    rule = fixed_margin(0.5, upgrades=3)
    scores = np.array([[1.0, 0.5], [1.0, 0.25], [0.0, 9.0]], np.float32)
    for upgrade in (0, 1):
        assert rule.decided(scores, upgrade).tolist() == [False, True, True]
    assert rule.decided(scores, 2).all()
    assert rule.decided(column(0.5, -0.5, 0.75, -0.75), 0).tolist() == [False, False, True, True]


def test_the_published_gray_zone():
    rule = gray_interval(0.3, 0.6, upgrades=2)
    scores = logit(0.1, 0.29, 0.31, 0.5, 0.59, 0.61, 0.99)
    assert rule.decided(scores, 0).tolist() == [True, True, False, False, False, True, True]
    assert rule.decided(scores, 1).all()


def test_the_ends_of_the_gray_zone_are_gray():
    assert gray_interval(0.5, 0.5, 2).decided(column(0.0, 1e-3, -1e-3), 0).tolist() == [0, 1, 1]
    assert not gray_interval(0.0, 1.0, 2).decided(column(-1e3, 1e3), 0).any()


def test_without_a_rule_nothing_is_decided_early():
    scores = column(-1e30, 0.0, 1e30)
    assert [undecided(3).decided(scores, u).tolist() for u in range(3)] == [[0] * 3] * 2 + [[1] * 3]


def test_thresholds_may_differ_by_upgrade():
    rule = Rule("margin", (2.0, 1.0, math.inf, 0.0))
    scores = column(0.0, 1.5, 3.0)
    assert [rule.decided(scores, u).tolist() for u in range(4)] == [
        *([0, 0, 1], [0, 1, 1], [0, 0, 0], [1, 1, 1])
    ]


@given(
    st.sampled_from(["margin", "interval", "none"]),
    st.lists(st.floats(allow_nan=False), max_size=5).map(tuple),
    st.lists(st.floats(0, 1), max_size=5).map(tuple),
)
def test_the_text_holds_all(kind, low, high):
    rule = Rule(kind, low, high)
    assert Rule.from_text(rule.to_text()) == rule


def test_mistakes():
    with pytest.raises(InputError, match="margin: found -1, expected a number >= 0"):
        fixed_margin(-1, 2)
    with pytest.raises(InputError, match="margin: found nan"):
        fixed_margin(math.nan, 2)
    for low, high in ((0.6, 0.3), (-0.1, 0.5), (0.5, 1.5)):
        with pytest.raises(InputError, match=r"interval: found .* expected 0 <= low <= high <= 1"):
            gray_interval(low, high, 2)
    scores = [np.zeros((1000, 2))] * 2
    with pytest.raises(InputError, match="epsilon: found 0, expected a number between 0 and 1"):
        calibrated(scores, 0)
    with pytest.raises(InputError, match="confidence: found 1, expected"):
        calibrated(scores, 0.1, 1)


def test_an_interval_is_for_single_scores():
    rule = gray_interval(0.3, 0.6, 2)
    rule.check(1)
    fixed_margin(0.1, 2).check(10)
    with pytest.raises(InputError, match="rule interval: found a network of 10 scores"):
        rule.check(10)
    with pytest.raises(InputError, match="rule interval: found a network of 2 scores"):
        rule.decided(np.zeros((3, 2), np.float32), 0)


def test_the_threshold_lies_at_the_difference_that_is_too_many():
    # Of 1000 samples 4 may differ for 1 %: the bound of 4 is 0.0091, of 5 is 0.0105.
    assert allowed_differences(1000, 0.01, 0.95, early=1) == 4
    final = np.ones(1000)
    early = np.full(1000, 5.0)
    early[:10] = -np.arange(1, 11)  # ten differ, with margins 1 .. 10
    rule = calibrated([early[:, None], final[:, None]], 0.01)
    assert rule == Rule("margin", (6.0, 0.0))
    assert rule.decided(column(-6.0, -7.0, 6.5), 0).tolist() == [False, True, True]
    several = [np.stack([np.zeros(1000), scores], axis=1) for scores in (early, final)]
    assert calibrated(several, 0.01) == rule


def test_equal_margins_are_not_told_apart():
    early = np.full(1000, 5.0)
    early[:10] = -3.0
    assert calibrated([early[:, None], np.ones((1000, 1))], 0.01).low == (3.0, 0.0)


def test_where_nothing_differs_everything_is_decided():
    scores = np.random.default_rng(1).normal(size=(500, 3))
    rule = calibrated([scores, scores, scores], 0.02)
    assert rule.low == (0.0, 0.0, 0.0)
    assert rule.decided(scores, 0).all()


def test_a_network_of_one_upgrade_has_nothing_to_calibrate():
    rule = calibrated([np.zeros((1, 2))], 0.01)
    assert rule.low == (0.0,)
    assert rule.decided(np.zeros((3, 2), np.float32), 0).all()


@pytest.mark.parametrize(("early", "least"), [(1, 299), (2, 736), (3, 1227)])
def test_too_small_a_split(early, least):
    assert smallest_split(0.01, 0.95, early) == least
    calibrated([np.ones((least, 1))] * (early + 1), 0.01)
    with pytest.raises(
        InputError,
        match=f"calibration split: found {least - 1} samples, expected at least {least} for "
        f"epsilon = 0.01 with 95 % confidence over {early} early upgrades",
    ):
        calibrated([np.ones((least - 1, 1))] * (early + 1), 0.01)


@given(st.floats(0.001, 0.5), st.floats(0.5, 0.999), st.integers(1, 6))
def test_the_smallest_split_is_where_no_difference_is_allowed(epsilon, confidence, early):
    least = smallest_split(epsilon, confidence, early)
    # One sample more or less, where rounding decides.
    assert allowed_differences(least + 1, epsilon, confidence, early) >= 0
    assert least < 3 or allowed_differences(least - 2, epsilon, confidence, early) == -1


def early_differences(rule, scores):
    """Return which samples leave early with another decision than the final one."""
    final = decisions(scores[-1])
    waiting, differing = np.ones(len(final), bool), np.zeros(len(final), bool)
    for upgrade, found in enumerate(scores[:-1]):
        leaving = waiting & rule.decided(found, upgrade)
        differing |= leaving & (decisions(found) != final)
        waiting &= ~leaving
    return differing


def population(rng, samples, classes, noise):
    """Scores that come nearer to the final ones with each upgrade."""
    final = rng.normal(size=(samples, classes))
    return [final + scale * rng.normal(size=final.shape) for scale in noise] + [final]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 2, 5]),
    st.lists(st.floats(0, 2), min_size=1, max_size=3),
    st.floats(0.05, 0.4),
    st.integers(100, 600),
)
def test_differences_in_the_split_respect_the_bound(seed, classes, noise, epsilon, samples):
    early = len(noise)
    scores = population(np.random.default_rng(seed), samples, classes, noise)
    if samples < smallest_split(epsilon, 0.95, early):
        return
    rule = calibrated(scores, epsilon)
    assert early_differences(rule, scores).sum() <= early * allowed_differences(
        samples, epsilon, 0.95, early
    )
    final = decisions(scores[-1])
    for upgrade, found in enumerate(scores[:-1]):
        differ = decisions(found) != final

        def bound(threshold, found=found, differ=differ):
            count = int(np.sum(differ & (margins(found) > threshold)))
            return beta.ppf(1 - 0.05 / early, count + 1, samples - count)

        threshold = rule.low[upgrade]
        assert bound(threshold) <= epsilon / early + 1e-12
        # It is the smallest one.
        assert threshold == 0 or bound(np.nextafter(threshold, -1)) > epsilon / early


@pytest.mark.parametrize("classes", [1, 4])
def test_the_promise_is_kept_on_fresh_samples(classes):
    rng = np.random.default_rng(20250)
    everyone = population(rng, 20_000, classes, (0.6, 0.2))
    epsilon, draws, broken, risks = 0.06, 200, 0, []
    for _ in range(draws):
        split = rng.integers(0, 20_000, 500)
        rule = calibrated([scores[split] for scores in everyone], epsilon)
        # Splits are drawn from all of them with replacement: this is the true share.
        risks.append(early_differences(rule, everyone).mean())
        broken += risks[-1] > epsilon
    assert broken <= 0.05 * draws + 3 * math.sqrt(draws * 0.05 * 0.95)
    assert 0.3 * epsilon < np.mean(risks) < epsilon  # not by deciding nothing


def test_workers_need_no_scipy():
    code = (
        "import sys; from hpcrefine.inference.rules import fixed_margin; import numpy as np;"
        "fixed_margin(0.1, 2).decided(np.zeros((1, 2)), 0); assert 'scipy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
