"""The load split: all workers finish alike, and no other whole numbers do better."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpcrefine.schedule.loads import Moments, optimal, real_loads

RATES = np.array([628.29, 153.15, 508.13, 443.17, 467.26])
POSITIVE = st.floats(1e-3, 1e3)
WORKERS = st.lists(
    st.tuples(POSITIVE, st.floats(0, 1e3), st.floats(0, 1e2)), min_size=1, max_size=6
)


@settings(deadline=None)
@given(WORKERS, st.integers(1, 500), st.sampled_from([0.0, 1e-3, 1.0, 30.0]))
@example([(1.0, 382.0, 0.0), (0.00390625, 0.0, 0.0)], 1, 30.0)  # a load of 1e-9
def test_real_loads_finish_alike(workers, tasks, gamma):
    moments = Moments.of(*np.array(workers).T)
    loads = real_loads(tasks, moments, gamma)
    assert loads.sum() == pytest.approx(tasks)
    assert np.all(loads >= 0)
    values = moments.finishing(loads, gamma)
    used = loads > 0
    theta = values[used].max()
    assert values[used] == pytest.approx(np.full(used.sum(), theta), rel=1e-6)
    assert np.all(moments.finishing(0.0, gamma)[~used] >= theta * (1 - 1e-6))


@settings(deadline=None)
@given(WORKERS.filter(lambda w: len(w) <= 3), st.integers(1, 9), st.sampled_from([0.0, 1.0]))
def test_no_other_whole_loads_are_better(workers, tasks, gamma):
    moments = Moments.of(*np.array(workers).T)

    def worst(loads):
        values = moments.finishing(loads, gamma)
        return max(value for value, load in zip(values, loads, strict=True) if load)

    found = optimal(tasks, moments, gamma)
    assert sum(found) == tasks
    every = itertools.product(range(tasks + 1), repeat=len(workers))
    best = min(worst(loads) for loads in every if sum(loads) == tasks)
    assert worst(found) <= best * (1 + 1e-9)


def test_loads_follow_the_rates():
    """Z = 50,000, K = 1000, m = 2, gamma = 1, exponential times: the published setting."""
    means = 12.5 / RATES
    loads = optimal(1050, Moments.of(means, means), 1.0)
    assert sum(loads) == 1050
    assert loads == pytest.approx(1050 * RATES / RATES.sum(), abs=1.5)


def test_a_worker_that_would_be_too_late_gets_nothing():
    assert optimal(10, Moments.of([1.0, 1.0], 0.0, [0.0, 100.0]), 0.0) == (10, 0)


def test_variance_costs_load():
    steady, wild = optimal(100, Moments.of([1.0, 1.0], [0.0, 10.0]), 1.0)
    assert steady > wild
    assert optimal(100, Moments.of([1.0, 1.0], [0.0, 10.0]), 0.0) == (50, 50)


def test_many_workers_and_tasks():
    means = np.linspace(1, 2, 10_000)
    loads = np.array(optimal(200_000, Moments.of(means, means), 0.5))
    assert loads.sum() == 200_000
    assert np.all(np.diff(loads) <= 0)
