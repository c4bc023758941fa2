"""The command line from outside: what a run prints, exits with and leaves in its record."""

import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import hpcrefine
from hpcrefine.experiment.turns import turns
from hpcrefine.jobfile import load
from hpcrefine.launch import find_launcher
from hpcrefine.record.reader import read
from hpcrefine.record.writer import RecordWriter

JOB = """
[job]
repeats = 2
seed = 7
[operands]
a = { random = "normal", shape = [64, 48] }
b = { random = "normal", shape = [48, 40] }
[code]
scheme = "mds"
tasks = 6
redundancy = 1.5
[baseline]
oneshot = true
"""
CODED = 9  # ceil(1.5 * 6)
LAYERS = 3
PROGRESS = r"\[(\d+)/6\] (layered|oneshot) (warm-up|repeat) (\d): [\d. ]+ s"


def environment(**changes):
    """The environment without what would change how ranks are started."""
    prefixes = ("OMPI_", "PMI", "PRTE_", "SLURM_", "HPCREFINE_", "OMP_", "PYTHONUNBUFFERED")
    kept = {name: v for name, v in os.environ.items() if not name.startswith(prefixes)}
    return kept | changes


def call(*command, cwd, timeout=90, env=None):
    """Run a command to its end; at a timeout its whole session is killed."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(
        command, cwd=cwd, env=env or environment(), start_new_session=True, **pipes
    ) as child:
        try:
            out, err = child.communicate(timeout=timeout)
        except BaseException:
            for process in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    if os.getsid(int(process.name)) == child.pid:
                        os.kill(int(process.name), signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, child.returncode, out, err)


def hpcrefine_(*arguments, cwd, env=None):
    return call(sys.executable, "-m", "hpcrefine", *map(str, arguments), cwd=cwd, env=env)


def run(folder, *arguments, ranks=3):
    """Run the job with some arguments; return the record."""
    (folder / "small.toml").write_text(JOB)
    done = hpcrefine_("run", "small.toml", "-n", ranks, "-o", "x.h5", *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return read(folder / "x.h5")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def finished(folder):
    """The job, run once: what the command printed."""
    (folder / "small.toml").write_text(JOB)
    return hpcrefine_("run", "small.toml", "-n", "3", "-o", "run.h5", cwd=folder)


@pytest.fixture(scope="module")
def record(folder, finished):
    assert finished.returncode == 0, finished.stderr
    return read(folder / "run.h5")


@pytest.fixture(scope="module")
def job(folder, finished):
    return load(folder / "small.toml")


def test_a_run_leaves_one_file_that_opens(folder, finished):
    assert finished.returncode == 0, finished.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["run.h5", "small.toml"]
    with h5py.File(folder / "run.h5", "r") as file:
        assert file.attrs["format"] == "hpcrefine"
        assert file.attrs["complete"]
        assert {"workers", "jobs", "layers", "tasks"} <= file.keys()
        assert len(file["jobs"].attrs["units"]) == len(file["jobs"].dtype.names)


def test_jobs(record, job):
    jobs = record.jobs
    assert record.complete
    assert jobs["job"].tolist() == list(range(6))
    assert [tuple(row) for row in jobs[["variant", "repeat", "warmup"]].tolist()] == [
        (turn.variant, turn.repeat, turn.warmup) for turn in turns(job)
    ]
    assert jobs["warmup"].tolist() == [True, True, False, False, False, False]
    assert {tuple(row) for row in jobs[["n", "k", "p"]].tolist()} == {(64, 48, 40)}
    assert set(jobs["status"]) == {"done"}
    assert np.all(np.isnan(jobs["deadline"]))
    assert jobs["start"][0] == 0
    assert np.all(jobs["end"] > jobs["start"])
    assert np.all(jobs["start"][1:] >= jobs["end"][:-1])
    verdicts = {v: set(jobs["verdict"][jobs["variant"] == v]) for v in ("layered", "oneshot")}
    assert verdicts == {"layered": {"exact"}, "oneshot": {"within rounding"}}


def test_layers(record):
    layered = record.jobs["job"][record.jobs["variant"] == "layered"]
    for number in record.jobs["job"]:
        rows = record.layers[record.layers["job"] == number]
        if number not in layered:
            assert rows["layer"].tolist() == [0]
            assert np.isnan(rows["error_bound"][0])
            assert rows["error_measured"][0] < 1e-12
            assert rows["tasks_used"][0] == 6
            continue
        assert rows["layer"].tolist() == [0, 1, 2]
        assert rows["minijobs"].tolist() == [1, 2, 1]
        assert rows["share"].tolist() == [0.25, 0.75, 1]
        assert np.all(np.diff(rows["ready"]) >= 0)
        assert np.all(rows["ready"] > 0)
        assert np.array_equal(rows["ready"], rows["delay"])
        assert np.all(rows["error_measured"] > 0)
        assert np.all(rows["error_measured"] <= rows["error_bound"])
        assert np.all(np.diff(rows["error_bound"]) < 0)
        assert np.all(rows["relative_bound"] < rows["error_bound"])
        assert rows["tasks_used"].tolist() == [6, 6, 6]
        fates = sum(rows[f"tasks_{fate}"] for fate in ("used", "late", "purged", "lost"))
        assert fates.tolist() == [CODED] * 3


def test_tasks(record):
    for number, variant in zip(record.jobs["job"], record.jobs["variant"], strict=True):
        rows = record.tasks[record.tasks["job"] == number]
        layers, tasks = (LAYERS, CODED) if variant == "layered" else (1, 6)
        cells = {(layer, layer, task) for layer in range(layers) for task in range(tasks)}
        assert len(rows) == len(cells)
        assert set(rows[["layer", "unit", "task"]].tolist()) == cells
        assert set(rows["worker"]) == {1, 2}
        assert set(rows["status"]) <= {"used", "late", "purged"}
        assert np.all(rows["received"] >= rows["sent"])
        computed = rows["status"] != "purged"
        assert np.all(rows["compute"][computed] > 0)
        assert np.all(np.isnan(rows["compute"][~computed]))
        for layer in range(layers):
            mine = record.layers[(record.layers["job"] == number)]
            of_layer = rows[rows["layer"] == layer]
            used = np.count_nonzero(of_layer["status"] == "used")
            assert used == mine["tasks_used"][layer]


def test_workers_and_environment(record):
    workers = record.workers
    assert workers["rank"].tolist() == [1, 2]
    assert len(set(workers["pid"])) == 2
    assert np.all(workers["pid"] > 0)
    assert workers["threads"].tolist() == [1, 1]
    assert np.all(workers["host"] != "")
    assert all(re.fullmatch(r"[\d,-]+", cpus) for cpus in workers["cpus"])
    assert set(workers["kernel"]) <= {"int8", "float32", "float64"}
    facts = record.environment
    assert facts["kernel"] == workers["kernel"][0]
    for name in ("host", "cpu", "platform", "python", "numpy", "blas", "hdf5", "mpi", "mpi4py"):
        assert facts[name] not in ("", "unknown"), name
    assert facts["mpi4py"][0].isdigit()
    assert "MPI" in facts["mpi"]
    assert facts["cores"] >= 1
    assert facts["threads"] == 1


def test_attributes(record):
    attributes = record.attributes
    assert attributes["job"].strip() == JOB.strip()
    assert attributes["kind"] == "measured"
    assert attributes["hpcrefine_version"] == hpcrefine.__version__
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", attributes["created"])


def test_progress_is_plain_lines_on_stderr(finished, job, unwarned):
    lines = unwarned(finished.stderr).splitlines()
    shown = [re.fullmatch(PROGRESS, line) for line in lines]
    assert all(shown), finished.stderr
    assert [int(line[1]) for line in shown] == [1, 2, 3, 4, 5, 6]
    assert [line[2] for line in shown] == [turn.variant for turn in turns(job)]


def test_the_report_is_on_stdout_and_is_that_of_report(folder, finished):
    out = finished.stdout
    assert out.startswith("run.h5: measured; 2 workers and the master;")
    assert "64 x 48 x 40" in out
    rows = [line.split("|") for line in out.splitlines() if re.match(r"\| (layer|onesh)", line)]
    assert [row[1].strip() for row in rows] == ["layered"] * 3 + ["oneshot"]
    assert [row[-2].strip() for row in rows] == ["exact"] * 3 + ["within rounding"]
    assert "2 warm-ups left out" in out
    assert "interrupted" not in out
    assert hpcrefine_("report", "run.h5", cwd=folder).stdout == out


def test_report_as_json(folder, record):
    done = hpcrefine_("report", "run.h5", "--json", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    (table,) = json.loads(done.stdout)
    assert table["complete"] is True
    assert (table["finished"], table["warmups"], table["workers"]) == (6, 2, 2)
    assert [(row["variant"], row["layer"]) for row in table["rows"]] == [
        *(("layered", layer) for layer in range(3)),
        ("oneshot", 0),
    ]
    counted = record.jobs["job"][~record.jobs["warmup"] & (record.jobs["variant"] == "oneshot")]
    ready = record.layers["ready"][np.isin(record.layers["job"], counted)]
    assert table["baseline"] == pytest.approx(np.median(ready))


def test_report_as_csv(folder, record, tmp_path):
    done = hpcrefine_("report", "run.h5", "--csv", tmp_path / "deep" / "tables", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    target = tmp_path / "deep" / "tables" / "run.csv"
    assert done.stdout.endswith(f"wrote {target}\n")
    header, *rows = csv.reader(target.open())
    assert "ready_median [s]" in header
    assert [row[header.index("variant [1]")] for row in rows] == ["layered"] * 3 + ["oneshot"]
    assert all(len(row) == len(header) for row in rows)


def test_report_into_head(folder, record):
    script = f"'{sys.executable}' -m hpcrefine report run.h5 | head -1"
    done = call("/bin/sh", "-c", script, cwd=folder)
    assert done.stdout.startswith("run.h5: measured")
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


@pytest.mark.parametrize(
    ("records", "buffering"),
    [(1, {}), (9, {}), (1, {"PYTHONUNBUFFERED": "1"})],
    ids=["less than a buffer", "more than a buffer", "unbuffered"],
)
def test_report_to_a_reader_that_has_left(folder, record, buffering, records):
    script = f"('{sys.executable}' -m hpcrefine report {'run.h5 ' * records}; echo $? >&2) | true"
    done = call("/bin/sh", "-c", script, cwd=folder, env=environment(**buffering))
    assert done.stderr in ("0\n", "1\n")


@pytest.mark.parametrize("buffering", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "not"])
def test_report_to_a_full_disk(folder, record, buffering):
    script = f"'{sys.executable}' -m hpcrefine report run.h5 > /dev/full"
    done = call("/bin/sh", "-c", script, cwd=folder, env=environment(**buffering))
    assert done.returncode == 1
    assert done.stderr == "hpcrefine: failed: [Errno 28] No space left on device\n"


def test_under_mpiexec(tmp_path, record, unwarned):
    """The ranks are the launcher's, whatever -n says; the seed gives the same order of jobs."""
    (tmp_path / "small.toml").write_text(JOB)
    launcher = find_launcher()
    program = [sys.executable, "-m", "hpcrefine", "run", "small.toml", "-n", "7", "-o", "x.h5"]
    env = {name: v for name, v in launcher.environment(3).items() if "HPCREFINE" not in name}
    done = call(*launcher.command(3, program), cwd=tmp_path, env=environment() | env)
    assert done.returncode == 0, done.stderr
    lines = unwarned(done.stderr).splitlines()
    assert [bool(re.fullmatch(PROGRESS, line)) for line in lines] == [True] * 6
    assert done.stdout.startswith("x.h5: measured; 2 workers and the master;")
    again = read(tmp_path / "x.h5")
    assert again.complete
    assert again.workers["rank"].tolist() == [1, 2]
    for column in ("variant", "repeat", "warmup", "verdict"):
        assert again.jobs[column].tolist() == record.jobs[column].tolist()
    for column in ("job", "layer", "error_bound", "error_measured"):
        assert np.array_equal(again.layers[column], record.layers[column], equal_nan=True)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["small.toml", "x.h5"]


