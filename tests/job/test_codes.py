"""Codes as a job names them."""

from typing import get_args

import pytest
from pydantic import ValidationError

from hpcrefine.codes import CODES
from hpcrefine.job import CodeSection, ComparedCode, CompareSection, Scheme


@pytest.mark.parametrize("scheme", CODES)
def test_every_code_can_be_asked_for(scheme):
    code = CodeSection(scheme=scheme, tasks=7).code()
    assert (code.name, code.tasks, code.coded) == (scheme, 7, 7)


def test_schemes_are_the_codes():
    assert get_args(Scheme) == tuple(CODES)


def test_redundancy_reaches_the_code():
    assert CodeSection(scheme="mds", tasks=8, redundancy=1.5).code().coded == 12


@pytest.mark.parametrize("counts", [(), (-1,), (1, 1), (1.5,)])
def test_numbers_of_stragglers_differ(counts):
    with pytest.raises(ValidationError, match="stragglers"):
        CompareSection(codes=(ComparedCode(),), stragglers=counts)
