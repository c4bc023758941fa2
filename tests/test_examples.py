"""The examples under jobs/ do what they say."""

import re
import subprocess
import sys
from pathlib import Path

from hpcrefine.job import Job
from hpcrefine.jobfile import load
from hpcrefine.launch import find_launcher
from hpcrefine.operands import check

JOBS = Path(__file__).parents[1] / "jobs"


def test_neighbours_are_as_good_from_the_first_resolution():
    launcher = find_launcher()
    done = subprocess.run(
        launcher.command(3, [sys.executable, str(JOBS / "neighbours.py")]),
        env=launcher.environment(3),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    accuracy = [float(found) for found in re.findall(r"accuracy (\d+\.\d+) %", done.stdout)]
    assert len(accuracy) == 4
    assert accuracy[-1] > 75
    assert abs(accuracy[0] - accuracy[-1]) <= 0.2
    assert accuracy[2] == accuracy[-1]


def test_job_files_are_valid():
    found = {path.stem: load(path) for path in JOBS.glob("*.toml")}
    assert found.keys() >= {"quickstart", "normal-4096"}
    assert all(isinstance(job, Job) for job in found.values())
    assert check(found["quickstart"]) == (4096, 784, 4096)
    assert check(found["normal-4096"]) == (4096, 4096, 4096)
