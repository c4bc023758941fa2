"""Studies run for real: every point on ranks of its own, by the command."""

import json
import os
import signal
import subprocess
import sys
import time

from hpcrefine.record.reader import read

START_SECONDS = 60
END_SECONDS = 60


def start(folder, *arguments, **options):
    prefixes = ("OMPI_", "PMI", "PRTE_", "SLURM_", "HPCREFINE_", "OMP_")
    env = {name: v for name, v in os.environ.items() if not name.startswith(prefixes)}
    command = [sys.executable, "-m", "hpcrefine", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=env, **pipes)


def call(folder, *arguments):
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=START_SECONDS + END_SECONDS)
    assert "Traceback" not in err
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def told(done):
    """What was said of each point, by its number."""
    points = [line.split(": ", 2) for line in done.stdout.splitlines() if line.startswith("[")]
    return {int(point[0].split()[1]): point[-1] for point in points}


def test_a_study_from_door_to_door(study_file, tmp_path):
    study_file("ranks = [2, 3]\nresolution.digits = [1, 2]")
    listed = call(tmp_path, "study", "run", "study.toml", "--dry-run")
    assert (listed.returncode, listed.stdout.count("pending")) == (0, 4)
    assert not (tmp_path / "results").exists()

    one = call(tmp_path, "study", "run", "study.toml", "--point", 2)
    assert (one.returncode, list(told(one))) == (0, [2])
    folder = tmp_path / "results" / "small"
    manifest = json.loads((folder / "study.json").read_text())
    first = (folder / manifest["points"][2]["file"]).stat().st_mtime_ns

    rest = call(tmp_path, "study", "run", "study.toml", "--together", "--scratch", "local")
    assert rest.returncode == 0, rest.stdout
    assert set(told(rest)) == {0, 1, 2, 3}
    assert told(rest)[2] == "done before, 2 jobs"
    assert "4 of 4 points done, 0 failed, 0 left" in rest.stdout
    assert not list((tmp_path / "local").rglob("*.h5"))
    for point in manifest["points"]:
        record = read(folder / point["file"])
        assert record.complete
        assert len(record.workers) == point["ranks"] - 1
        digits = point["settings"]["resolution.digits"]
        assert set(record.layers["layer"]) == set(range(2 * digits - 1))
        assert set(record.jobs["verdict"]) == {"exact"}
        assert f"# --set resolution.digits={digits}" in record.attributes["job"]
        log = (folder / point["file"]).with_suffix(".log").read_text()
        assert log.startswith("$ ")
        assert "[2/2] layered repeat 1" in log
    assert (folder / manifest["points"][2]["file"]).stat().st_mtime_ns == first


def test_a_point_that_fails_leaves_the_others_alone(study_file, tmp_path):
    study_file('ranks = [2, 3]\ncode = [{ scheme = "mds", redundancy = 2.0, survive = 1 }]')
    done = call(tmp_path, "study", "run", "study.toml", "-o", "x")
    assert done.returncode == 1
    assert told(done)[1] == "done, 2 jobs in " + told(done)[1].rpartition(" in ")[2]
    assert told(done)[0].startswith("failed")
    assert "exit code 2" in done.stdout
    assert "survive" in done.stdout  # what the run said
    assert "1 of 2 points done, 1 failed, 0 left" in done.stdout


def test_an_interrupted_study_goes_on(study_file, tmp_path):
    service = 'faults.service = [{ distribution = "deterministic", mean = 0.005 }]'
    study_file(f"ranks = [3, 2]\njob.repeats = [40]\n{service}")
    study = start(tmp_path, "study", "run", "study.toml", "-o", "x", "--scratch", "local")
    local = tmp_path / "local" / "small"
    deadline = time.monotonic() + START_SECONDS
    while not any(len(read(path, {}).jobs) > 2 for path in local.glob("0*.h5")):
        assert study.poll() is None, study.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    study.send_signal(signal.SIGINT)
    out, err = study.communicate(timeout=END_SECONDS)
    assert (study.returncode, err) == (3, "")
    assert "0 of 2 points done, 0 failed, 2 left" in out
    (path,) = (tmp_path / "x").glob("0*.h5")
    finished = len(read(path).jobs)
    assert not read(path).complete
    assert 2 < finished < 40
    assert not list(local.glob("*.h5"))
    done = call(tmp_path, "study", "run", "study.toml", "-o", "x")
    assert done.returncode == 0, done.stdout
    for path in (tmp_path / "x").glob("0*.h5"):
        assert read(path).complete
        assert len(read(path).jobs) == 40


def test_under_an_mpi_launcher_it_is_refused(study_file, tmp_path, monkeypatch):
    study_file("ranks = [2]")
    from hpcrefine.cli import main

    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    assert main(["study", "run", str(tmp_path / "study.toml")]) == 2
