"""Every code: whatever is lost, as long as it says it is recoverable, comes back bit for bit."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcrefine.codes import CODES, DecodeError, make_code
from hpcrefine.codes.base import growth

SMALL = [
    ("uncoded", 4, 1),
    ("speculative", 3, 1),
    ("replication", 3, 1),
    ("replication", 3, 2),
    ("replication", 4, 2.25),
    ("mds", 1, 3),
    ("mds", 4, 1.5),
    ("mds", 5, 1.6),
    ("blockdiagonal", 5, 1.6),
    ("blockdiagonal", 9, 1.4),
    ("blockdiagonal", 9, 1.1),
    ("polynomial", 1, 2),
    ("polynomial", 4, 1.5),
    ("polynomial", 5, 1.6),
    ("polynomial", 6, 1.5),
    ("polynomial", 9, 1.4),
    ("matdot", 1, 3),
    ("matdot", 3, 1),
    ("matdot", 3, 2),
    ("matdot", 5, 1.6),
    ("matdot", 7, 1.4),
    ("lt", 1, 3),
    ("lt", 2, 2),
    ("lt", 4, 2),
    ("lt", 6, 1.5),
    ("lt", 7, 1.8),
]
LARGE = [
    ("mds", 16, 1.25),
    ("mds", 100, 1.25),
    ("blockdiagonal", 100, 1.25),
    ("blockdiagonal", 256, 1.5),
    ("polynomial", 16, 1.5),
    ("polynomial", 20, 1.25),
    ("matdot", 13, 1.25),
    ("lt", 50, 2),
]
small = pytest.mark.parametrize(("scheme", "tasks", "redundancy"), SMALL)
every = pytest.mark.parametrize(("scheme", "tasks", "redundancy"), SMALL + LARGE)


def enough(code, generator):
    """Tasks in random order until they are recoverable, and perhaps some more."""
    order = generator.permutation(code.coded).tolist()
    order += range(code.coded, 20 * code.coded) if code.rateless else []
    first = next(n for n in range(len(order) + 1) if code.recoverable(set(order[:n])))
    return order[: first + int(generator.integers(3))]


def test_every_scheme_is_tested():
    assert {scheme for scheme, _, _ in SMALL} == set(CODES)


@every
@settings(deadline=None, max_examples=8)
@given(
    seed=st.integers(0, 2**32),
    more=st.tuples(st.integers(0, 7), st.integers(0, 5), st.integers(0, 7)),
    kind=st.sampled_from(["random", "random", "extreme"]),
    dtype=st.sampled_from([np.int32, np.int64]),
)
def test_what_is_recoverable_is_recovered(
    make_job, scheme, tasks, redundancy, seed, more, kind, dtype
):
    code, generator = make_code(scheme, tasks, redundancy), np.random.default_rng(seed)
    shape = [parts + extra for parts, extra in zip(code.grid, more, strict=True)]
    job = make_job(code, shape, seed, kind, dtype)
    for _ in range(3):
        assert (job.decoded(enough(code, generator)) == job.truth).all()


@small
def test_every_smallest_recoverable_set(make_job, scheme, tasks, redundancy):
    """The threshold is the smallest number of tasks of which any set will do."""
    code = make_code(scheme, tasks, redundancy)
    job = make_job(code, [2 * parts + 1 for parts in code.grid], seed=tasks)
    for finished in combinations(range(code.coded), code.threshold):
        assert code.recoverable(set(finished))
        if sum(code.block(t) is None for t in finished) > 1:
            assert (job.decoded(finished) == job.truth).all()
    fewer = combinations(range(code.coded), code.threshold - 1)
    assert not all(code.recoverable(set(finished)) for finished in fewer)


@small
def test_what_is_not_recoverable_is_not_decoded(make_job, scheme, tasks, redundancy):
    code = make_code(scheme, tasks, redundancy)
    job = make_job(code, [parts + 1 for parts in code.grid])
    fewer = combinations(range(code.coded), code.threshold - 1)
    finished = next(f for f in fewer if not code.recoverable(set(f)))
    with pytest.raises(ValueError, match="missing"):
        job.decoded(finished)


@every
def test_results_larger_than_any_plain_one(make_large_job, scheme, tasks, redundancy):
    """Entries of 2**31, combined: all that int64 has to hold."""
    code = make_code(scheme, tasks, redundancy)
    job, last = make_large_job(code), code.coded - 1
    assert np.abs(job.truth).min() >= 2**31
    largest = growth(code.left(last)) * growth(code.right(last)) << 31
    assert np.abs(job.result(last)).max() == largest
    for seed in range(3):
        assert (job.decoded(enough(code, np.random.default_rng(seed))) == job.truth).all()
    if code.threshold == tasks:  # as many plain tasks as can be lost
        assert (job.decoded(range(last + 1 - tasks, last + 1)) == job.truth).all()


@every
def test_first_tasks_are_plain(scheme, tasks, redundancy):
    """What multiplies one block by another does so with coefficient 1, and at no extra cost."""
    code = make_code(scheme, tasks, redundancy)
    plain = code.grid.inner if scheme == "matdot" else tasks
    seen = set()
    for task in range(plain):
        (a, one), (b, too) = *code.left(task), *code.right(task)
        assert one == too == 1
        seen.add((a, b))
        if scheme != "matdot":
            assert code.block(task) == task
            assert (a // code.grid.inner, b) == divmod(task, code.grid.columns)
    assert len(seen) == plain
    assert code.recoverable(set(range(plain)))
    for task in range(plain, code.coded):
        for combination, parts in (
            (code.left(task), code.grid.rows * code.grid.inner),
            (code.right(task), code.grid.inner * code.grid.columns),
        ):
            blocks = [block for block, _ in combination]
            assert blocks == sorted(set(blocks))
            assert set(blocks) <= set(range(parts))
            assert all(coefficient != 0 for _, coefficient in combination)


@every
def test_facts(scheme, tasks, redundancy):
    facts = make_code(scheme, tasks, redundancy).facts()
    assert (facts["scheme"], facts["tasks"], facts["exact"]) == (scheme, tasks, True)
    assert facts["threshold"] <= facts["coded"]
    assert facts["cost"] >= 1
    if redundancy == 1 and scheme != "matdot":
        assert facts["cost"] == 1


@pytest.mark.parametrize(
    ("scheme", "tasks", "redundancy", "parity"),
    [
        ("mds", 4, 1.25, 4),
        ("blockdiagonal", 4, 1.25, 4),
        ("polynomial", 4, 1.25, 4),
        ("lt", 4, 3, 0),
    ],
)
def test_corrupted_padding_is_noticed(make_job, scheme, tasks, redundancy, parity):
    """Block 0 of a grid that does not divide the rows is short: its last row can only be zero."""
    code = make_code(scheme, tasks, redundancy)
    if scheme == "lt":
        parity = next(t for t in range(tasks, 99) if 0 in dict(code.left(t)))
    job = make_job(code, (9, 5, 3))
    finished = [*range(1, tasks), parity]
    assert (job.decoded(finished) == job.truth).all()
    job.corrupt(parity, (1, -1, 0), 1)
    with pytest.raises(DecodeError, match="beyond its rows or columns: a result is wrong"):
        job.decoded(finished)


@pytest.mark.parametrize(
    ("scheme", "tasks"), [("mds", 4), ("polynomial", 4), ("matdot", 3), ("lt", 4)]
)
@pytest.mark.parametrize("value", [3 * 2**40, -3 * 2**40])
def test_values_outside_the_result_type_are_noticed(make_job, scheme, tasks, value):
    code = make_code(scheme, tasks, 3)
    parity = next(t for t in range(tasks, 99) if 0 in dict(code.left(t)))
    job = make_job(code, (8, 4, 4), dtype=np.int32)
    job.corrupt(parity, (0, 0, 0), value)
    with pytest.raises(DecodeError, match="entries outside int32"):
        job.decoded([*range(1, tasks), parity])


@pytest.mark.parametrize(
    ("scheme", "tasks", "redundancy"),
    [("mds", 5, 1.6), ("mds", 16, 1.25), ("polynomial", 6, 1.5), ("matdot", 5, 1.6)],
)
def test_corruption_without_an_integer_solution_is_noticed(make_job, scheme, tasks, redundancy):
    """Adding 1 to a result is hidden only where the inverse of the system is an integer there."""
    code, noticed = make_code(scheme, tasks, redundancy), 0
    job = make_job(code, [2 * parts for parts in code.grid])
    job.corrupt(tasks, (1, 0, 1), 1)
    for missing in combinations(range(5), 2):
        used = [tasks, tasks + 1]
        finished = [t for t in range(tasks) if t not in missing] + used
        rows = np.stack([code.combination(t) for t in used])[:, list(missing)].astype(float)
        inverse = np.linalg.inv(rows)[:, 0]
        if scheme == "matdot" and not set(missing) & set(range(code.grid.inner)):
            continue  # nothing to interpolate
        if np.allclose(inverse, np.rint(inverse)):
            assert not (job.decoded(finished) == job.truth).all()
            continue
        with pytest.raises(DecodeError, match=r"left a residual of \d+, expected 0"):
            job.decoded(finished)
        noticed += 1
    assert noticed
