"""Runs that SIGUSR1 asks to end: what they leave is whole, says so, and can be gone on with."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from hpcrefine import ending
from hpcrefine.ending import Ending
from hpcrefine.inference.files import save_network
from hpcrefine.inference.network import Network, Node
from hpcrefine.launch import find_launcher
from hpcrefine.record.reader import read

PRODUCTS = """
[job]
repeats = 2
warmups = 0
[operands]
a = { random = "normal", shape = [32, 24] }
b = { random = "normal", shape = [24, 20] }
[code]
tasks = 4
[faults]
service = { distribution = "deterministic", mean = 0.4 }
"""
STREAM = """
[job]
repeats = 1
warmups = 0
[operands]
a = { random = "normal", shape = [32, 24] }
b = { random = "normal", shape = [24, 20] }
[code]
tasks = 4
[faults]
service = { distribution = "deterministic", mean = 0.01 }
[stream]
jobs = 24
rate = 10.0
"""
INFERENCE = """
[job]
kind = "inference"
repeats = 2
warmups = 0
[network]
file = "net.npz"
[samples]
images = { file = "images.npy", rows = [0, 64] }
labels = { file = "labels.npy", rows = [0, 64] }
[calibration]
images = { file = "images.npy", rows = [64, 1600] }
labels = { file = "labels.npy", rows = [64, 1600] }
[precision]
upgrades = 3
digit_bits = 2
[baseline]
oneshot = false
[schedule]
block = 16
[faults]
service = { distribution = "deterministic", mean = 0.2 }
"""
SECONDS = 60
USR1 = signal.SIGUSR1


def environment():
    prefixes = ("OMPI_", "PMI", "PRTE_", "SLURM_", "HPCREFINE_", "OMP_")
    return {name: v for name, v in os.environ.items() if not name.startswith(prefixes)}


def wait_until(true):
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


class Runs:
    """Runs of a job file, one after the other, in a folder."""

    def __init__(self, folder):
        self.folder, self.path, self.started = folder, folder / "run.h5", []

    def start(self, job, *words, launcher=(), env=()):
        (self.folder / "job.toml").write_text(job)
        command = [*launcher, sys.executable, "-m", "hpcrefine", "run", "job.toml"]
        with (self.folder / "stderr").open("w") as stderr:
            process = subprocess.Popen(
                [*command, "-n", "3", "-o", "run.h5", *words],
                cwd=self.folder,
                env=environment() | dict(env),
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def said(self):
        """What was said on stderr, but for what libevent may say as Open MPI's mpiexec ends."""
        lines = (self.folder / "stderr").read_text().splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("[warn] Epoll"))

    def ended_early(self, process):
        """Check the code and the record of a run that has been asked to end; return the record."""
        assert process.wait(SECONDS) == 3, self.said()
        with h5py.File(self.path, "r") as file:
            count = len(file["jobs"])
            assert not file.attrs["complete"]
        record = read(self.path)
        cut = ", the last of them cut short" if "stopped" in record.jobs["status"] else ""
        said = f"ended early as asked; run.h5 holds {count} jobs{cut}; go on with --resume"
        assert self.said().splitlines()[-1] == f"hpcrefine: {said}"
        return record

    def resumed(self, job, jobs):
        """Go on to the end; return the record."""
        before = read(self.path).jobs
        assert self.start(job, "--resume").wait(SECONDS) == 0, self.said()
        record = read(self.path)
        assert record.complete
        assert sorted(record.jobs["job"].tolist()) == list(range(jobs))
        assert record.jobs[: len(before)].tobytes() == before.tobytes()
        assert set(record.jobs["status"][len(before) :]) <= {"done"}
        assert set(record.jobs["verdict"]) == {"exact"}
        return record


@pytest.fixture
def runs(tmp_path):
    runs = Runs(tmp_path)
    yield runs
    for process in runs.started:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        process.wait(SECONDS)


def test_the_present_job_is_finished(runs):
    """Under mpiexec, which passes the signal on and the exit code back."""
    launcher = find_launcher()
    quick = PRODUCTS.replace("mean = 0.4", "mean = 0.1")
    process = runs.start(quick, launcher=launcher.command(3, ()), env=launcher.environment(3))
    wait_until(runs.path.exists)
    process.send_signal(USR1)
    record = runs.ended_early(process)
    assert record.jobs["status"].tolist() == ["done"]
    assert record.jobs["verdict"].tolist() == ["exact"]
    assert len(record.layers) == 3
    assert len(runs.said().splitlines()) <= 3  # no launcher comments on it
    assert len(runs.resumed(quick, jobs=2).layers) == 6


