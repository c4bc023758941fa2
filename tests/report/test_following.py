"""How the split followed its workers, from estimates by hand."""

import csv
import json
import math

import numpy as np
import pytest

from hpcrefine.cli import main
from hpcrefine.record import schema
from hpcrefine.record.reader import read
from hpcrefine.record.writer import RecordWriter
from hpcrefine.report import report
from hpcrefine.report.following import follow

SLOWS = '[job]\nname = "x"\n[[faults.worker]]\nrank = 2\nslows = [[20, 4.0]]\n'


@pytest.fixture
def write_estimates(tmp_path, make_row, make_stream):
    """Write streams whose workers have these tasks and means, one of each a job."""

    def write(*streams, job_text=SLOWS):
        path = tmp_path / "run.h5"
        workers = [make_row("workers", rank=rank) for rank in range(3)]
        given = {"job_text": job_text, "kind": "measured", "environment": {}, "workers": workers}
        with RecordWriter(path, **given) as writer:
            first = 0
            for workers, settings in streams:
                count = len(workers[0][0])
                jobs, layers, _ = make_stream(first, count, **settings)
                rows = np.zeros((count, len(workers)), schema.dtype("estimates"))
                rows["job"] = first + np.arange(count)[:, None]
                rows["worker"] = 1 + np.arange(len(workers))
                for place, (tasks, means) in enumerate(workers):
                    rows["tasks"][:, place], rows["mean"][:, place] = tasks, means
                writer.extend(jobs, layers, rows.reshape(-1))
                first += count
        return path

    return write


def steady(tasks, mean, jobs=50):
    return [tasks] * jobs, [math.nan] + [mean] * (jobs - 1)


def test_a_few_jobs_of_each_worker(write_estimates):
    ramp = list(range(51)), [math.nan, *np.arange(1, 51) / 100]
    path = write_estimates(([ramp, steady(3, 0.5, 51)], {}), ([steady(9, 1.0, 4)], {"repeat": 1}))
    rows = follow(read(path)).rows
    found = [(r.repeat, r.worker, r.job, r.tasks) for r in rows]
    assert found == [
        *((0, 1, job, job) for job in range(0, 51, 10)),
        *((0, 2, job, 3) for job in range(0, 51, 10)),
        *((1, 1, job, 9) for job in range(4)),
    ]
    assert [r.mean for r in rows[:3]] == pytest.approx([math.nan, 0.1, 0.2], nan_ok=True)


def test_one_estimate_counts_until_the_next(write_streams):
    rows = follow(read(write_streams({"jobs": 11, "estimates": ((6, 0.25), (2, 1.0))}))).rows
    assert [(r.worker, r.job, r.tasks) for r in rows] == [
        (worker, job, tasks) for worker, tasks in ((1, 6), (2, 2)) for job in range(0, 11, 2)
    ]


def slowing(follows=5, seen=3):
    """A worker that takes 4 times as long from job 20 on; its mean and tasks follow later."""
    means = [math.nan] + [0.1] * (19 + seen) + [0.4] * (30 - seen)
    return [8] * (20 + follows) + [2] * (30 - follows), means


def test_how_long_the_split_took_since_the_worker_slowed_down(write_estimates):
    path = write_estimates(([steady(4, 0.1), slowing()], {"split": "optimal"}))
    (change,) = follow(read(path)).changes
    assert (change.worker, change.job, change.jobs) == (2, 20, 5)
    assert (change.before, change.after) == (0.1, 0.4)
    assert (change.tasks_before, change.tasks_after) == (8, 2)


@pytest.mark.parametrize("text", ["", "no TOML [", "[faults]\nworker = 3\n", '[job]\nname = "x"\n'])
def test_where_the_job_file_does_not_say_the_estimates_do(write_estimates, text):
    path = write_estimates(([steady(4, 0.1), slowing()], {}), job_text=text)
    (change,) = follow(read(path)).changes
    assert (change.job, change.jobs) == (23, 2)


def test_what_did_not_change_or_was_not_followed(write_estimates):
    little = [8] * 25 + [7] * 25, [0.1] * 25 + [0.14] * 25
    ignored = [8] * 50, [0.1] * 25 + [0.4] * 25
    unknown = [8] * 25 + [2] * 25, [math.nan] * 50
    short = [8, 2], [0.1, 0.4]
    path = write_estimates(([little, ignored, unknown], {}), ([short], {"repeat": 1}))
    assert follow(read(path)).changes == ()


def test_the_text(write_estimates):
    path = write_estimates(([steady(4, 0.1), slowing()], {}))
    text = report([path], split=True)
    cells = [
        [c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if "|" in line
    ]
    assert cells[0] == ["stream", "repeat", "worker", *(f"job {j}" for j in (0, 9, 19, 29, 39, 49))]
    assert cells[2] == ["layered", "0", "1", "4 (-)", *["4 (100)"] * 5]
    assert cells[3] == ["layered", "0", "2", "8 (-)", *["8 (100)"] * 2, *["2 (400)"] * 3]
    assert (
        "layered, repeat 0: worker 2 changed at job 20 from 100 to 400 ms, its tasks from 8 to 2 "
        "(within 10% or one task after 5 jobs)\n"
    ) in text


def test_records_without_estimates(write, jobs):
    assert "no estimates in this record" in report([write(jobs)], split=True)


def test_programs_get_it_too(write_estimates, tmp_path, capsys):
    path = write_estimates(([steady(4, 0.1), slowing()], {}))
    assert main(["report", str(path), "--split", "--json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)
    assert (len(table["rows"]), table["changes"][0]["jobs"]) == (12, 5)
    report([path], split=True, csv=tmp_path / "out", plot=tmp_path / "out")
    assert (tmp_path / "out/run-distribution.png").exists()
    with (tmp_path / "out/run.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [rows[1][name] for name in ("worker [1]", "job [1]", "tasks [1]", "mean [s]")] == [
        *("1", "9", "4", "0.1")
    ]
