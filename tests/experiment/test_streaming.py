"""Streams by the command line: what stands in their records, also after the master was killed."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hpcrefine.experiment.turns import arrivals, turns
from hpcrefine.inputs import operands
from hpcrefine.jobfile import load
from hpcrefine.launch import find_launcher
from hpcrefine.record.reader import read
from hpcrefine.schedule.split import SPLITS

JOB = """
[job]
seed = 3
repeats = 1
warmups = 0
[operands]
a = { random = "normal", shape = [64, 24] }
b = { random = "normal", shape = [24, 20] }
[code]
scheme = "mds"
tasks = 6
redundancy = 1.5
unit = "minijob"
[stream]
jobs = 25
rate = 40.0
"""
EVERYTHING = """
[baseline]
oneshot = true
[compare]
splits = ["uniform", "optimal", "dynamic"]
"""
SECONDS = 120


def environment():
    prefixes = ("OMPI_", "PMI", "PRTE_", "SLURM_", "HPCREFINE_", "OMP_")
    return {name: v for name, v in os.environ.items() if not name.startswith(prefixes)}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "job.toml").write_text(JOB)
    (tmp_path / "all.toml").write_text(JOB + EVERYTHING)
    return tmp_path


def hpcrefine(*words, cwd, **options):
    """Start the command in a session of its own."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        [sys.executable, "-m", "hpcrefine", *words],
        cwd=cwd,
        env=environment(),
        start_new_session=True,
        **(pipes | options),
    )


def run(folder, *words):
    """Run to the end; return stdout and stderr."""
    with hpcrefine("run", *words, "-n", "4", "-o", "run.h5", cwd=folder) as process:
        out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    return out, err