def test_default_output_is_in_results_below_the_working_folder(tmp_path):
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    (jobs / "named.toml").write_text(JOB)
    work = tmp_path / "work"
    work.mkdir()
    done = hpcrefine_(
        *("run", "../jobs/named.toml", "--set", "job.repeats=1", "--set", "job.warmups=0"),
        *("--set", "baseline.oneshot=false", "-n", "2"),
        cwd=work,
    )
    assert done.returncode == 0, done.stderr
    (path,) = (work / "results").iterdir()
    assert re.fullmatch(r"named-\d{8}T\d{12}\.h5", path.name)
    assert done.stdout.startswith(f"results/{path.name}: ")
    assert [path.name for path in jobs.iterdir()] == ["named.toml"]
    saved = read(path)
    assert saved.jobs["variant"].tolist() == ["layered"]
    assert saved.workers["rank"].tolist() == [1]


def test_overrides_take_effect_and_are_recorded(tmp_path):
    overrides = (
        "kernel.name=float32",
        "kernel.threads = 2",
        "resolution.stop={tolerance = 0.1}",
        "record.tasks=false",
        "verify.exact=off",
        "job.warmups=0",
        "job.repeats=9",
        "job.repeats=2",
    )
    saved = run(tmp_path, *(word for text in overrides for word in ("--set", text)))
    assert saved.attributes["job"].rstrip().splitlines() == [
        *JOB.rstrip().splitlines(),
        *(f"# --set {text}" for text in overrides),
    ]
    assert saved.complete
    assert len(saved.jobs) == 2 * 2
    assert not saved.jobs["warmup"].any()
    assert saved.workers["kernel"].tolist() == ["float32"] * 2
    assert saved.workers["threads"].tolist() == [2, 2]
    assert (saved.environment["kernel"], saved.environment["threads"]) == ("float32", 2)
    assert len(saved.tasks) == 0
    assert saved.layers["tasks_used"].tolist() == [6] * len(saved.layers)
    assert set(saved.jobs["verdict"]) == {"unchecked"}
    assert np.all(np.isnan(saved.layers["error_measured"]))
    layered = saved.jobs["job"][saved.jobs["variant"] == "layered"]
    for number in layered:
        rows = saved.layers[saved.layers["job"] == number]
        assert rows["layer"].tolist() == [0, 1]
        assert rows["error_bound"][1] <= 0.1 < rows["error_bound"][0]


