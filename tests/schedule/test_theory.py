"""The lower bounds, against the reference values and an independent formula."""

import math

import pytest

from hpcrefine.schedule.theory import delay_bound, utilisation

SPEED = 628.29 + 153.15 + 508.13 + 443.17 + 467.26


def test_reference_values():
    """Of the authors' published scripts: layers 0, 1, 2 of m = 2."""
    for share, bound in ((0.25, 9.0241), (0.75, 20.3877), (1.0, 26.0695)):
        assert delay_bound(0.01, 50_000, SPEED, share * 50_000) == pytest.approx(bound, abs=1e-4)
    assert delay_bound(0.01, 50_000, SPEED) == pytest.approx(26.0695, abs=1e-4)


def test_pollaczek_khinchine():
    """E[W] = lambda E[S^2] / (2 (1 - rho)): with rho = 1/2 a job waits half its service time."""
    assert utilisation(0.5, 10, 10) == 0.5
    assert delay_bound(0.5, 10, 10) == 1.5
    assert delay_bound(1e-12, 10, 5) == pytest.approx(2)


def test_a_queue_that_grows_has_no_bound():
    assert delay_bound(1, 10, 10) == math.inf
    assert delay_bound(2, 10, 10, 1) == math.inf
