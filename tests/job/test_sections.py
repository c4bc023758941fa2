"""What sections refuse to hold."""

from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from hpcrefine.job import (
    CodeSection,
    CompareSection,
    Corruption,
    FaultsSection,
    Job,
    JobSection,
    KernelSection,
    Moment,
    OperandsSection,
    RandomOperand,
    RecordSection,
    ResolutionSection,
    ScheduleSection,
    Stop,
    VerifySection,
    WorkersSection,
)
from hpcrefine.resolution.layers import LAYERINGS

OPERANDS = OperandsSection(a=RandomOperand(random="normal", shape=(2, 3)), b="a.T")


def test_a_job_without_a_library():
    assert Job(operands=OPERANDS, kernel=KernelSection(library=None)).kernel.library is None


def test_layerings_are_those_of_the_plan():
    assert get_args(ResolutionSection.model_fields["layering"].annotation) == LAYERINGS


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
        (JobSection, "kind", ["training"]),
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
        (CodeSection, "scheme", ["raid", None]),
        (CodeSection, "verify", ["all", True]),
        (CodeSection, "lies", [0, 1.0]),
        (WorkersSection, "timeout", [0.0, -1.0, float("inf")]),
        (FaultsSection, "stragglers", [-1, 1.0]),
        (FaultsSection, "slowdown", [0.5, float("inf")]),
        (FaultsSection, "worker", [3, (1,)]),
        (Moment, "at", [-1.0, None]),
        (Moment, "after", [-1, 1.0]),
        (Corruption, "rate", [-0.1, 1.1]),
        (CompareSection, "codes", [()]),
        (ScheduleSection, "split", ["best", None]),
        (ScheduleSection, "gamma", [-1.0, float("inf")]),
        (ScheduleSection, "forgetting", [0.0, 1.1]),
        (ScheduleSection, "prefetch", [0, 1.0]),
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