@pytest.mark.parametrize("urged", [False, True])
def test_a_long_job_is_cut(runs, urged):
    """Its layers come after 0.8, 1.6 and 2.4 s; it is cut after 1.2 s."""
    process = runs.start(PRODUCTS, *([] if urged else ["--grace", "1.2"]))
    wait_until(runs.path.exists)
    process.send_signal(USR1)
    if urged:
        time.sleep(1.2)
        process.send_signal(USR1)
    record = runs.ended_early(process)
    assert record.jobs["status"].tolist() == ["stopped"]
    assert record.jobs["verdict"].tolist() == ["exact"]
    assert record.layers["layer"].tolist() == list(range(len(record.layers)))
    assert 1 <= len(record.layers) < 3
    assert np.all(record.layers["error_measured"] <= record.layers["error_bound"])
    assert np.all(record.jobs["end"] >= record.layers["ready"].max())
    if urged:
        assert runs.resumed(PRODUCTS, jobs=2).jobs["status"].tolist() == ["stopped", "done"]


def test_jobs_of_a_stream_that_have_not_begun_are_left_to_the_next_run(runs):
    process = runs.start(STREAM)
    wait_until(lambda: "[3/24]" in runs.said())
    process.send_signal(USR1)
    record = runs.ended_early(process)
    assert 3 <= len(record.jobs) < 24
    assert set(record.jobs["status"]) == {"done"}
    assert set(record.jobs["verdict"]) == {"exact"}
    record = runs.resumed(STREAM, jobs=24)
    assert len(record.layers) == 3 * 24
    assert record.layers["met_deadline"].all()


def test_a_long_job_of_a_stream_is_cut(runs):
    slow = STREAM.replace("mean = 0.01", "mean = 0.1").replace("rate = 10.0", "rate = 1000.0")
    process = runs.start(slow, "--grace", "0")
    wait_until(lambda: "[1/24]" in runs.said())
    process.send_signal(USR1)
    record = runs.ended_early(process)
    assert record.jobs["status"].tolist() == [*["done"] * (len(record.jobs) - 1), "stopped"]
    last = record.layers[record.layers["job"] == record.jobs["job"][-1]]
    assert len(last) == 3
    assert not last["met_deadline"].all()


def test_an_inference_is_cut(runs):
    """Its 4 blocks of samples take 0.4 s for each of three upgrades."""
    rng = np.random.default_rng(1)
    weights = {"weight": rng.normal(size=(3, 12)), "bias": rng.normal(size=3)}
    weights = {name: array.astype(np.float32) for name, array in weights.items()}
    node = Node("scores", "dense", ("input",), weights=weights)
    save_network(Network((12,), (node,), input_scale=1 / 255), runs.folder / "net.npz")
    np.save(runs.folder / "images.npy", rng.integers(0, 256, (1600, 3, 4), dtype=np.uint8))
    np.save(runs.folder / "labels.npy", rng.integers(0, 3, 1600))
    process = runs.start(INFERENCE, "--grace", "0.6")
    wait_until(lambda: runs.path.exists() or process.poll() is not None)
    process.send_signal(USR1)
    record = runs.ended_early(process)
    assert record.jobs["status"].tolist() == ["stopped"]
    assert record.jobs["verdict"].tolist() == ["exact"]
    assert 1 <= np.count_nonzero(record.upgrades["met_deadline"]) < len(record.upgrades)
    runs.resumed(INFERENCE, jobs=2)


def test_an_early_signal_is_remembered(runs):
    """Sent once the command listens, when no rank does yet."""
    process = runs.start(PRODUCTS)
    bit = 1 << (USR1 - 1)

    def listens():
        status = Path(f"/proc/{process.pid}/status").read_text()
        return int(status.partition("SigCgt:")[2].split()[0], 16) & bit

    wait_until(listens)
    process.send_signal(USR1)
    assert len(runs.ended_early(process).jobs) == 0


def test_what_grace_may_be(runs):
    assert runs.start(PRODUCTS, "--grace", "-1").wait(SECONDS) == 2
    assert runs.said() == "hpcrefine: --grace: found -1, expected 0 or more seconds\n"


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(ending, "time", clock)
    return clock


def test_when_a_job_is_cut(clock):
    asked = Ending(grace=30)
    assert not asked.asked
    assert not asked.overdue
    asked.ask()
    assert asked.asked
    clock.now += 29
    assert not asked.overdue
    assert not asked.cut
    clock.now += 2
    assert asked.overdue
    assert not asked.cut
    assert asked.cuts()
    assert asked.cut


def test_a_second_signal_cuts_but_not_the_first_on_another_way(clock):
    asked = Ending(grace=30)
    asked.ask()
    clock.now += 0.1
    asked.ask()
    assert not asked.overdue
    clock.now += 2
    assert not asked.overdue
    asked.ask()
    assert asked.overdue
