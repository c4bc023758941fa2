"""The worst systems: conditioned well enough for refinement, and decoded with the largest data."""

import numpy as np
import pytest

from hpcrefine.codes import make_code
from hpcrefine.codes.conditioning import decoding_systems, worst_condition
from hpcrefine.codes.linear import System


@pytest.mark.parametrize(
    ("scheme", "tasks", "redundancy", "bound"),
    [
        ("mds", 8, 1.5, 1e3),  # a group of the block-diagonal code
        ("mds", 16, 1.25, 1e4),
        ("mds", 16, 1.5, 1e7),
        ("polynomial", 16, 1.25, 1e6),
        ("polynomial", 16, 1.5, 1e8),
        ("matdot", 13, 1.25, 1e6),
        ("matdot", 11, 1.5, 1e7),
    ],
)
def test_worst_recoverable_subset(scheme, tasks, redundancy, bound, record_property):
    code = make_code(scheme, tasks, redundancy)
    conditions = {}
    for missing, used in decoding_systems(code, code.coded - tasks):
        matrix = np.stack([code.combination(t) for t in used])[:, list(missing)]
        conditions[System(matrix).condition] = matrix
    worst = max(conditions)
    record_property("worst_condition", worst)
    assert 10 < worst < bound
    matrix = conditions[worst]
    for signs in (np.sign(matrix), np.random.default_rng(0).choice([-1, 1], matrix.shape)):
        wanted = signs.T * 2**31  # column i makes right-hand side i as large as any can be
        assert (System(matrix).solve(matrix @ wanted) == wanted).all()


def test_small_worst_cases_by_hand():
    """Two parities (1, 1, ..) and (a, b, ..): the worst pair of columns, scaled."""
    code = make_code("mds", 5, 1.4)
    pairs = [(i, j) for i in range(5) for j in range(i)]
    expected = 0.0
    for pair in pairs:
        rows = code.generator[:, pair].astype(float)
        rows /= np.abs(rows).max(axis=1, keepdims=True)
        expected = max(expected, np.linalg.cond(rows))
    assert worst_condition(code, 2) == pytest.approx(expected)
    assert worst_condition(code, 1) == 1.0
    assert worst_condition(code, 0) == 1.0


@pytest.mark.parametrize(
    ("scheme", "tasks", "redundancy"),
    [("uncoded", 9, 1), ("replication", 9, 2), ("lt", 9, 2), ("speculative", 9, 1)],
)
def test_codes_without_systems(scheme, tasks, redundancy):
    code = make_code(scheme, tasks, redundancy)
    assert worst_condition(code, code.coded - tasks) == 1.0


@pytest.mark.parametrize("tasks", [16, 64, 250, 256])
@pytest.mark.parametrize(("redundancy", "bound"), [(1.25, 100), (1.5, 1e3)])
def test_groups_stay_well_conditioned_however_many_blocks(tasks, redundancy, bound):
    code = make_code("blockdiagonal", tasks, redundancy)
    assert 1 < worst_condition(code, code.coded - tasks) < bound
    assert worst_condition(code, 1) == 1.0


def test_samples_are_seeded():
    code = make_code("polynomial", 12, 1.75)
    assert worst_condition(code, 8) == worst_condition(code, 8)
