"""What a measured record tells of its workers."""

from dataclasses import replace

import numpy as np
import pytest

from hpcrefine.errors import InputError
from hpcrefine.jobfile import load
from hpcrefine.record import schema
from hpcrefine.record.writer import RecordWriter
from hpcrefine.simulate.calibration import Calibration, Log, _communication, _purge
from hpcrefine.simulate.simulation import Simulation

JOB = """
[job]
repeats = 1
[operands]
operations = 8.0
[code]
scheme = "mds"
tasks = 2
redundancy = 1.5
unit = "layer"
[stream]
jobs = {jobs}
rate = {rate}
"""
TOOK = {1: 0.25, 2: 0.5, 3: 1.0}  # of a digit product in a task, by worker
APART, DECODE, OVERHEAD = 0.125, 0.0625, 0.03125


def row(table, **values):
    defaults = {
        column.name: (column.values or ("",))[0]
        if "S" in column.dtype
        else np.dtype(column.dtype).type(0).item()
        for column in schema.TABLES[table]
    }
    return defaults | values


def job_row(number, **values):
    given = {"variant": "layered", "status": "done", "rate": 1.0, "redundancy": 1.5}
    return row("jobs", job=number, split="uniform", **(given | values))


@pytest.fixture
def measured(tmp_path):
    """Write a record of jobs whose tasks are as said above, and a warm-up."""

    def written(*, tasks=True, kind="measured", workers=3, jobs=4, variant="layered", units=3):
        path = tmp_path / "measured.h5"
        nobody = [row("workers", rank=1 + worker) for worker in range(workers)]
        options = {"job_text": "", "kind": kind, "environment": {}, "workers": nobody}
        with RecordWriter(path, force=True, **options) as writer:
            for number in range(jobs):
                warmup, start = number == 0, 10.0 * number
                job = job_row(
                    number, warmup=warmup, arrival=start - 1, start=start, variant=variant
                )
                job["end"] = start + 10 - OVERHEAD
                layers, done = [], []
                for layer, cells in enumerate((1, 2, 1)):
                    layers.append(row("layers", job=number, layer=layer, decode=DECODE))
                    for worker in range(1, 1 + workers):
                        size = cells / 2  # K = 2 tasks
                        took = 100.0 if warmup else TOOK[worker] * size
                        purged = layer == 2 and worker == 3
                        clock = 5.0 * layer + APART + took
                        given = {"job": number, "layer": layer, "unit": layer, "task": worker - 1}
                        given |= {"worker": worker, "received": clock, "refine": took / 4}
                        given |= {"compute": np.nan if purged else took * 3 / 4, "status": "used"}
                        if layer < units:
                            done.append(row("tasks", **given))
                writer.append(job, layers, done if tasks else [])
        return path

    return written


@pytest.fixture
def job(tmp_path):
    def loaded(*overrides, jobs=200, rate=0.01):
        path = tmp_path / "job.toml"
        path.write_text(JOB.format(jobs=jobs, rate=rate))
        return load(path, overrides)

    return loaded


def test_what_is_no_task(measured):
    found = Calibration(measured())
    assert found.workers == 3
    assert found.overhead == pytest.approx(OVERHEAD)
    told = str(found.path), APART, DECODE, 0.0, OVERHEAD
    assert list(found.facts.values()) == pytest.approx(list(told))
    assert "communication 0.125 s, decode 0.0625 s, purge 0 s, overhead 0.0312 s" in str(found)


def test_costs_are_those_of_the_same_split(measured, job):
    found = Calibration(measured())
    for split in ("uniform", "dynamic"):  # there is no dynamic one
        (turn,) = Simulation(job(f"schedule.split={split}"), 3, found).turns
        assert found.costs(turn).communication == pytest.approx([APART] * 3)


def log(*tasks):
    """Tasks of one job that starts at 100: worker, received, seconds, used."""
    worker, received, seconds, used = (np.array(column) for column in zip(*tasks, strict=True))
    alike = np.zeros(len(tasks), np.int64)
    return Log(alike, alike, alike, worker, alike + 100.0, received, seconds, used)