def test_a_record_of_streams(folder):
    run(folder, "all.toml")
    job, record = load(folder / "all.toml"), read(folder / "run.h5")
    assert record.complete
    assert sorted(record.jobs["job"].tolist()) == list(range(25 * len(turns(job))))
    times = arrivals(job, 0)
    for number, turn in enumerate(turns(job)):
        mine = np.sort(record.jobs[record.jobs["job"] // 25 == number], order="job")
        assert set(mine["variant"]) == {turn.variant}
        assert set(mine["split"]) == {turn.split if turn.code else "uniform"}
        assert set(mine["status"]) == {"done"}
        assert set(mine["verdict"]) == {"exact" if turn.code else "within rounding"}
        assert set(mine["rate"]) == {40.0}
        assert np.isnan(mine["deadline"]).all()
        assert np.diff(mine["arrival"]) == pytest.approx(np.diff(times))
        free = np.maximum.accumulate(np.append(0.0, mine["end"][:-1]))
        assert mine["start"] == pytest.approx(np.maximum(mine["arrival"], free))
        for row in mine:
            layers = record.layers[record.layers["job"] == row["job"]]
            assert len(layers) == (3 if turn.code else 1)
            assert layers["met_deadline"].all()
            assert layers["delay"] - layers["ready"] == pytest.approx(row["start"] - row["arrival"])
            assert row["end"] - row["start"] == pytest.approx(layers["ready"].max())
            assert (layers["error_measured"] <= layers["error_bound"]).all() or not turn.code
            known = record.estimates[record.estimates["job"] == row["job"]]
            assert len(known) == (3 if turn.code else 0)
            if turn.code and turn.split != "dynamic":
                assert known["tasks"].sum() == 9
        if turn.code:
            last = record.estimates[record.estimates["job"] == mine["job"][-1]]
            assert (last["mean"] > 0).all()
            assert (last["observed"] > 0).all()


def test_each_job_has_operands_of_its_own(folder):
    job = load(folder / "job.toml")
    a, b = operands.load_pair(job)
    first, again = (
        [pair for _, pair in zip(range(4), operands.of_stream(job, a, b, begin), strict=False)]
        for begin in (0, 2)
    )
    assert all(left is a for left, _ in first)
    assert len({right.tobytes() for _, right in first}) == 4
    for (_, one), (_, other) in zip(first[2:], again, strict=False):
        assert np.array_equal(one, other)
    both = load(folder / "job.toml", ["stream.new=both"])
    pairs = [p for _, p in zip(range(3), operands.of_stream(both, a, b, 0), strict=False)]
    assert len({left.tobytes() for left, _ in pairs}) == 3
    np.save(folder / "b.npy", np.arange(24.0 * 20).reshape(24, 20))
    turn = load(folder / "job.toml", ["operands.b={file='b.npy'}", "stream.columns=8"])
    a, b = operands.load_pair(turn)
    taken = [p[1] for _, p in zip(range(4), operands.of_stream(turn, a, b, 0), strict=False)]
    assert [int(each[0, 0]) for each in taken] == [0, 8, 16, 4]
    assert taken[2].shape == (24, 8)
    assert np.array_equal(taken[2][:, 4:], b[:, :4])


def test_deadlines_cut_and_are_told(folder):
    slow = "faults.service={distribution='deterministic', mean=0.02, per='task'}"
    out, _ = run(
        folder,
        *("job.toml", "--set", slow, "--set", "stream.deadline=0.2", "--set", "stream.jobs=8"),
        *("--set", "stream.policy='strict'", "--set", "stream.rate=3.0"),
    )
    record = read(folder / "run.h5")
    assert set(record.jobs["status"]) == {"stopped"}
    assert (record.jobs["end"] - record.jobs["arrival"] < 0.35).all()
    released = record.layers[~np.isnan(record.layers["ready"])]
    assert (released["delay"] <= 0.2).all()
    assert released["met_deadline"].all()
    missing = record.layers[np.isnan(record.layers["ready"])]
    assert len(missing)
    assert not missing["met_deadline"].any()
    assert len(record.layers) == 3 * 8
    assert set(record.jobs["verdict"]) <= {"exact", "unchecked"}
    assert "wrong" not in out


def test_a_killed_stream_is_resumed(folder):
    long = ("job.toml", "--set", "stream.jobs=400")
    with (folder / "errors").open("w") as errors:
        launcher = hpcrefine(
            *("run", *long, "-n", "4", "-o", "run.h5"), cwd=folder, stdout=errors, stderr=errors
        )
        deadline = time.monotonic() + SECONDS
        while not re.search(r"\[(4|8|16|24|32|40)/400\]", (folder / "errors").read_text()):
            assert launcher.poll() is None, (folder / "errors").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1.0)
        for rank in _ranks(launcher.pid):
            os.kill(rank, signal.SIGKILL)
        launcher.wait(30)
    interrupted = read(folder / "run.h5")
    assert not interrupted.complete
    assert 0 < len(interrupted.jobs) < 400
    run(folder, *long, "--resume")
    record = read(folder / "run.h5")
    assert record.complete
    assert sorted(record.jobs["job"].tolist()) == list(range(400))
    kept = record.jobs[np.isin(record.jobs["job"], interrupted.jobs["job"])]
    for name in ("arrival", "start", "end"):
        assert np.array_equal(kept[name], interrupted.jobs[name])
    later = record.jobs[~np.isin(record.jobs["job"], interrupted.jobs["job"])]
    assert set(later["verdict"]) == {"exact"}
    assert later["start"].min() >= kept["end"].max()


@pytest.mark.skipif(not find_launcher().tolerant, reason="a dead worker ends the run")
@pytest.mark.parametrize("split", SPLITS)
def test_jobs_are_lost_once_nobody_is_left(folder, split):
    everybody = "faults.worker=[{count = 3, kill = {after = 40}}]"
    words = ("job.toml", "--set", everybody, "--set", f"schedule.split={split}")
    with hpcrefine("run", *words, "-n", "4", "-o", "run.h5", cwd=folder) as process:
        _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 1, err
    assert "jobs were lost: no worker is left" in err
    assert "Traceback" not in err
    record = read(folder / "run.h5")
    assert record.complete
    assert len(record.jobs) == 25
    assert set(record.jobs["status"]) == {"done", "lost"}


def _ranks(launcher):
    """Return the processes that the launcher's session runs as ranks."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if os.getsid(int(process.name)) == launcher and b"-o" in words:
                rank = b"OMPI_COMM_WORLD_RANK=" in (process / "environ").read_bytes()
                found += [int(process.name)] if rank else []
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (["stream.rate=0.0"], "[stream] rate: found 0.0, expected > 0"),
        (["stream.deadline=-1.0"], "[stream] deadline: found -1.0, expected > 0"),
        (["stream.arrivals=late.txt"], "late.txt: line 3: found 1.5 after 2, expected ascending"),
        (["stream.columns=4"], "[stream] columns: found 4 with a random b"),
        (["workers.rates=[1.0, 2.0]"], "[workers] rates: found 2, expected 3"),
        (["code.scheme=polynomial"], "[code] scheme: found polynomial for a resident operand"),
        (["compare.deadlines=[0.2, 0.1]"], "[compare] deadlines: found [0.2, 0.1], expected"),
    ],
)
def test_mistakes(folder, settings, complaint):
    (folder / "late.txt").write_text("0.5\n2\n1.5\n")
    words = [word for setting in settings for word in ("--set", setting)]
    if "late.txt" in settings[0]:
        (folder / "job.toml").write_text(JOB.replace("rate = 40.0\n", "").replace("jobs = 25", ""))
    with hpcrefine("run", "job.toml", "-n", "4", "-o", "run.h5", *words, cwd=folder) as process:
        out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 2, err
    assert complaint in err
    assert "Traceback" not in err
    assert not (folder / "run.h5").exists()
    assert out == ""


def test_a_size_is_not_enough_to_run(folder):
    (folder / "job.toml").write_text(re.sub(r"a = .*\nb = .*\n", "operations = 1e6\n", JOB))
    with hpcrefine("run", "job.toml", "-n", "4", "-o", "run.h5", cwd=folder) as process:
        _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 2
    assert "[operands] operations: found a size only, expected matrices a and b" in err
