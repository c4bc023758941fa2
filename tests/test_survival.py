"""Real workers die or freeze at every moment there is; what they leave is finished bit for bit.

What the ranks do stands in survivors.py.
"""

from pathlib import Path

import pytest

from hpcrefine.launch import TOLERANCE_VARIABLE, find_launcher

SURVIVORS = str(Path(__file__).with_name("survivors.py"))
SECONDS = 100

tolerant = pytest.mark.skipif(
    not find_launcher().tolerant,
    reason="no run outlives a rank here: Open MPI 5 and its --with-ft ulfm can",
)
CASES = [  # of each story: ranks, and whether they share memory
    ("in_a_task", 10, "both"),
    ("between_resolutions", 10, "both"),
    ("large_operands", 6, "messages"),
    ("large_results", 6, "messages"),
    ("quantising", 5, "shared"),
    ("idle", 7, "both"),
    ("resident", 7, "both"),
    ("nobody_left", 4, "both"),
    ("frozen", 5, "both"),
    ("frozen_at_the_end", 3, "shared"),
    ("two_at_once", 7, "both"),
    ("liar", 4, "shared"),
    ("oneshot", 6, "both"),
    ("streaming", 7, "both"),
    ("inferring", 9, "both"),
]


def with_memory(story, ranks, memory):
    kinds = ("shared", "messages") if memory == "both" else (memory,)
    return [pytest.param(story, ranks, str(int(k == "shared")), id=f"{story}-{k}") for k in kinds]


@pytest.fixture
def tell(mpiexec, tmp_path):
    """Return a function that has ranks tell a story; nothing of it may be left."""

    def tell(story, ranks, memory="1", program=(SURVIVORS,), **variables):
        variables["HPCREFINE_SHARED_MEMORY"] = memory
        run = mpiexec(ranks, [*program, story, str(tmp_path)], SECONDS, **variables)
        print(run.stdout, run.stderr, sep="\n")  # pytest shows it if the test fails
        assert run.left == []
        assert run.files == []
        return run

    return tell


def check_well(run, story):
    assert run.code == 0
    assert f"{story}: all is well" in run.stdout
    assert "Traceback" not in run.stderr


@tolerant
@pytest.mark.parametrize(
    ("story", "ranks", "memory"), [param for case in CASES for param in with_memory(*case)]
)
def test_outlived(tell, story, ranks, memory):
    check_well(tell(story, ranks, memory), story)


@tolerant
def test_mpi_loaded_before_hpcrefine_is_warned_of(mpiexec):
    """Such a program would meet its dead in MPI_Finalize."""
    first = "from mpi4py import MPI; import hpcrefine"
    run = mpiexec(2, ["-c", first], SECONDS)
    assert "import hpcrefine before" in run.stderr
    run = mpiexec(2, ["-c", "import hpcrefine; from mpi4py import MPI"], SECONDS)
    assert run.stderr == ""


@tolerant
@pytest.mark.parametrize(
    ("story", "failing"), [("raises_after_a_death", 1), ("master_raises_after_a_death", 0)]
)
def test_a_rank_that_raises_ends_what_outlived_another(tell, story, failing):
    run = tell(story, 6)
    assert run.code == 1
    assert "outlived rank 2" in run.stdout
    assert f"rank {failing} on " in run.stderr
    assert run.stderr.count("Traceback (most recent call last)") == 1
    assert "ZeroDivisionError" in run.stderr


@pytest.mark.parametrize(
    ("story", "memory"),
    [("master_idle", "1"), ("master_busy", "0"), ("master_mapped", "1"), ("master_read", "1")],
)
@pytest.mark.parametrize(
    "tolerance", [pytest.param("1", marks=tolerant), "0"], ids=["tolerant", "intolerant"]
)
def test_nobody_outlives_the_master(tell, story, memory, tolerance):
    run = tell(story, 5, memory, **{TOLERANCE_VARIABLE: tolerance})
    assert run.code != 0
    assert "the master dies" in run.stdout
    assert "Traceback" not in run.stderr
