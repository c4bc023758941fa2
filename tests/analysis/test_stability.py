"""When timings are called unstable, and when not."""

import numpy as np
import pytest

from hpcrefine.analysis import stability
from hpcrefine.analysis.statistics import Summary

NOISE = 1 + 0.02 * np.random.default_rng(8).standard_normal(40)


def test_steady_times_are_left_alone():
    assert stability.width(Summary.of(NOISE)) == ""
    assert stability.outliers(NOISE) == ""
    assert stability.drift(NOISE) == ""
    assert stability.apart([NOISE, 1.03 * NOISE]) == ""
    assert stability.apart([NOISE]) == ""


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_a_drift_is_a_change_beyond_noise_and_beyond_five_percent(factor):
    halves = np.concatenate([NOISE[:20], factor * NOISE[20:]])
    assert stability.drift(halves) == stability.DRIFTING
    assert stability.drift(np.repeat([1.0, 1.04], 20)) == ""  # beyond noise, but small
    wild = np.tile([0.5, 2.0, 1.0, 1.5], 5)
    assert stability.drift(wild) == ""
    assert stability.drift(halves[15:25]) == ""  # five times a half


def test_few_times_and_wide_intervals_are_told_apart():
    assert stability.width(Summary.of(NOISE[:5])) == stability.FEW
    assert stability.width(Summary.of(1 + 20 * (NOISE - 1))) == stability.WIDE
    assert stability.outliers([1.0, 1.0, 1.0, 9.0]) == ""


def test_labels_stand_together_by_finding():
    labels = [(str(number), stability.WIDE) for number in range(12)]
    assert list(stability.together([("a", stability.FEW), ("b", ""), *labels, *labels])) == [
        f"{stability.FEW}: a",
        f"{stability.WIDE}: 0, 1, 2, 3, 4, 5, 6, 7 and 4 more",
    ]
