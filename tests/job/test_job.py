"""The whole of a job: its defaults, and what it makes of its sections."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from hpcrefine.job import (
    CodeSection,
    ComparedCode,
    CompareSection,
    FaultsSection,
    Job,
    OperandsSection,
    RandomOperand,
    ResolutionSection,
)

OPERANDS = OperandsSection(a=RandomOperand(random="normal", shape=(2, 3)), b="a.T")


def test_defaults():
    job = Job(operands=OPERANDS)
    assert job.model_dump(exclude={"operands"}) == {
        "job": {"name": "job", "kind": "matmul", "seed": 0, "repeats": 5, "warmups": 1},
        "resolution": {
            "digits": 2,
            "digit_bits": 8,
            "layering": "antidiagonal",
            "scale": "row",
            "truncate": None,
            "stop": None,
        },
        "code": {
            "scheme": "uncoded",
            "tasks": 8,
            "redundancy": 1.0,
            "unit": "layer",
            "survive": 0,
            "verify": "none",
            "lies": 3,
        },
        "schedule": {"split": "uniform", "gamma": 1.0, "forgetting": 0.98, "prefetch": 2},
        "workers": {"timeout": None, "count": None, "rates": None},
        "faults": {"service": None, "stragglers": 0, "slowdown": 5.0, "worker": ()},
        "compare": None,
        "stream": None,
        "simulate": {
            "model": "ranks",
            "service": {"distribution": "exponential", "shift": None, "shape": None},
            "communication": 0.0,
            "decode": 0.0,
            "overhead": 0.0,
            "purge": 0.0,
        },
        "kernel": {"name": "auto", "threads": None, "library": None},
        "baseline": {"oneshot": False, "coded": False},
        "record": {"file": None, "tasks": True, "locking": None},
        "verify": {"exact": "auto", "limit": 2**38},
    }
    assert (job.path, job.base, job.text) == (Path("job.toml"), Path(), "")


def test_read_from_leaves_the_original():
    job = Job(operands=OPERANDS)
    read = job.read_from(Path("folder/x.toml"), "text")
    assert (read.path, read.base, read.text) == (Path("folder/x.toml"), Path("folder"), "text")
    assert read.where("code", "tasks") == "folder/x.toml: [code] tasks"
    assert read.model_dump() == job.model_dump()
    assert (job.path, job.text) == (Path("job.toml"), "")


def test_places_of_codes():
    job = Job(operands=OPERANDS)
    assert job.where_code(0, "tasks") == "job.toml: [code] tasks"
    compare = CompareSection(codes=(ComparedCode(), ComparedCode(name="x")))
    job = Job(operands=OPERANDS, compare=compare)
    assert job.where_code(1, "tasks") == "job.toml: [compare] codes[1].tasks"


def test_sections_are_frozen():
    job = Job(operands=OPERANDS)
    with pytest.raises(ValidationError, match="frozen"):
        job.resolution.digits = 3
    with pytest.raises(ValidationError, match="frozen"):
        job.resolution = ResolutionSection()


def test_without_comparison_there_is_the_code_alone():
    job = Job(operands=OPERANDS, code=CodeSection(scheme="mds", tasks=4))
    assert job.codes == (("layered", job.code),)
    assert job.stragglers == (0,)
    assert Job(operands=OPERANDS, faults=FaultsSection(stragglers=2)).stragglers == (2,)


def test_compared_codes_differ_from_the_code_in_what_they_say():
    code = CodeSection(scheme="mds", tasks=9, redundancy=1.5, verify="freivalds", lies=2)
    codes = (
        ComparedCode(),
        ComparedCode(name="more", redundancy=2.0),
        ComparedCode(scheme="uncoded", tasks=4),
        ComparedCode(scheme="matdot", name="é" * 12, verify="none"),
    )
    job = Job(operands=OPERANDS, code=code, compare=CompareSection(codes=codes))
    assert job.codes == (
        ("mds", code),
        ("more", code.model_copy(update={"redundancy": 2.0})),
        ("uncoded", CodeSection(scheme="uncoded", tasks=4, verify="freivalds", lies=2)),
        ("é" * 12, code.model_copy(update={"scheme": "matdot", "verify": "none"})),
    )
    assert job.stragglers == (0,)


def test_compared_numbers_of_stragglers():
    compare = CompareSection(codes=(ComparedCode(),), stragglers=(0, 2, 1))
    job = Job(operands=OPERANDS, faults=FaultsSection(stragglers=3), compare=compare)
    assert job.stragglers == (0, 2, 1)
