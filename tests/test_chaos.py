"""Random faults on real ranks: every run ends by itself, exact or clearly lost."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hpcrefine
from hpcrefine.launch import find_launcher

RUNS = 12
SECONDS = 600


@pytest.mark.skipif(not find_launcher().tolerant, reason="runs end with their first dead rank here")
def test_random_runs():
    package = Path(hpcrefine.__file__).parents[1]  # the one under test, not another installed
    done = subprocess.run(
        [sys.executable, "-m", "bench.chaos", "--runs", str(RUNS), "--seed", "1000"],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"^(\d+) runs: (.*); (\d+) products exact", done.stdout, re.MULTILINE)
    assert found, done.stdout + done.stderr
    outcomes = dict(reversed(part.split(" ")) for part in found[2].split(", "))
    assert set(outcomes) <= {"exact", "lost"}
    assert sum(map(int, outcomes.values())) == int(found[1]) == RUNS
    assert int(outcomes["exact"]) > RUNS // 2
