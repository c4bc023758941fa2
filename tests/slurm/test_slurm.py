"""The scripts of slurm/ and their runs under a real Slurm."""

import shutil
import subprocess
import time
from pathlib import Path

import h5py
import pytest

from hpcrefine.record.reader import read

SCRIPTS = Path(__file__).parents[2] / "slurm"
JOB = """
[job]
repeats = {repeats}
warmups = 0
[operands]
a = {{ random = "normal", shape = [32, 24] }}
b = {{ random = "normal", shape = [24, 20] }}
[code]
tasks = 4
[faults]
service = {{ distribution = "deterministic", mean = {seconds} }}
"""
STUDY = """
[sweep]
scaling = "strong"
ranks = [2, 3]
"""
LONG = {"repeats": 5, "seconds": 0.1}  # each job 0.6 s
LONGER = {"repeats": 70, "seconds": 0.1}  # than the 30 s after which Slurm looks for time limits
NODES = ("--ntasks=4", "--nodes=2", "--ntasks-per-node=2")
PMI2 = {"HPCREFINE_MPIEXEC": "srun --mpi=pmi2"}
SECONDS = 60


def make(folder, long):
    """Make a folder to submit from: job files, a study file and the scripts."""
    shutil.copytree(SCRIPTS, folder / "slurm")
    (folder / "quick.toml").write_text(JOB.format(repeats=2, seconds=0.001))
    (folder / "long.toml").write_text(JOB.format(**long))
    (folder / "study.toml").write_text(JOB.format(repeats=2, seconds=0.001) + STUDY)
    (folder / "tmp").mkdir()
    return folder


@pytest.fixture
def folder(tmp_path):
    return make(tmp_path, LONG)


@pytest.fixture(scope="module")
def limited(cluster, tmp_path_factory):
    """A run that will soon meet its time limit: begun by the first test, seen by the last."""
    folder = tmp_path_factory.mktemp("limited")
    make(folder, LONGER)
    submit = Submitting(cluster, folder)
    job = submit("run", "long.toml", "run.h5", options=NODES)
    submit.wait_for_jobs(job, 1)
    cluster.announce_limit(job, 58)
    return submit, job


class Submitting:
    """Submits the scripts from a folder."""

    def __init__(self, cluster, folder):
        self.cluster, self.folder = cluster, folder
        self.env = cluster.environment() | {"TMPDIR": str(folder / "tmp")}

    def __call__(self, script, *words, options=()):
        return self.cluster.submit(
            *options, f"slurm/{script}.sbatch", *words, cwd=self.folder, env=self.env
        )

    def said(self, job, name="hpcrefine"):
        return (self.folder / f"{name}-{job}.out").read_text()

    def ended(self, job, state, code):
        (found,) = self.cluster.wait(job)
        assert (found["JobState"], found["ExitCode"]) == (state, code), self.said(job)
        assert self.brought(), self.said(job)
        assert not list(self.folder.glob("*.part"))

    def brought(self):
        return not list((self.folder / "tmp").glob("hpcrefine*"))

    def wait_for_jobs(self, job, count):
        """Wait until a run says that so many jobs are finished."""
        end = time.monotonic() + SECONDS
        while f"[{count}/" not in (said := self.said(job) if self.there(job) else ""):
            assert time.monotonic() < end, said
            time.sleep(0.1)

    def there(self, job):
        return (self.folder / f"hpcrefine-{job}.out").exists()


@pytest.fixture
def submit(cluster, folder):
    return Submitting(cluster, folder)


def whole(path, jobs):
    """Check that a record is complete and right; return it."""
    record = read(path)
    assert record.complete
    assert record.jobs["job"].tolist() == list(range(jobs))
    assert set(record.jobs["status"]) == {"done"}
    assert set(record.jobs["verdict"]) == {"exact"}
    return record


def interrupted(path):
    """Check that a record opens with any reader, and is not complete; return its jobs."""
    with h5py.File(path, "r") as file:
        assert not file.attrs["complete"]
        jobs = file["jobs"][:]
    assert 1 <= len(jobs) < LONGER["repeats"]
    assert set(jobs["verdict"]) == {b"exact"}
    return jobs


def test_a_run_on_two_nodes(limited, submit, folder):
    job = submit("run", "quick.toml", "run.h5", options=NODES)
    submit.ended(job, "COMPLETED", "0:0")
    record = whole(folder / "run.h5", 2)
    assert record.workers["rank"].tolist() == [1, 2, 3]
    assert len(set(record.workers["host"])) == 2
    assert set(record.workers["threads"]) == {1}
    assert record.environment["slurm_job_id"] == job
    assert "exact" in submit.said(job)


def test_a_run_on_two_nodes_by_srun(submit, folder, mpich):
    submit.env |= submit.cluster.environment(mpich) | PMI2
    job = submit("run", "quick.toml", "run.h5", options=[*NODES, "--cpus-per-task=1"])
    submit.ended(job, "COMPLETED", "0:0")
    record = whole(folder / "run.h5", 2)
    assert len(set(record.workers["host"])) == 2
    assert record.environment["slurm_ntasks"] == "4"


