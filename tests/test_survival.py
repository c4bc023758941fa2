"""Real workers die or freeze at every moment there is; what they leave is finished bit for bit.

What the ranks do stands in survivors.py.
"""

from pathlib import Path

import pytest

from hpcrefine.launch import find_launcher

SURVIVORS = str(Path(__file__).with_name("survivors.py"))
SECONDS = 100

tolerant = pytest.mark.skipif(
    not find_launcher().tolerant,
    reason="no run outlives a rank here: Open MPI 5 and its --with-ft ulfm can",
)
shared = pytest.param("1", id="shared")
messages = pytest.param("0", id="messages")


@pytest.fixture
def tell(mpiexec, tmp_path):
    """Return a function that has ranks tell a story."""

    def tell(story, ranks, memory="1", **variables):
        program = [SURVIVORS, story, str(tmp_path)]
        variables["HPCREFINE_SHARED_MEMORY"] = memory
        run = mpiexec(ranks, program, SECONDS, **variables)
        print(run.stdout, run.stderr, sep="\n")  # pytest shows it if the test fails
        assert run.left == []
        return run

    return tell


@tolerant
@pytest.mark.parametrize(
    ("story", "ranks", "memory"),
    [
        ("in_a_task", 10, "1"),
        ("in_a_task", 10, "0"),
        ("between_resolutions", 10, "1"),
        ("between_resolutions", 10, "0"),
        ("large_operands", 6, "0"),
        ("large_results", 6, "0"),
        ("quantising", 5, "1"),
        ("idle", 7, "1"),
        ("idle", 7, "0"),
        ("resident", 7, "1"),
        ("resident", 7, "0"),
        ("nobody_left", 4, "1"),
        ("nobody_left", 4, "0"),
        ("frozen", 5, "1"),
        ("frozen", 5, "0"),
        ("frozen_at_the_end", 3, "1"),
        ("two_at_once", 7, "1"),
        ("two_at_once", 7, "0"),
        ("liar", 4, "1"),
        ("oneshot", 6, "1"),
        ("oneshot", 6, "0"),
    ],
)
def test_outlived(tell, story, ranks, memory):
    run = tell(story, ranks, memory)
    assert run.code == 0
    assert f"{story}: all is well" in run.stdout
    assert "Traceback" not in run.stderr
    assert run.files == []
