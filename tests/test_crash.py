"""Runs that are killed: they end by themselves, nothing lives on, no finished job is lost."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from hpcrefine.record.reader import read

JOB = """
[job]
repeats = 5000
warmups = 0
[operands]
a = { random = "normal", shape = [32, 24] }
b = { random = "normal", shape = [24, 20] }
[code]
scheme = "mds"
tasks = 4
redundancy = 1.5
[baseline]
oneshot = true
"""
LAYERS = {"layered": 3, "oneshot": 1}
TASKS = {"layered": 3 * 6, "oneshot": 4}
RANK_VARIABLES = (b"OMPI_COMM_WORLD_RANK", b"PMI_RANK", b"PMIX_RANK")
START_SECONDS = 60
END_SECONDS = 30
GONE_SECONDS = 10
ENOUGH = 20  # finished jobs before anything is killed


def environment():
    """The environment without what would change how ranks are started."""
    prefixes = ("OMPI_", "PMI", "PRTE_", "SLURM_", "HPCREFINE_", "OMP_")
    return {name: v for name, v in os.environ.items() if not name.startswith(prefixes)}


def hpcrefine(*arguments, cwd, **options):
    command = [sys.executable, "-m", "hpcrefine", *arguments]
    return subprocess.Popen(command, cwd=cwd, env=environment(), start_new_session=True, **options)


class Run:
    """A long run in a session of its own, with at least ``ENOUGH`` finished jobs."""

    def __init__(self, folder):
        (folder / "long.toml").write_text(JOB)
        self.folder, self.path, self._errors = folder, folder / "run.h5", folder / "stderr"
        with self._errors.open("w") as stderr, (folder / "stdout").open("w") as stdout:
            words = ("run", "long.toml", "-n", "3", "-o", "run.h5")
            self.launcher = hpcrefine(*words, cwd=folder, stdout=stdout, stderr=stderr)
        self._master: int | None = None

    def wait_until_under_way(self):
        deadline = time.monotonic() + START_SECONDS
        while self.printed() < ENOUGH:
            assert self.launcher.poll() is None, self.errors()
            assert time.monotonic() < deadline, self.errors()
            time.sleep(0.02)

    def errors(self):
        return self._errors.read_text()

    def printed(self):
        """Number of jobs that were reported as finished."""
        return max(
            (int(k) for k in re.findall(r"^\[(\d+)/\d+\] .* s$", self.errors(), re.M)), default=0
        )

    def processes(self):
        """Every living process of the session."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:
                continue
            if int(session) == self.launcher.pid and state not in "ZX":
                found.append(int(entry.name))
        return found

    def rank(self, rank):
        """Process id of a rank."""
        return next(pid for pid in self.processes() if _rank_of(pid) == rank)

    def wait_for_end(self):
        """Wait for the launcher's exit code and for the session to be empty; nobody helps."""
        code = self.launcher.wait(END_SECONDS)
        deadline = time.monotonic() + GONE_SECONDS
        while self.processes():
            assert time.monotonic() < deadline, self.processes()
            time.sleep(0.02)
        return code

    def kill_all(self):
        for pid in (self.launcher.pid, *self.processes()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def _rank_of(pid):
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    ranks = dict(entry.split(b"=", 1) for entry in variables if b"=" in entry)
    return next((int(ranks[name]) for name in RANK_VARIABLES if name in ranks), None)


@pytest.fixture
def run(tmp_path):
    started = Run(tmp_path)
    try:
        started.wait_until_under_way()
        yield started
    finally:
        started.kill_all()
        started.launcher.wait(END_SECONDS)


def check_record(run):
    """Every reported job is there, whole; nothing is there by halves."""
    record = read(run.path)
    jobs = record.jobs
    assert not record.complete
    # A launcher that ends may drop the last lines; a line never comes before its job is written.
    assert ENOUGH <= run.printed() <= len(jobs) < 10_000
    assert jobs["job"].tolist() == list(range(len(jobs)))
    for table, counts in ((record.layers, LAYERS), (record.tasks, TASKS)):
        expected = np.repeat(jobs["job"], [counts[variant] for variant in jobs["variant"]])
        assert table["job"].tolist() == expected.tolist()
    assert set(jobs["verdict"]) == {"exact", "within rounding"}
    assert np.all(record.layers["ready"] > 0)
    assert not np.any(record.layers["error_measured"] > record.layers["error_bound"])
    assert record.workers["rank"].tolist() == [1, 2]
    return record


def check_report(run, jobs):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with hpcrefine("report", "run.h5", cwd=run.folder, **pipes) as reporting:
        out, err = reporting.communicate(timeout=END_SECONDS)
    assert (reporting.returncode, err) == (0, "")
    assert f"note: run was interrupted: {jobs} finished jobs" in out


@pytest.mark.parametrize("rank", [0, 2])
def test_a_killed_rank_ends_the_run(run, rank):
    os.kill(run.rank(rank), signal.SIGKILL)
    assert run.wait_for_end() == 1
    check_what_the_launcher_left(run)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_launcher_asked_to_end_ends_the_run(run, number):
    run.launcher.send_signal(number)
    assert run.wait_for_end() != 0
    check_what_the_launcher_left(run)


def test_ctrl_c_ends_the_run(run):
    os.killpg(run.launcher.pid, signal.SIGINT)
    assert run.wait_for_end() != 0
    check_what_the_launcher_left(run)


def check_what_the_launcher_left(run):
    """It has made the record open like any other, and has said what it holds."""
    jobs = len(check_record(run).jobs)
    with h5py.File(run.path, "r") as file:
        assert len(file["jobs"]) == jobs
    said = [line for line in run.errors().splitlines() if line.startswith("hpcrefine: the run")]
    assert said == [f"hpcrefine: the run ended early; run.h5 holds its {jobs} finished jobs"]
    assert "Traceback" not in run.errors()
    left = {path.name for path in run.folder.iterdir()}
    assert left == {"long.toml", "run.h5", "stdout", "stderr"}
    check_report(run, jobs)


def test_everything_killed_at_once(run):
    """Nobody is left to look after the record, as when a batch job runs out of its time."""
    run.kill_all()
    assert run.wait_for_end() == -signal.SIGKILL
    jobs = len(check_record(run).jobs)
    check_report(run, jobs)