def settings(*texts):
    return [word for text in texts for word in ("--set", text)]


def test_codes_that_are_compared(tmp_path):
    codes = '[{ scheme = "uncoded" }, { scheme = "lt", name = "rateless", verify = "freivalds" }]'
    saved = run(
        tmp_path,
        *settings(f"compare.codes={codes}", "compare.stragglers=[0, 1]", "job.repeats=3"),
        *settings("faults.slowdown=20.0", "faults.service.distribution=deterministic"),
        *settings("faults.service.mean=0.0005"),
    )
    jobs = saved.jobs
    cells = {("uncoded", "uncoded"), ("rateless", "lt"), ("oneshot", "")}
    found = jobs[["variant", "scheme", "stragglers"]].tolist()
    assert {name: found.count(name) for name in found} == {
        (*cell, stragglers): 4 for cell in cells for stragglers in (0, 1)
    }
    verdicts = set(jobs[["variant", "verdict"]].tolist())
    assert verdicts == {
        *(("uncoded", "exact"), ("rateless", "exact"), ("oneshot", "within rounding"))
    }
    assert set(jobs["dead"]) == {0}
    assert np.all(jobs["sent_bytes"] > 0)
    layers = saved.layers[np.isin(saved.layers["job"], jobs["job"][jobs["variant"] == "uncoded"])]
    assert layers["computed"] == pytest.approx(layers["minijobs"])
    assert np.all(layers["checking"] == 0)
    checked = saved.layers[np.isin(saved.layers["job"], jobs["job"][jobs["scheme"] == "lt"])]
    assert np.all(checked["checking"] > 0)


