"""The sections of a job: their defaults, and what each refuses to hold."""

from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from hpcrefine.job import (
    CodeSection,
    FileOperand,
    Job,
    JobSection,
    KernelSection,
    OperandsSection,
    RandomOperand,
    RecordSection,
    ResolutionSection,
    ScheduleSection,
    Stop,
    VerifySection,
)
from hpcrefine.resolution.layers import LAYERINGS

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
        },
        "schedule": {"split": "uniform"},
        "kernel": {"name": "auto", "threads": None, "library": None},
        "baseline": {"oneshot": False},
        "record": {"file": None, "tasks": True, "locking": None},
        "verify": {"exact": "auto", "limit": 2**38},
    }
    assert (job.path, job.base, job.text) == (Path("job.toml"), Path(), "")


def test_a_job_without_a_library():
    assert Job(operands=OPERANDS, kernel=KernelSection(library=None)).kernel.library is None


def test_read_from_leaves_the_original():
    job = Job(operands=OPERANDS)
    read = job.read_from(Path("folder/x.toml"), "text")
    assert (read.path, read.base, read.text) == (Path("folder/x.toml"), Path("folder"), "text")
    assert read.where("code", "tasks") == "folder/x.toml: [code] tasks"
    assert read.model_dump() == job.model_dump()
    assert (job.path, job.text) == (Path("job.toml"), "")


def test_sections_are_frozen():
    job = Job(operands=OPERANDS)
    with pytest.raises(ValidationError, match="frozen"):
        job.resolution.digits = 3
    with pytest.raises(ValidationError, match="frozen"):
        job.resolution = ResolutionSection()


def test_layerings_are_those_of_the_plan():
    assert get_args(ResolutionSection.model_fields["layering"].annotation) == LAYERINGS


def test_random_defaults():
    assert RandomOperand(random="integers", shape=(1, 1), low=0, high=2).element_type == "int64"
    uniform = RandomOperand(random="uniform", shape=(1, 1))
    assert (uniform.element_type, uniform.limits) == ("float64", (0.0, 1.0))


def test_a_library_must_exist(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("libdnnl.so").touch()
    assert KernelSection(library="libdnnl.so").library == tmp_path / "libdnnl.so"
    for library in ("none.so", ".", "a\0"):
        with pytest.raises(ValidationError, match="library"):
            KernelSection(library=library)


@pytest.mark.parametrize("file", ["out.h5", "./results/../out.h5", "~/out.h5", "/out.h5"])
def test_a_record_stays_where_it_was_written(file):
    assert RecordSection(file=file).file == file


@pytest.mark.parametrize(
    ("section", "key", "values"),
    [
        (JobSection, "name", ["", "a/b", "a\nb"]),
        (JobSection, "kind", ["inference"]),
        (JobSection, "seed", [-1, 2**63, 1.0, True]),
        (JobSection, "repeats", [0]),
        (JobSection, "warmups", [-1]),
        (ResolutionSection, "digits", [0, 8]),
        (ResolutionSection, "digit_bits", [0, 9]),
        (ResolutionSection, "truncate", [-1, 3]),
        (Stop, "tolerance", [0.0, -1.0, float("nan"), float("inf"), None]),
        (CodeSection, "tasks", [0]),
        (CodeSection, "redundancy", [0.5, 1.5]),
        (CodeSection, "survive", [-1]),
        (ScheduleSection, "split", ["optimal"]),
        (KernelSection, "threads", [0]),
        (RecordSection, "file", ["", "a\0"]),
        (VerifySection, "exact", ["all"]),
        (VerifySection, "limit", [-1, 2.0**38]),
        (VerifySection, "limits", [1]),
    ],
)
def test_values_out_of_range(section, key, values):
    for value in values:
        with pytest.raises(ValidationError):
            section(**{key: value})


@pytest.mark.parametrize("rows", [(-1, 2), (2, 2), (3, 2), (0,), (0, 1, 2), (0.0, 1.0)])
def test_rows_ascend(rows):
    with pytest.raises(ValidationError, match="rows"):
        FileOperand(file="x.npy", rows=rows)


@pytest.mark.parametrize("shape", [(0, 2), (2, 0), (2, 2**31), (-1, 2), (2,), (2, 2, 2)])
def test_shapes_hold_something(shape):
    with pytest.raises(ValidationError, match="shape"):
        RandomOperand(random="normal", shape=shape)
    assert RandomOperand(random="normal", shape=(1, 2**31 - 1)).shape == (1, 2**31 - 1)