def test_an_array_and_the_report_after_it(submit, folder):
    """One task of the array fails; the report comes all the same."""
    options = ["--ntasks=3", "--nodes=1-2", "--array=0-2"]
    array = submit("strong", "study.toml", options=options)
    options = [f"--dependency=afterany:{array}"]
    report = submit("report", "results/study", options=options)
    (found,) = submit.cluster.wait(report)
    assert found["JobState"] == "COMPLETED", submit.said(report, "report")
    tasks = {each["ArrayTaskId"]: each["ExitCode"] for each in submit.cluster.look(array)}
    assert tasks == {"0": "0:0", "1": "0:0", "2": "2:0"}
    records = sorted((folder / "results" / "study").glob("*.h5"))
    assert [len(whole(path, 2).workers) for path in records] == [1, 2]
    assert all(path.stem.partition("-")[2] in submit.said(report, "report") for path in records)
    assert (folder / "results" / "study" / "report.html").exists()
    assert submit.brought()


def ended_in_order(submit, job):
    """Check what a run leaves that was told of its end; return its jobs."""
    submit.ended(job, "FAILED", "3:0")
    jobs = interrupted(submit.folder / "run.h5")
    assert set(jobs["status"]) == {b"done"}
    assert f"/run.h5 holds {len(jobs)} jobs; go on with --resume" in submit.said(job)
    return jobs


def gone_on_with(submit, job, jobs, long):
    """Check what the run that went on leaves."""
    submit.ended(job, "COMPLETED", "0:0")
    record = whole(submit.folder / "run.h5", long["repeats"])
    for name in ("job", "start", "end"):
        assert record.jobs[name][: len(jobs)].tolist() == jobs[name].tolist()
    assert set(record.workers["session"]) == {0, 1}


def test_a_run_by_srun_that_is_told_to_end_and_goes_on(submit, folder, mpich):
    submit.env |= submit.cluster.environment(mpich) | PMI2
    job = submit("run", "long.toml", "run.h5", options=NODES)
    submit.wait_for_jobs(job, 1)
    submit.cluster.client("scancel", "--batch", "--signal=USR1", job)
    jobs = ended_in_order(submit, job)
    gone_on_with(submit, submit("run", "long.toml", "run.h5", options=NODES), jobs, LONG)


def test_a_cancelled_run_leaves_its_jobs(submit, folder):
    job = submit("run", "long.toml", "run.h5", options=["--ntasks=3", "--nodes=1-2"])
    submit.wait_for_jobs(job, 1)
    submit.cluster.client("scancel", job)
    (found,) = submit.cluster.wait(job)
    assert found["JobState"] == "CANCELLED"
    end = time.monotonic() + SECONDS
    while not submit.brought():
        assert time.monotonic() < end, submit.said(job)
        time.sleep(0.1)
    jobs = interrupted(folder / "run.h5")
    assert "go on with --resume" in submit.said(job)
    job = submit("run", "long.toml", "run.h5", options=["--ntasks=4", "--nodes=2"])
    gone_on_with(submit, job, jobs, LONG)


SCRIPT = """#!/bin/bash
{command}
"""


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            "srun hpcrefine run quick.toml -o run.h5",
            "ranks: found every process to be rank 0 of 1, expected 4 ranks (SLURM_NTASKS), "
            "started by srun: ",
        ),
        (
            "HPCREFINE_RANKS=4 mpiexec -n 3 hpcrefine run quick.toml -o run.h5",
            "ranks: found 3, expected 4 ranks (HPCREFINE_RANKS), started by Open MPI's mpiexec: "
            "HPCREFINE_RANKS=3 says that 3 are meant",
        ),
    ],
)
def test_ranks_that_are_not_those_of_the_job(submit, folder, command, said):
    (folder / "slurm" / "own.sbatch").write_text(SCRIPT.format(command=command))
    options = ["--ntasks=4", "--overcommit", "--nodes=1", "--output=hpcrefine-%j.out"]
    job = submit("own", options=options)
    submit.ended(job, "FAILED", "2:0")
    assert f"hpcrefine: {said}" in submit.said(job)
    assert "Traceback" not in submit.said(job)
    assert not (folder / "run.h5").exists()


def test_a_time_limit_ends_a_run_in_order_and_it_is_gone_on_with(limited):
    submit, job = limited
    jobs = ended_in_order(submit, job)
    job = submit("run", "long.toml", "run.h5", options=["--ntasks=3", "--nodes=1-2"])
    gone_on_with(submit, job, jobs, LONGER)


def test_the_scripts_are_clean():
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("no shellcheck")
    scripts = [
        *SCRIPTS.glob("*.sh"),
        *SCRIPTS.glob("*.sbatch"),
        *Path(__file__).parent.glob("*.sh"),
    ]
    subprocess.run([shellcheck, *scripts], cwd=SCRIPTS.parent, check=True)