def test_how_long_workers_go_on_after_a_recovery():
    first = (0, 10.0, 5.0, True)  # the unit is recovered at 10
    before = (1, 11.0, 2.0, False)  # began before that
    after = [(1, 13.0, 2.0, False), (1, 15.0, 2.0, False)]
    dropped = (1, 15.0, np.nan, False)
    assert _purge(log(first, before, *after, dropped)) == 4.0
    assert _purge(log(first, before, dropped)) == 0.0
    assert _purge(log(first, before)) == 0.0


def test_late_tasks_are_no_communication():
    jobs = log((0, 6.0, 5.0, True), (0, 9.0, 2.5, False), (0, 4.0, 1.0, True), (0, 8.0, 5.0, True))
    job, start = np.array([0, 0, 1, 2]), np.array([0.0, 0.0, 8.0, 20.0])
    apart = replace(jobs, job=job, start=start)  # the second job finds the worker busy until 9
    assert _communication(apart, 1) == pytest.approx([(1.0 + 3.0) / 2])


def test_jobs_take_what_they_took(measured, job):
    calibration = Calibration(measured())
    simulation = Simulation(job(), 3, calibration)
    ((_, stream),) = simulation.run()
    # Two of three tasks suffice: the second worker decides; the third is late.
    expected = APART + np.cumsum([0.25, 0.5, 0.25]) + DECODE
    assert stream.outcome.ready == pytest.approx(np.tile(expected, (200, 1)))
    (estimate,) = stream.outcome.estimates
    assert estimate.means == pytest.approx([0.25, 0.5, 1.0])
    assert list(simulation.notes()) == [str(calibration)]


def test_jobs_that_wait_start_after_the_overhead(measured, job):
    ((_, stream),) = Simulation(job(rate=100.0), 3, Calibration(measured())).run()
    outcome = stream.outcome
    assert outcome.start[1:] - outcome.end[:-1] == pytest.approx(np.full(199, OVERHEAD))


def test_a_unit_that_is_not_there_is_scaled(measured, job):
    ((_, stream),) = Simulation(job(), 3, Calibration(measured(units=1))).run()
    assert np.diff(stream.outcome.ready[0]) == pytest.approx([0.5, 0.25])


def test_the_published_model_takes_them_too(measured, job):
    ((_, stream),) = Simulation(job("simulate.model=published"), 3, Calibration(measured())).run()
    assert stream.outcome.ready[0] == pytest.approx(APART + np.array([0.25, 0.75, 1]) + DECODE)


def test_times_are_drawn_from_the_pool_of_the_worker(measured, job, rng):
    simulation = Simulation(job(), 3, calibration := Calibration(measured()))
    turn = simulation.turns[0]
    times = calibration.times(turn, simulation._case(turn).workload)
    times.pools[0, 0, 0.5] = np.array([1.0, 2.0])
    drawn = times.draw(rng, 0, np.array([0, 1, 0]), np.array([0.5, 0.5, 0.5]), 1000)
    assert set(drawn[:, 0]) == set(drawn[:, 2]) == {1.0, 2.0}
    assert set(drawn[:, 1]) == {0.25}
    assert not np.array_equal(drawn[:, 0], drawn[:, 2])


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        ({"tasks": False}, "found no tasks, expected a record that has them"),
        ({"kind": "simulated"}, "found a simulated record, expected a measured one"),
    ],
)
def test_records_that_tell_nothing(measured, record, complaint):
    with pytest.raises(InputError, match=complaint):
        Calibration(measured(**record))


def test_another_variant(measured, job):
    with pytest.raises(InputError, match='worker 1 in jobs of variant "layered" with 0 stragglers'):
        Simulation(job(), 3, Calibration(measured(variant="other")))


def test_workers_that_change(measured, job):
    slow = job("faults.worker=[{rank=1, slows=[[3, 2.0]]}]")
    with pytest.raises(InputError, match=r"\[faults\] worker: found slows with --calibrate"):
        Simulation(slow, 3, Calibration(measured()))
