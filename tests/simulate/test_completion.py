"""The K-th completion, drawn by counting, against all times drawn and against closed forms."""

import itertools

import numpy as np
import pytest
from scipy.stats import gamma, ks_2samp, kstest

from hpcrefine.codes import make_code
from hpcrefine.simulate.completion import (
    Order,
    counting_pays,
    exponential,
    is_a_matter_of_counting,
    recovery,
)

JOBS = 20_000


def drawn_one_by_one(rng, needed, loads, rates):
    order = Order(np.repeat(np.arange(len(loads)), loads))
    times = rng.exponential(1 / np.asarray(rates)[order.workers], (JOBS, sum(loads)))
    return np.sort(order.finishing(times), axis=1)[:, needed - 1]


@pytest.mark.parametrize(
    ("loads", "rates", "needed"),
    [
        ([30, 8, 22, 20, 20], [3.0, 0.8, 2.2, 2.0, 2.0], 95),  # as they should be
        ([20] * 5, [5.0, 0.1, 1.0, 1.0, 1.0], 90),  # saturating, down to the slowest
        ([20] * 5, [5.0, 0.1, 1.0, 1.0, 1.0], 40),
        ([5, 4, 3], [1.0, 2.0, 3.0], 12),  # Omega = 1
        ([5, 4, 3], [1.0, 2.0, 3.0], 11),
        ([5, 4, 3], [1.0, 2.0, 3.0], 1),
        ([12], [2.0], 7),  # P = 1
        ([12], [2.0], 12),
        ([10, 0, 5], [1.0, 100.0, 1.0], 12),  # one has nothing to do
        ([1] * 40, [1.0] * 40, 30),
    ],
)
def test_counting_is_exact(rng, loads, rates, needed):
    fast = exponential(rng, needed, np.array(loads), np.array(rates), JOBS)
    assert fast.shape == (JOBS,)
    assert ks_2samp(fast, drawn_one_by_one(rng, needed, loads, rates)).pvalue > 1e-3


def test_one_worker_is_a_gamma_time(rng):
    fast = exponential(rng, 7, np.array([12]), np.array([2.0]), JOBS)
    assert kstest(fast, gamma(7, scale=0.5).cdf).pvalue > 1e-3


def test_order_statistics_of_exponential_times(rng):
    """With a task each, the K-th of P is a sum of exponential times of rates P, P - 1, .."""
    fast = exponential(rng, 18, np.ones(20, np.int64), np.full(20, 0.5), JOBS)
    expected = 2 * (1 / np.arange(3, 21)).sum()
    deviation = 2 * np.sqrt((1 / np.arange(3, 21) ** 2).sum())
    assert fast.mean() == pytest.approx(expected, abs=4 * deviation / np.sqrt(JOBS))
    assert fast.std() == pytest.approx(deviation, rel=0.05)


def test_the_cost_does_not_grow_with_the_number_of_tasks(rng):
    many = 10**9
    loads = np.array([many, many])
    fast = exponential(rng, many, loads, np.array([1.0, 3.0]), 100)
    assert fast.mean() == pytest.approx(many / 4, rel=1e-4)


def test_counting_does_not_pay_for_few_tasks():
    assert not counting_pays(np.ones(1000, np.int64), 900)
    assert counting_pays(np.full(5, 220), 1000)
    assert counting_pays(np.ones(1000, np.int64), 1000)


def test_order():
    order = Order([2, 0, 2, 0, 3])
    assert order.tasks.tolist() == [1, 3, 0, 2, 4]
    assert order.workers.tolist() == [0, 0, 2, 2, 3]
    assert (order.busy.tolist(), order.loads.tolist()) == ([0, 2, 3], [2, 2, 1])
    assert order.finishing(np.array([1.0, 2, 3, 4, 5])).tolist() == [1, 3, 3, 7, 5]


@pytest.mark.parametrize(
    ("scheme", "tasks", "counts"),
    [
        *[("uncoded", 6, 1), ("mds", 6, 1), ("polynomial", 6, 1)],
        *[("matdot", 5, 0), ("replication", 6, 0), ("blockdiagonal", 16, 0), ("lt", 6, 0)],
    ],
)
def test_recovery_is_the_shortest_prefix(scheme, tasks, counts, rng):
    code = make_code(scheme, tasks, 1.0 if scheme == "uncoded" else 1.5)
    assert is_a_matter_of_counting(code) == counts
    for _ in range(20):
        done = rng.exponential(size=code.coded)
        when, results = recovery(code, np.arange(code.coded), done)
        coming = np.argsort(done).tolist()
        prefixes = itertools.accumulate([task] for task in coming)
        first = next(n for n, p in enumerate(prefixes, start=1) if code.recoverable(set(p)))
        assert (when, results) == (np.sort(done)[first - 1], first)
