"""The examples under jobs/ do what they say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hpcrefine.codes import CODES
from hpcrefine.inputs import samples
from hpcrefine.inputs.operands import check
from hpcrefine.job import InferenceJob, Job
from hpcrefine.jobfile import load
from hpcrefine.launch import find_launcher
from hpcrefine.record.reader import read

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
    assert found.keys() >= {"quickstart", "normal-4096", "codes", "faults"}
    networks = {name for name, job in found.items() if isinstance(job, InferenceJob)}
    assert networks == {"inference-dense", "inference-vgg"}
    assert all(isinstance(found[name], Job) for name in found.keys() - networks)
    assert check(found["quickstart"]) == (4096, 784, 4096)
    assert check(found["normal-4096"]) == (4096, 4096, 4096)
    assert check(found["codes"]) == (768, 784, 768)
    assert check(found["faults"]) == (1024, 784, 1024)


def run(name, folder, *overrides):
    """Run an example on 7 ranks, fast; return its record and the table of codes."""
    words = [word for text in overrides for word in ("--set", text)]
    command = [sys.executable, "-m", "hpcrefine"]
    for step in (
        ["run", str(JOBS / name), "-n", "7", "-o", "x.h5", *words],
        ["report", "--codes", "x.h5"],
    ):
        done = subprocess.run(
            [*command, *step], cwd=folder, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
    return read(folder / "x.h5"), done.stdout


def test_every_code_is_exact_with_and_without_stragglers(tmp_path):
    fast = 'faults.service={distribution = "exponential", mean = 0.001}'
    record, table = run("codes.toml", tmp_path, "job.repeats=1", "job.warmups=0", fast)
    assert set(record.jobs["verdict"]) == {"exact"}
    assert set(record.jobs["scheme"]) == set(CODES)
    assert sorted(record.jobs["stragglers"]) == [0] * 8 + [1] * 8 + [2] * 8
    for scheme in CODES:
        assert len(re.findall(rf"\| {scheme} +\| {scheme} +\| +1 \| +0 \|", table)) == 3


@pytest.mark.parametrize("name", ["stream", "splits", "slowing", "reality"])
def test_streams_are_exact(tmp_path, name):
    record, _ = run(f"{name}.toml", tmp_path, "stream.jobs=4", "job.warmups=0", "stream.rate=50.0")
    assert record.complete
    assert set(record.jobs["verdict"]) <= {"exact (sampled)", "unchecked"}
    done = record.jobs[record.jobs["status"] == "done"]
    assert set(done["verdict"]) == {"exact (sampled)"}


@pytest.mark.skipif(not find_launcher().tolerant, reason="a dead worker ends the run")
def test_the_run_in_which_everything_goes_wrong_is_exact(tmp_path):
    record, _ = run("faults.toml", tmp_path)
    assert record.complete
    assert set(record.jobs["verdict"]) == {"exact"}
    assert set(record.jobs["status"]) == {"done"}
    events = {(event["rank"], event["kind"]) for event in record.events}
    assert events >= {(3, "silent"), (4, "died"), (5, "lied")}
    assert {rank for rank, kind in events if kind in ("died", "silent")} == {3, 4}
    dead = record.jobs["dead"].tolist()
    assert dead == sorted(dead)
    assert (dead[0], dead[-1]) in ((0, 2), (0, 3))
    assert "rejected" in record.tasks["status"]


@pytest.mark.parametrize(
    ("name", "variants"),
    [
        ("inference-dense", {"adaptive", "all"}),
        ("inference-vgg", {"adaptive", "all"}),
        ("paper/fashion-one-bit", {"adaptive", "published", "published, all"}),
        ("paper/mnist-even-odd", {"adaptive", "all", "published", "published, all"}),
    ],
)
def test_networks_and_samples_fit(name, variants):
    job = load(JOBS / f"{name}.toml")
    assert samples.check(job) == 10_000
    assert dict(job.settings).keys() == variants


def test_a_network_of_the_examples_is_as_good_early(tmp_path):
    few = [f"{key}.rows=[0,2000]" for key in ("samples.images", "samples.labels")]
    command = [
        sys.executable,
        "-m",
        "hpcrefine",
        "run",
        str(JOBS / "paper" / "mnist-even-odd.toml"),
    ]
    words = [word for text in ("job.repeats=1", "job.warmups=0", *few) for word in ("--set", text)]
    done = subprocess.run(
        [*command, "-n", "3", "-o", "x.h5", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    record = read(tmp_path / "x.h5")
    accuracy = {
        job["variant"]: record.upgrades[record.upgrades["job"] == job["job"]]["accuracy"]
        for job in record.jobs
    }
    assert set(record.jobs["verdict"]) == {"exact", "unchecked"}
    (oneshot,) = accuracy["oneshot"]
    assert oneshot > 0.95
    assert abs(accuracy["adaptive"][0] - oneshot) < 0.01
    assert abs(accuracy["adaptive"][-1] - oneshot) < 0.005
    assert accuracy["published"][0] < 0.6
