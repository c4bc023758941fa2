"""The protocol: schemes by name, numbers out of range, and what no redundancy means."""

import numpy as np
import pytest

from hpcrefine.codes import CODES, make_code
from hpcrefine.errors import InputError

schemes = pytest.mark.parametrize("scheme", ["uncoded", "mds"])


@schemes
def test_codes_are_made_by_name(scheme):
    code = make_code(scheme, 6)
    assert (code.name, code.tasks, code.coded, code.exact) == (scheme, 6, 6, True)
    assert code.min_workers == 1
    assert set(CODES) == {"uncoded", "mds"}


def test_unknown_scheme_is_refused():
    with pytest.raises(InputError, match=r"^\[code\] scheme: found 'raid', expected one of "):
        make_code("raid", 4)


@schemes
@pytest.mark.parametrize("tasks", [0, -3])
def test_tasks_below_one_are_refused(scheme, tasks):
    with pytest.raises(InputError, match=rf"^\[code\] tasks: found {tasks}, expected K of 1"):
        make_code(scheme, tasks)


@schemes
@pytest.mark.parametrize("redundancy", [0.99, 0.0, -2.0, np.nan, -np.inf, np.inf])
def test_redundancy_out_of_range_is_refused(scheme, redundancy):
    with pytest.raises(InputError, match=rf"^\[code\] redundancy: found {redundancy}"):
        make_code(scheme, 4, redundancy)


def test_uncoded_refuses_redundancy():
    with pytest.raises(InputError, match=r"found 1\.2 for the scheme uncoded.*or the scheme mds"):
        make_code("uncoded", 5, 1.2)
    assert make_code("uncoded", 5, 1 + 2e-16).coded == 5


def test_uncoded_needs_every_task_and_has_nothing_to_decode():
    code = make_code("uncoded", 3)
    for task in range(3):
        assert (code.block(task), code.limbs(task), code.peak(task, 64)) == (task, 1, 64)
    assert code.recoverable({0, 1, 2})
    assert not code.recoverable({0, 2})
    blocks = [np.full((1, 2, 2), b, np.int32) for b in range(3)]
    code.decode(blocks, [], {})
    assert [int(block.max()) for block in blocks] == [0, 1, 2]
    with pytest.raises(ValueError, match=r"blocks \[1\] are missing"):
        code.decode(blocks, [1], {})
    with pytest.raises(ValueError, match="sent as they are"):
        code.encode(np.zeros((3, 2), np.int8), 0)
