"""What is handed to Slurm: scripts, commands, refusals; tests/slurm submits for real."""

import re
import shlex
import subprocess
import sys

import pytest

from hpcrefine.cli import main
from hpcrefine.errors import InputError
from hpcrefine.study.plan import plan
from hpcrefine.study.slurm import Submission

SLURM = """
ranks = [2, 3, 5]
nodes = [1, 1, 2]
runs = 2
kernel.threads = [2]
slurm = { time = "00:10:00", exclusive = true, launcher = "srun --mpi=pmi2", scratch = "$TMPDIR" }
"""


@pytest.fixture
def submission(study_file, tmp_path):
    def make(sweep=SLURM, options=()):
        return Submission(plan(study_file(sweep), ["job.seed=3"], tmp_path / "my study"), options)

    return make


def test_scripts_and_commands(submission, tmp_path):
    shown = submission(options=["--partition=big"]).shown()
    folder = tmp_path / "my study"
    assert f"#SBATCH --output='{folder}/slurm-%A_%a.out'\n" in shown
    for line in (
        "#SBATCH --job-name=small",
        "#SBATCH --signal=B:USR1@60",
        "#SBATCH --cpus-per-task=2",
        "#SBATCH --time=00:10:00",
        "#SBATCH --exclusive",
        "export HPCREFINE_MPIEXEC='srun --mpi=pmi2'",
    ):
        assert f"{line}\n" in shown
    program = f"{shlex.quote(sys.executable)} -m hpcrefine"
    assert f"exec {program} study run {tmp_path}/study.toml -o '{folder}' --set job.seed=3" in shown
    assert '--point "$SLURM_ARRAY_TASK_ID" --scratch "$TMPDIR"\n' in shown
    arrays = re.findall(r"^sbatch .*--array=(\S+) --ntasks=(\d) --nodes=(\d) (\S+)", shown, re.M)
    assert {(ranks, nodes, extra) for _, ranks, nodes, extra in arrays} == {
        ("2", "1", "--partition=big"),
        ("3", "1", "--partition=big"),
        ("5", "2", "--partition=big"),
    }
    numbers = [number for array, *_ in arrays for number in array.split(",")]
    assert sorted(map(int, numbers)) == list(range(6))
    assert "sbatch --parsable --dependency=afterany:JOB:JOB:JOB --ntasks=1" in shown


def test_scripts_are_sound_bash(submission):
    for text in submission().shown().split("# /")[1:]:
        script = text.partition("\n")[2].partition("\nsbatch ")[0]
        assert script.startswith("#!/usr/bin/env bash\n")
        checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
        assert (checked.returncode, checked.stderr) == (0, "")


def test_points_that_are_done_are_not_submitted(submission, tmp_path, write_record):
    folder = tmp_path / "my study"
    folder.mkdir()
    points = submission("ranks = [2, 3]").study.manifest.points
    write_record(folder / points[0].file, 2)
    shown = submission("ranks = [2, 3]").shown()
    assert re.findall(r"--array=(\S+)", shown) == ["1"]
    assert "--nodes" not in shown.partition("sbatch --parsable --array")[2].partition("\n")[0]
    write_record(folder / points[1].file, 2)
    with pytest.raises(InputError, match="found no point that is not done or running"):
        next(submission("ranks = [2, 3]").submit())


def test_points_that_are_being_run_are_not_submitted(submission, tmp_path):
    folder = tmp_path / "my study"
    folder.mkdir()
    points = submission("ranks = [2, 3]").study.manifest.points
    writing = (
        "import sys; from hpcrefine.record.writer import RecordWriter\n"
        "rows = {'environment': {}, 'workers': []}\n"
        "with RecordWriter(sys.argv[1], job_text='', kind='measured', **rows):\n"
        "    print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", writing, str(folder / points[1].file)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as writer:
        assert writer.stdout.readline() == "open\n"
        assert re.findall(r"--array=(\S+)", submission("ranks = [2, 3]").shown()) == ["0"]
        writer.communicate(timeout=60)


def test_without_slurm(submission, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="sbatch: found No such file"):
        next(submission().submit())


def test_what_slurm_refuses(submission, tmp_path, monkeypatch):
    tool = tmp_path / "sbatch"
    tool.write_text("#!/bin/sh\necho 'sbatch: error: invalid\n  partition' >&2\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(InputError, match="found sbatch: error: invalid partition, expected a job"):
        next(submission().submit())


def test_the_word(study_file, capsys, tmp_path):
    path = study_file("ranks = [2, 3]")
    code = main(["study", "submit", str(path), "--dry-run", "--sbatch=--qos=night"])
    assert code == 0
    shown = capsys.readouterr().out
    assert shown.count("--qos=night") == 3
    assert f"exec {sys.executable} -m hpcrefine report {tmp_path.cwd()}/results/small" in shown
