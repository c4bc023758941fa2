"""Runs that are killed, and their workers: they end by themselves, no finished job is lost."""

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

from hpcrefine.experiment.turns import turns
from hpcrefine.jobfile import load
from hpcrefine.launch import find_launcher
from hpcrefine.record.reader import read

JOB = """
[job]
repeats = {repeats}
warmups = 0
[operands]
a = {{ random = "normal", shape = [32, 24] }}
b = {{ random = "normal", shape = [24, 20] }}
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
LONG, SHORT = 5000, 150  # repeats: more than anybody waits for; what is run to its end
INTOLERANT = {"HPCREFINE_FAULT_TOLERANCE": "0"}
START_SECONDS = 60
END_SECONDS = 30
GONE_SECONDS = 10
ENOUGH = 20  # finished jobs before anything is killed


def environment():
    """The environment without what would change how ranks are started."""
    prefixes = ("OMPI_", "PMI", "PRTE_", "SLURM_", "HPCREFINE_", "OMP_")
    return {name: v for name, v in os.environ.items() if not name.startswith(prefixes)}


def hpcrefine(*arguments, cwd, env=None, **options):
    command = [sys.executable, "-m", "hpcrefine", *arguments]
    env = environment() | (env or {})
    return subprocess.Popen(command, cwd=cwd, env=env, start_new_session=True, **options)


class Run:
    """A run in a session of its own, with at least ``ENOUGH`` finished jobs."""

    def __init__(self, folder, repeats=LONG, env=None):
        (folder / "long.toml").write_text(JOB.format(repeats=repeats))
        self.folder, self.path, self._errors = folder, folder / "run.h5", folder / "stderr"
        with self._errors.open("w") as stderr, (folder / "stdout").open("w") as stdout:
            words = ("run", "long.toml", "-n", "3", "-o", "run.h5")
            self.launcher = hpcrefine(*words, cwd=folder, env=env, stdout=stdout, stderr=stderr)

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
def begin(tmp_path):
    """Return a function that starts a run; nothing of it outlives the test."""
    runs = []

    def start(**options):
        runs.append(Run(tmp_path, **options))
        runs[0].wait_until_under_way()
        return runs[0]

    yield start
    for started in runs:
        started.kill_all()
        started.launcher.wait(END_SECONDS)


@pytest.fixture
def run(begin):
    return begin()


needs_tolerance = pytest.mark.skipif(
    not find_launcher().tolerant, reason="with this MPI a dead worker ends the run"
)


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


@needs_tolerance
def test_a_run_outlives_a_worker(begin):
    run = begin(repeats=SHORT)
    (victim,) = (row["pid"] for row in read(run.path).workers if row["rank"] == 2)
    os.kill(victim, signal.SIGKILL)
    assert run.wait_for_end() == 0, run.errors()
    record = read(run.path)
    assert record.complete
    assert len(record.jobs) == 2 * SHORT
    assert set(record.jobs["status"]) == {"done"}
    assert set(record.jobs["verdict"]) == {"exact", "within rounding"}
    assert record.events[["rank", "kind"]].tolist() == [(2, "died")]
    (event,) = record.events
    dead, job = record.jobs["dead"], record.jobs["job"]
    assert event["job"] >= ENOUGH
    assert dead.tolist() == (job >= event["job"]).astype(int).tolist()
    assert 0 < event["time"] <= record.jobs["start"][event["job"] + 1]
    assert set(record.tasks["worker"][record.tasks["job"] > event["job"]]) == {1}
    assert "Traceback" not in run.errors()
    assert "worker 2 died" in (run.folder / "stdout").read_text()


@needs_tolerance
def test_all_workers_killed(begin):
    run = begin(repeats=SHORT)
    for worker in read(run.path).workers:
        os.kill(worker["pid"], signal.SIGKILL)
    assert run.wait_for_end() == 1
    record = read(run.path)
    assert record.complete
    assert len(record.jobs) == 2 * SHORT
    lost = record.jobs["status"] == "lost"
    count = np.count_nonzero(lost)
    assert 1 <= count <= 2 * SHORT - ENOUGH
    assert lost.tolist() == sorted(lost.tolist())
    assert set(record.jobs["verdict"][~lost]) == {"exact", "within rounding"}
    assert set(record.jobs["dead"][lost]) == {2}
    assert sorted(record.events[["rank", "kind"]].tolist()) == [(1, "died"), (2, "died")]
    (said,) = [line for line in run.errors().splitlines() if line.startswith("hpcrefine: ")]
    assert said.startswith(f"hpcrefine: {count} of {2 * SHORT} jobs were lost: no worker is left: ")
    assert "rank 1 died" in said
    assert "rank 2 died" in said
    assert "Traceback" not in run.errors()


def test_without_fault_tolerance_a_killed_worker_ends_the_run(begin, unwarned):
    run = begin(repeats=SHORT, env=INTOLERANT)
    os.kill(run.rank(2), signal.SIGKILL)
    assert run.wait_for_end() == 1
    jobs = check_what_the_launcher_left(run, "a rank died")
    assert "Open MPI 5 started with --with-ft ulfm lets a run outlive" in run.errors()
    check_resume(run, jobs, 3, unwarned)


@needs_tolerance
def test_without_its_master_a_run_ends(begin, unwarned):
    run = begin(repeats=SHORT)
    os.kill(run.rank(0), signal.SIGKILL)
    assert run.wait_for_end() == 1
    jobs = check_what_the_launcher_left(run, "the run ended early")
    said = [line for line in run.errors().splitlines() if "the master has died" in line]
    assert 1 <= len(said) <= 2
    check_resume(run, jobs, 4, unwarned)


def check_resume(run, before, ranks, unwarned):
    """It goes on after the last finished job, on any number of ranks, and comes to its end."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    words = ("run", "long.toml", "-n", str(ranks), "-o", "run.h5", "--resume")
    old = read(run.path)
    with hpcrefine(*words, cwd=run.folder, **pipes) as going_on:
        out, err = going_on.communicate(timeout=END_SECONDS)
    assert going_on.returncode == 0, err
    assert unwarned(err).startswith(f"[{before + 1}/{2 * SHORT}] ")
    assert "run was resumed: started 2 times" in out
    record = read(run.path)
    assert record.complete
    assert record.jobs["job"].tolist() == list(range(2 * SHORT))
    assert record.jobs[:before].tobytes() == old.jobs.tobytes()
    plan = [(turn.variant, turn.repeat) for turn in turns(load(run.folder / "long.toml"))]
    assert record.jobs[["variant", "repeat"]].tolist() == plan
    assert np.all(record.jobs["start"][1:] >= record.jobs["end"][:-1])
    assert set(record.jobs["verdict"]) == {"exact", "within rounding"}
    sessions = [(0, 1), (0, 2), *((1, rank) for rank in range(1, ranks))]
    assert record.workers[["session", "rank"]].tolist() == sessions


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_launcher_asked_to_end_ends_the_run(run, number):
    run.launcher.send_signal(number)
    assert run.wait_for_end() != 0
    check_what_the_launcher_left(run)


def test_ctrl_c_ends_the_run(run):
    os.killpg(run.launcher.pid, signal.SIGINT)
    assert run.wait_for_end() != 0
    check_what_the_launcher_left(run)


def check_what_the_launcher_left(run, why="the run ended early"):
    """It has made the record open like any other, and has said what it holds: return how many."""
    jobs = len(check_record(run).jobs)
    with h5py.File(run.path, "r") as file:
        assert len(file["jobs"]) == jobs
    said = [line for line in run.errors().splitlines() if "finished jobs" in line]
    assert said == [f"hpcrefine: {why}; run.h5 holds its {jobs} finished jobs; go on with --resume"]
    assert "Traceback" not in run.errors()
    left = {path.name for path in run.folder.iterdir()}
    assert left == {"long.toml", "run.h5", "stdout", "stderr"}
    check_report(run, jobs)
    return jobs


def test_everything_killed_at_once(run):
    """Nobody is left to look after the record, as when a batch job runs out of its time."""
    run.kill_all()
    assert run.wait_for_end() == -signal.SIGKILL
    jobs = len(check_record(run).jobs)
    check_report(run, jobs)
