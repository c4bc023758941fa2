"""What is handed out again: enough, not too much, and to whom it helps."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcrefine.codes import make_code
from hpcrefine.schedule.reissue import repairs, to_copy

CODES = [
    ("uncoded", 9, 1.0),
    ("speculative", 9, 1.0),
    ("replication", 6, 2.0),
    ("mds", 6, 1.5),
    ("blockdiagonal", 12, 1.5),
    ("polynomial", 6, 1.5),
    ("matdot", 5, 1.6),
    ("lt", 9, 1.4),
]


@pytest.mark.parametrize("scheme", CODES, ids=lambda scheme: scheme[0])
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_repairs_make_a_unit_recoverable(scheme, data):
    code = make_code(*scheme)
    tasks = st.sets(st.integers(0, code.coded - 1))
    finished, outstanding = data.draw(tasks), data.draw(tasks)
    again = repairs(code, finished, outstanding)
    there = finished | outstanding
    assert not there & set(again)
    assert code.recoverable(there | set(again))
    assert bool(again) == (not code.recoverable(there))
    if again:  # none too many
        assert not code.recoverable(there | set(again[:-1]))


def test_plain_tasks_are_repaired_first():
    code = make_code("mds", 4, 2.0)
    assert repairs(code, {0, 5}, set()) == [1, 2]
    assert repairs(code, {0}, {5, 6, 7}) == []


def test_copies_are_made_of_the_least_tried_and_last():
    assert to_copy([3, 4, 5], {3: 1, 4: 1, 5: 1}, set()) == 5
    assert to_copy([3, 4, 5], {3: 1, 4: 1, 5: 2}, set()) == 4
    assert to_copy([3, 4, 5], {3: 1, 4: 1, 5: 1}, {4, 5}) == 3
    assert to_copy([3], {3: 1}, {3}) is None
    assert to_copy([], {}, set()) is None
