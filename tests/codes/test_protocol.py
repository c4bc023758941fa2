"""The protocol: schemes by name, numbers out of range, and what no redundancy means."""

import numpy as np
import pytest

from hpcrefine.codes import CODES, make_code
from hpcrefine.errors import InputError

schemes = pytest.mark.parametrize("scheme", CODES)


@schemes
def test_codes_are_made_by_name(scheme):
    code = make_code(scheme, 7)
    assert (code.name, code.tasks, code.coded, code.exact) == (scheme, 7, 7, True)


def test_schemes():
    assert list(CODES) == [
        "uncoded",
        "speculative",
        "replication",
        "mds",
        "blockdiagonal",
        "polynomial",
        "matdot",
        "lt",
    ]
    assert [name for name, code in CODES.items() if code.reissues] == ["speculative"]
    assert [name for name, code in CODES.items() if code.rateless] == ["lt"]


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
        make_code(scheme, 5, redundancy)


@pytest.mark.parametrize("scheme", ["uncoded", "speculative"])
def test_uncoded_refuses_redundancy(scheme):
    words = rf"found 1\.2 for the scheme {scheme}, expected 1 .*or the scheme mds"
    with pytest.raises(InputError, match=words):
        make_code(scheme, 5, 1.2)
    assert make_code(scheme, 5, 1 + 2e-16).coded == 5


@pytest.mark.parametrize("scheme", ["uncoded", "speculative", "replication"])
def test_nothing_to_decode(scheme):
    code = make_code(scheme, 3)
    blocks = [np.full((1, 2, 2), b, np.int32) for b in range(3)]
    code.decode(blocks, [], {})
    assert [int(block.max()) for block in blocks] == [0, 1, 2]
    with pytest.raises(ValueError, match=rf"{scheme} blocks \[1\] are missing"):
        code.decode(blocks, [1], {})