@pytest.mark.parametrize("rank", ["2", "1"])
def test_a_worker_that_lies_is_found_out_and_dropped(tmp_path, rank):
    lies = f"faults.worker=[{{ rank = {rank}, corrupt = {{ rate = 1.0 }} }}]"
    checks = ("code.verify=freivalds", "code.lies=2", "baseline.oneshot=false")
    saved = run(tmp_path, *settings(lies, *checks))
    assert set(saved.jobs["verdict"]) == {"exact"}
    assert set(saved.jobs["dead"]) == {1}
    events = saved.events
    assert set(events["rank"]) == {int(rank)}
    assert sorted(events["kind"]) == ["dropped", "lied", "lied"]
    assert set(events["job"]) == {0}
    assert "rejected" in saved.tasks["status"]


def test_a_worker_that_lies_unchecked_makes_results_wrong(tmp_path):
    (tmp_path / "small.toml").write_text(JOB)
    lies = "faults.worker=[{ rank = 1, corrupt = { rate = 1.0 } }]"
    plain = ("code.scheme=uncoded", "code.redundancy=1.0", "baseline.oneshot=false")
    words = settings(lies, *plain)
    done = hpcrefine_("run", "small.toml", "-n", "3", "-o", "x.h5", *words, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith("\nhpcrefine: 3 jobs gave wrong results\n")
    saved = read(tmp_path / "x.h5")
    assert saved.complete
    assert set(saved.jobs["verdict"]) == {"wrong"}


def test_jobs_are_lost_when_all_workers_lie(tmp_path):
    """Nobody is left who is believed; the record is complete all the same."""
    (tmp_path / "small.toml").write_text(JOB)
    lies = "faults.worker=[{ count = 2, corrupt = { rate = 1.0 } }]"
    words = settings(lies, "code.verify=freivalds", "code.lies=1", "baseline.oneshot=false")
    done = hpcrefine_("run", "small.toml", "-n", "3", "-o", "x.h5", *words, cwd=tmp_path)
    assert done.returncode == 1
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("hpcrefine")]
    assert said.startswith("hpcrefine: 3 of 3 jobs were lost: no worker is left: rank ")
    assert "rank 1 dropped" in said
    assert "rank 2 dropped" in said
    assert "Traceback" not in done.stderr
    saved = read(tmp_path / "x.h5")
    assert saved.complete
    assert set(saved.jobs["status"]) == {"lost"}
    assert set(saved.jobs["verdict"]) == {"unchecked"}
    assert len(saved.layers) == 0


