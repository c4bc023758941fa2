"""What is particular to each scheme: grids, groups, points, degrees, thresholds."""

import re
from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from hpcrefine.codes import make_code
from hpcrefine.codes.base import growth
from hpcrefine.codes.lt import LubyTransform, robust_soliton
from hpcrefine.codes.polynomial import positive_points
from hpcrefine.errors import InputError


def test_replication_deals_blocks_out_in_turn():
    code = make_code("replication", 4, 2.5)
    assert [code.block(t) for t in range(10)] == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert [code.group(t) for t in range(10)] == [code.block(t) for t in range(10)]
    assert code.threshold == 9  # both copies of block 2 may be lost, or all but one block's
    assert code.cost == 2.5
    assert code.recoverable({8, 5, 2, 7})
    assert not code.recoverable({0, 4, 8, 1, 5, 9, 2, 6})


def test_speculative_is_uncoded_with_copies():
    assert make_code("speculative", 5).reissues
    assert not make_code("uncoded", 5).reissues


def test_uncoded_needs_every_task():
    code = make_code("uncoded", 3)
    assert code.recoverable({0, 1, 2})
    assert not code.recoverable({0, 2})


@pytest.mark.parametrize("scheme", ["mds", "polynomial", "lt"])
def test_tasks_of_their_own_belong_anywhere(scheme):
    code = make_code(scheme, 4, 2)
    assert [code.group(t) for t in range(8)] == list(range(8))


def test_mds_adds_all_blocks_of_rows():
    code = make_code("mds", 6, 1.5)
    assert code.grid == (6, 1, 1)
    for task in range(6, 9):
        assert dict(code.left(task)) == dict(enumerate(code.combination(task).tolist()))
        assert code.right(task) == ((0, 1),)


@pytest.mark.parametrize(
    ("tasks", "redundancy", "sizes", "parities"),
    [
        (5, 1.6, [5], [3]),
        (8, 1.25, [8], [2]),
        (9, 1.4, [4, 5], [2, 2]),
        (20, 1.2, [6, 7, 7], [2, 1, 1]),
        (256, 1.25, [8] * 32, [2] * 32),
        (250, 1.0, [7] * 6 + [8] * 26, [0] * 32),
    ],
)
def test_groups_are_even(tasks, redundancy, sizes, parities):
    code = make_code("blockdiagonal", tasks, redundancy)
    found = Counter(code.group(t) for t in range(tasks))
    assert sorted(found.values()) == sizes
    assert [part.tasks for part in code.parts] == [found[g] for g in range(len(code.parts))]
    extra = Counter(code.group(t) for t in range(tasks, code.coded))
    assert [extra[g] for g in range(len(found))] == parities
    assert [part.coded - part.tasks for part in code.parts] == parities
    assert code.threshold == code.coded - min(parities)
    for task in range(tasks, code.coded):
        blocks = [b for b, _ in code.left(task)]
        assert blocks == [b for b in range(tasks) if code.group(b) == code.group(task)]


@pytest.mark.parametrize(
    ("tasks", "grid"),
    [(1, (1, 1, 1)), (4, (2, 1, 2)), (6, (3, 1, 2)), (7, (7, 1, 1)), (12, (4, 1, 3))],
)
def test_polynomial_grid_is_as_square_as_can_be(tasks, grid):
    assert make_code("polynomial", tasks, 1.25).grid == grid


def test_polynomial_encodes_both_operands_at_a_point():
    code = make_code("polynomial", 6, 1.5)  # points 1, 2, 1/2; p = 3, q = 2
    assert [code.left(t) for t in (6, 7, 8)] == [
        ((0, 1), (1, 1), (2, 1)),
        ((0, 1), (1, 2), (2, 4)),
        ((0, 4), (1, 2), (2, 1)),
    ]
    assert [code.right(t) for t in (7, 8)] == [((0, 1), (1, 8)), ((0, 8), (1, 1))]
    assert code.combination(7).tolist() == [1, 8, 2, 16, 4, 32]
    assert (code.left(4), code.right(4)) == (((2, 1),), ((0, 1),))


def test_points_are_distinct_and_small():
    points = positive_points(30)
    assert points[:7] == [(1, 1), (2, 1), (1, 2), (3, 1), (1, 3), (3, 2), (2, 3)]
    assert len({a / b for a, b in points}) == 30
    assert positive_points(0) == []


