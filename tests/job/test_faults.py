"""Faults as a job names them."""

from typing import get_args

import pytest
from pydantic import ValidationError

from hpcrefine import faults
from hpcrefine.errors import InputError
from hpcrefine.job import Corruption, FaultsSection, FaultyWorker, Moment, ServiceTime


@pytest.mark.parametrize(
    "pauses",
    [
        (),
        ((1.0, 0.0),),
        ((-1.0, 2.0),),
        ((0.0, 2.0), (1.0, 1.0)),
        ((3.0, 1.0), (0.0, 1.0)),
        ((1.0,),),
    ],
)
def test_pauses_follow_each_other(pauses):
    with pytest.raises(ValidationError, match="pauses"):
        FaultyWorker(rank=1, pauses=pauses)
    assert FaultyWorker(rank=1, pauses=((0, 1), (1, 2.5))).pauses == ((0, 1), (1, 2.5))


def test_names_are_those_that_faults_know():
    distributions = ServiceTime.model_fields["distribution"].annotation
    assert get_args(distributions) == faults.DISTRIBUTIONS
    assert get_args(Corruption.model_fields["kind"].annotation) == (*faults.CORRUPTIONS, "any")
    assert ServiceTime(distribution="pareto", mean=1.0).service() == faults.Service("pareto", 1.0)


def test_faults_are_assigned():
    service = ServiceTime(distribution="shifted-exponential", mean=2.0, shift=0.5)
    section = FaultsSection(
        service=service,
        stragglers=1,
        slowdown=3.0,
        worker=(
            FaultyWorker(
                rank=2,
                slowdown=1.5,
                service=ServiceTime(distribution="deterministic", mean=1.0),
                pauses=((1, 2),),
                silent=Moment(at=4),
                kill=Moment(after=7),
                corrupt=Corruption(rate=0.5, kind="bit-flip"),
            ),
            FaultyWorker(count=2, silent=Moment(after=1), kill=Moment(at=2.5)),
        ),
    )
    everyone = faults.Service("shifted-exponential", 2.0, shift=0.5)
    assigned = section.assign(5, seed=3)
    assert assigned[2] == faults.Faults(
        slowdown=1.5,
        service=faults.Service("deterministic", 1.0),
        pauses=((1.0, 2.0),),
        silent_at=4.0,
        kill_after=7,
        corrupt_rate=0.5,
        corrupt_kind="bit-flip",
    )
    others = [assigned[rank] for rank in (1, 3, 4, 5)]
    assert others.count(faults.Faults(service=everyone, silent_after=1, kill_at=2.5)) == 2
    assert others.count(faults.Faults(service=everyone, slowdown=3.0)) == 1
    assert others.count(faults.Faults(service=everyone)) == 1
    assert faults.Faults(service=everyone, slowdown=3.0) not in section.assign(5, 3, 0).values()
    assert len({str(section.assign(5, seed)) for seed in range(20)}) > 5
    with pytest.raises(InputError, match=r"^\[faults\] stragglers: found 3, expected at most 2, "):
        section.assign(5, 3, 3)
    with pytest.raises(
        InputError, match=r"^\[faults\] worker\[0\]\.rank: found 2, expected 1\.\.1"
    ):
        section.assign(1, 3)