@pytest.mark.skipif(not find_launcher().tolerant, reason="a dead worker ends the run")
def test_a_job_that_is_lost_in_the_middle_keeps_what_was_delivered(tmp_path):
    (tmp_path / "small.toml").write_text(JOB)
    deaths = "faults.worker=[{ count = 2, kill = { after = 10 } }]"
    plain = ("code.scheme=uncoded", "code.redundancy=1.0", "baseline.oneshot=false")
    words = settings(deaths, *plain, "job.warmups=0")
    done = hpcrefine_("run", "small.toml", "-n", "3", "-o", "x.h5", *words, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    saved = read(tmp_path / "x.h5")
    assert saved.complete
    assert saved.jobs["status"].tolist() == ["done", "lost"]
    assert saved.jobs["verdict"].tolist() in (["exact", "unchecked"], ["exact", "exact"])
    assert len(saved.layers[saved.layers["job"] == 1]) < LAYERS
    assert saved.jobs["dead"].tolist()[1] == 2
    assert "lost" in saved.tasks["status"][saved.tasks["job"] == 1]
    assert {1, 2} == set(saved.events["rank"][saved.events["kind"] == "died"])


def test_resume_under_mpiexec(tmp_path, unwarned):
    """A record cut off after its first jobs; the launcher's ranks go on with it."""
    done = run(tmp_path)
    with RecordWriter(
        tmp_path / "cut.h5",
        job_text=done.attributes["job"],
        kind="measured",
        environment=done.environment,
        workers=[],
    ) as writer:
        for number in (0, 1):
            tables = (done.jobs, done.layers, done.tasks)
            job, layers, tasks = (
                [dict(zip(rows.dtype.names, row.item(), strict=True)) for row in rows]
                for rows in (table[table["job"] == number] for table in tables)
            )
            writer.append(*job, layers, tasks)
        writer.close(complete=False)
    launcher = find_launcher()
    program = [sys.executable, "-m", "hpcrefine", "run", "small.toml", "-o", "cut.h5", "--resume"]
    env = {name: v for name, v in launcher.environment(3).items() if "HPCREFINE" not in name}
    again = call(*launcher.command(3, program), cwd=tmp_path, env=environment() | env)
    assert again.returncode == 0, again.stderr
    lines = unwarned(again.stderr).splitlines()
    assert [line[:5] for line in lines] == [f"[{n}/6]" for n in (3, 4, 5, 6)]
    resumed = read(tmp_path / "cut.h5")
    assert resumed.complete
    for column in ("job", "variant", "repeat", "verdict"):
        assert resumed.jobs[column].tolist() == done.jobs[column].tolist()
    assert resumed.jobs["start"][2] == pytest.approx(resumed.jobs["end"][1])


def test_files_and_sampled_verification(tmp_path):
    """Operands of two formats, beside a job file that is not in the working folder."""
    generator = np.random.default_rng(0)
    a = generator.standard_normal((40, 30)) * 10.0 ** generator.uniform(-5, 5, (40, 1))
    b = generator.standard_normal((30, 20)).astype(np.float32)
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    np.save(jobs / "a.npy", np.asfortranarray(a))
    with h5py.File(jobs / "b.h5", "w") as file:
        file["group/x"] = b
    (jobs / "files.toml").write_text(
        "[job]\nrepeats = 1\n[operands]\na = { file = 'a.npy' }\n"
        "b = { file = 'b.h5', dataset = 'group/x' }\n"
        "[resolution]\ndigits = 3\nlayering = 'square'\n[code]\ntasks = 5\n"
        "[baseline]\noneshot = true\n[verify]\nexact = 'sampled'\n[record]\nfile = 'here.h5'\n"
    )
    done = hpcrefine_("run", "jobs/files.toml", "-n", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here.h5", "jobs"]
    saved = read(tmp_path / "here.h5")
    verdicts = set(zip(saved.jobs["variant"], saved.jobs["verdict"], strict=True))
    assert verdicts == {("layered", "exact (sampled)"), ("oneshot", "within rounding")}
    assert set(saved.jobs[["n", "k", "p"]].tolist()) == {(40, 30, 20)}
    rows = saved.layers[saved.layers["job"] == 0]
    assert np.all(rows["error_measured"] <= rows["error_bound"])
    assert len(rows) == 3


def test_force_replaces_a_record(tmp_path):
    (tmp_path / "x.h5").write_bytes(b"an old record")
    saved = run(tmp_path, "--force", "--set", "job.repeats=1", ranks=2)
    assert saved.complete
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.toml", "x.h5"]


def test_version(tmp_path):
    done = hpcrefine_("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"hpcrefine {hpcrefine.__version__}\n")
    script = Path(sys.executable).with_name("hpcrefine")
    if script.exists():
        assert call(str(script), "--version", cwd=tmp_path).stdout == done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"), [((), "usage: hpcrefine"), (("run",), "JOB.toml"), (("report",), "FILE")]
)
def test_without_what_is_needed(tmp_path, arguments, says):
    done = hpcrefine_(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help")], ids=str)
def test_help(tmp_path, arguments):
    done = hpcrefine_(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: hpcrefine")
    assert list(tmp_path.iterdir()) == []
