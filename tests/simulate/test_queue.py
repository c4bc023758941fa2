"""Starts, ends and layers released, by the rules of the sources on hand-made streams."""

import math

import numpy as np
import pytest

from hpcrefine.schedule.terms import Terms
from hpcrefine.simulate.queue import release, serve


def served(arrivals, ready, **rules):
    overhead = rules.pop("overhead", 0.0)
    found = serve(Terms(np.array(arrivals, float), **rules), np.array(ready, float), overhead)
    return found.start.tolist(), found.end.tolist(), found.released.tolist()


def test_jobs_wait_for_the_one_before():
    start, end, released = served([0, 1, 10], [[2, 4], [1, 3], [1, 2]])
    assert start == [0, 4, 10]
    assert end == [4, 7, 12]
    assert released == [[True, True]] * 3
    assert served([0, 1], [[4], [3]], overhead=0.5)[0] == [0, 4.5]


def test_a_job_that_outlives_its_deadline_ends_once_the_next_one_waits():
    start, end, released = served([0, 1, 2], [[2, 4], [2, 4], [2, 4]], deadline=3)
    assert start == [0, 1, 2]  # each at its own arrival, though the one before took longer
    assert released == [[True, False], [True, False], [True, True]]  # nobody waits for the last
    assert end == [4, 5, 6]


def test_the_deadline_does_not_count_while_nobody_waits():
    start, end, released = served([0, 4, 9], [[2, 4], [2, 4], [2, 4]], deadline=3)
    assert (start, end) == ([0, 4, 9], [4, 8, 13])
    assert released == [[True, True]] * 3


def test_a_layer_in_time_is_released_whoever_waits():
    start, _, released = served([0, 0.5, 1], [[2, 3], [2, 5], [1, 1]], deadline=3)
    assert start == [0, 3, 3 - 2]  # the second one ends late: the third starts when it arrived
    assert released == [[True, True], [True, False], [True, True]]


def test_a_layer_that_comes_before_the_next_arrival_is_released():
    _, end, released = served([0, 5], [[2, 4, 6, 8], [1, 1, 1, 1]], deadline=3)
    assert released[0] == [True, True, False, False]
    assert end[0] == 6


def test_strict():
    start, end, released = served([0, 1, 9], [[2, 4], [2, 4], [2, 4]], deadline=3, policy="strict")
    assert start == [0, 3, 9]
    assert end == [3, 4, 12]
    assert released == [[True, False], [False, False], [True, False]]
    start, end, released = served([0, 0], [[2, 4], [2, 4]], deadline=3, policy="strict")
    assert (start[1], end[1], released[1]) == (3, 3, [False, False])


@pytest.mark.parametrize("deadline", [None, 0.8, 2.0])
def test_against_the_rule_word_by_word(deadline, rng):
    arrivals = np.cumsum(rng.exponential(size=500))
    ready = np.cumsum(rng.exponential(0.3, (500, 3)), axis=1)
    start = arrivals[0]
    found = serve(Terms(arrivals, deadline), ready)
    for job in range(500):
        assert found.start[job] == pytest.approx(start)
        following = arrivals[job + 1] if job < 499 else math.inf
        failed = False
        for layer in range(3):
            now = start + ready[job, layer]
            if deadline is not None and following < now and ready[job, layer] > deadline:
                failed = True
            assert found.released[job, layer] != failed
        start = following if failed else max(start + ready[job, -1], following)


def test_layers_are_released_one_after_the_other():
    recovered = np.array([[1.0, 5.0, 3.0, 4.0], [1.0, 2.0, 3.0, math.inf]])
    firsts = np.array([0, 1, 3])
    assert release(recovered, firsts, 0.0).tolist() == [[1, 5, 5], [1, 3, math.inf]]
    assert release(recovered, firsts, 0.5)[0].tolist() == [1.5, 5.5, 6.0]
