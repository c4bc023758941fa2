"""The sections of a job: their defaults, and what each refuses to hold."""

from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from hpcrefine import faults
from hpcrefine.errors import InputError
from hpcrefine.job import (
    CodeSection,
    ComparedCode,
    CompareSection,
    Corruption,
    FaultsSection,
    FaultyWorker,
    FileOperand,
    Job,
    JobSection,
    KernelSection,
    Moment,
    OperandsSection,
    RandomOperand,
    RecordSection,
    ResolutionSection,
    ScheduleSection,
    ServiceTime,
    Stop,
    VerifySection,
    WorkersSection,
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
            "verify": "none",
            "lies": 3,
        },
        "schedule": {"split": "uniform"},
        "workers": {"timeout": None},
        "faults": {"service": None, "stragglers": 0, "slowdown": 5.0, "worker": ()},
        "compare": None,
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


@pytest.mark.parametrize("counts", [(), (-1,), (1, 1), (1.5,)])
def test_numbers_of_stragglers_differ(counts):
    with pytest.raises(ValidationError, match="stragglers"):
        CompareSection(codes=(ComparedCode(),), stragglers=counts)


def test_names_are_those_that_faults_know():
    distributions = ServiceTime.model_fields["distribution"].annotation
    assert get_args(distributions) == faults.DISTRIBUTIONS
    assert get_args(Corruption.model_fields["kind"].annotation) == (*faults.CORRUPTIONS, "any")
    assert ServiceTime(distribution="pareto", mean=1.0).service() == faults.Service("pareto", 1.0)


def test_without_comparison_there_is_the_code_alone():
    job = Job(operands=OPERANDS, code=CodeSection(scheme="mds", tasks=4))
    assert job.codes == (("mds", job.code),)
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


@pytest.mark.parametrize("rows", [(-1, 2), (2, 2), (3, 2), (0,), (0, 1, 2), (0.0, 1.0)])
def test_rows_ascend(rows):
    with pytest.raises(ValidationError, match="rows"):
        FileOperand(file="x.npy", rows=rows)


@pytest.mark.parametrize("shape", [(0, 2), (2, 0), (2, 2**31), (-1, 2), (2,), (2, 2, 2)])
def test_shapes_hold_something(shape):
    with pytest.raises(ValidationError, match="shape"):
        RandomOperand(random="normal", shape=shape)
    assert RandomOperand(random="normal", shape=(1, 2**31 - 1)).shape == (1, 2**31 - 1)