def test_matdot_adds_up_parts_of_the_inner_dimension():
    code = make_code("matdot", 5, 1.6)  # nodes 0, 1, 2, then -1, 3, -2, 4, -3
    assert code.grid == (1, 3, 1)
    assert code.outputs == 1
    assert [code.block(t) for t in range(8)] == [None] * 8
    assert code.left(1) == code.right(1) == ((1, 1),)
    assert code.left(3) == code.right(3) == ((0, 3), (1, -3), (2, 1))
    assert code.left(4) == ((0, 1), (1, -3), (2, 3))
    assert code.recoverable({0, 1, 2})
    assert not code.recoverable({0, 1, 3, 4})
    assert code.recoverable({0, 3, 4, 5, 6})
    assert make_code("matdot", 1, 2).block(1) == 0


@pytest.mark.parametrize(("tasks", "odd"), [(2, "1 or 3"), (8, "7 or 9")])
def test_matdot_refuses_even_numbers(tasks, odd):
    with pytest.raises(InputError, match=rf"tasks: found {tasks} for the scheme matdot.*: {odd}$"):
        make_code("matdot", tasks, 1.5)


@pytest.mark.parametrize(
    ("scheme", "redundancy", "last", "refused"),
    [
        ("polynomial", 1.25, 20, 21),
        ("polynomial", 1.5, 16, 17),
        ("polynomial", 2, 14, 15),
        ("matdot", 1.25, 13, 15),
        ("matdot", 1.5, 11, 13),
        ("matdot", 2, 11, 13),
    ],
)
def test_results_beyond_int64_are_refused(scheme, redundancy, last, refused):
    code = make_code(scheme, last, redundancy)
    assert all(growth(code.left(t)) * growth(code.right(t)) <= 2**31 for t in range(code.coded))
    for tasks in (refused, 999):
        words = rf"found {tasks} tasks coded into \d+ for the scheme {scheme}, .* would not fit"
        with pytest.raises(InputError, match=words):
            make_code(scheme, tasks, redundancy)


def test_lt_tasks_are_drawn_from_number_and_k_alone():
    code, again = LubyTransform(30, 1.5), LubyTransform(30, 4.0)
    backwards = [again.left(t) for t in range(400, 29, -1)][::-1]
    assert [code.left(t) for t in range(30, 401)] == backwards
    assert [LubyTransform(31).left(t) for t in range(31, 60)] != backwards[1:30]
    assert len(set(backwards)) > 350
    assert {c for combination in backwards for _, c in combination} == {1, -1}
    assert LubyTransform(30).left(10**9) == LubyTransform(30).left(10**9)
    assert LubyTransform(5).left(5) == ((0, -1), (1, -1))  # no release may draw others


def test_lt_degrees_follow_the_robust_soliton_distribution():
    code, count = LubyTransform(20), 20000
    drawn = Counter(len(code.left(t)) for t in range(20, 20 + count))
    shares = np.diff(robust_soliton(20), prepend=0)
    assert min(drawn) == 2
    for degree, share in enumerate(shares, start=2):
        assert drawn[degree] / count == pytest.approx(share, abs=5 * (share / count) ** 0.5 + 1e-9)


@pytest.mark.parametrize("tasks", [1, 2, 3, 10, 300])
def test_robust_soliton_is_a_distribution(tasks):
    cumulated = robust_soliton(tasks)
    assert len(cumulated) == max(1, tasks - 1)
    assert cumulated[-1] == pytest.approx(1)
    assert (np.diff(cumulated, prepend=0) > 0).all()


@pytest.mark.parametrize("tasks", [3, 5, 7])
@pytest.mark.parametrize("redundancy", [1.0, 1.5, 2.2])
def test_lt_threshold_is_exact_for_few_tasks(tasks, redundancy):
    code = LubyTransform(tasks, redundancy)
    good = [
        all(code.recoverable(set(s)) for s in combinations(range(code.coded), count))
        for count in range(code.coded + 1)
    ]
    assert code.threshold == good.index(True)


def test_lt_threshold_is_an_upper_bound_for_many():
    code = LubyTransform(400, 2.0)
    lost = code.coded - code.threshold
    assert lost >= 1
    generator = np.random.default_rng(1)
    for _ in range(50):
        assert code.recoverable(set(generator.permutation(code.coded)[lost:].tolist()))


def test_lt_goes_on_until_it_is_enough():
    """Half the blocks are lost; peeling succeeds after some more tasks than that."""
    code, finished = LubyTransform(100, 1.0), set(range(50))
    more = 0
    while not code.recoverable(finished):
        finished.add(100 + more)
        more += 1
    assert 50 <= more < 150


def test_lt_says_what_is_missing(make_job):
    job = make_job(LubyTransform(4), (4, 2, 2))
    with pytest.raises(ValueError, match=re.escape("peeling stops with 2 blocks missing")):
        job.decoded([0, 1])
