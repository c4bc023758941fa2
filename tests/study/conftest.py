"""Study files, and records for points."""

from pathlib import Path

import pytest

from hpcrefine.record.writer import RecordWriter
from tests.studies import build_row

JOB = """
[job]
name = "small"
repeats = 2
warmups = 0
[operands]
a = { random = "normal", shape = [32, 24] }
b = { random = "normal", shape = [24, 20] }
[code]
scheme = "uncoded"
tasks = 4
"""


@pytest.fixture
def study_file(tmp_path):
    """Return a function that writes a study file: a small job with some lines after ``[sweep]``."""

    def write(sweep, job=JOB):
        path = tmp_path / "study.toml"
        path.write_text(f"{job}[sweep]\n{sweep}\n")
        return path

    return write


@pytest.fixture
def write_record():
    """Return a function that writes a record with so many finished jobs."""

    def write(path: Path, jobs: int, complete: bool = True):
        writer = RecordWriter(path, job_text="", kind="measured", environment={}, workers=[])
        for number in range(jobs):
            writer.append(build_row("jobs", job=number), [], [])
        writer.close(complete)
        return path

    return write
