"""Records to report on, written by the real writer."""

from itertools import chain

import numpy as np
import pytest

from hpcrefine.record import schema
from hpcrefine.record.manifest import Manifest, Point
from hpcrefine.record.writer import RecordWriter
from tests.studies import build_row

JOB_TEXT = '[job]\nname = "scaling [bold]x"\n'


@pytest.fixture
def make_row():
    return build_row


@pytest.fixture
def write(tmp_path):
    """Write a record of jobs: each the changes to its row, to its layers' and to its events'."""

    def write_record(jobs, name="run.h5", complete=True, job_text=JOB_TEXT, kind="measured"):
        path = tmp_path / name
        workers = [build_row("workers", rank=i, threads=2, kernel="int8") for i in range(5)]
        writer = RecordWriter(path, job_text=job_text, kind=kind, environment={}, workers=workers)
        for number, (job, layers, *events) in enumerate(jobs):
            head = {"job": number, "variant": "layered", "deadline": np.nan, "rate": np.nan} | job
            head = {"n": 64, "k": 96, "p": 32} | head
            rows = [
                build_row("layers", job=number, **({"layer": i, "error_measured": np.nan} | layer))
                for i, layer in enumerate(layers)
            ]
            events = [build_row("events", job=number, **event) for event in chain(*events)]
            writer.append(build_row("jobs", **head), rows, [], events)
        writer.close(complete)
        return path

    return write_record


def build_stream(
    first=0,
    jobs=100,
    delays=((1.0, 2.0),),
    estimates=(),
    minijobs=(1, 3),
    met=None,
    layers=None,
    **settings,
):
    """Rows of a stream: jobs arrive 10 s apart, start 0.5 s later, and have delays in turn.

    `estimates` holds for each worker of the first job its tasks and its mean; `met` says for each
    layer in how many of the first jobs it was in time, all unless given.
    """
    rows = np.zeros(jobs, schema.dtype("jobs"))
    rows["job"] = first + np.arange(jobs)
    rows["arrival"] = 10.0 * np.arange(jobs)
    rows["start"], rows["end"] = rows["arrival"] + 0.5, rows["arrival"] + max(delays[0])
    head = {"variant": "layered", "split": "uniform", "redundancy": 1.0, "deadline": np.nan}
    head |= {"rate": 0.1, "status": "done", "verdict": "exact", "n": 64, "k": 96, "p": 32}
    for name, value in (head | settings).items():
        rows[name] = value.encode() if isinstance(value, str) else value
    times = np.array([delays[i % len(delays)] for i in range(jobs)])
    table = np.zeros(times.shape, schema.dtype("layers"))
    table["job"], table["layer"] = rows["job"][:, None], np.arange(times.shape[1])
    table["minijobs"] = np.array(minijobs)[: times.shape[1]]
    table["share"] = np.cumsum(table["minijobs"], axis=1) / max(sum(minijobs), 1)
    table["delay"], table["ready"] = times, times - 0.5
    table["met_deadline"] = True if met is None else np.arange(jobs)[:, None] < np.array(met)
    for name, values in (layers or {}).items():
        table[name] = values
    guesses = np.zeros(len(estimates), schema.dtype("estimates"))
    guesses["job"], guesses["worker"] = first, 1 + np.arange(len(estimates))
    for place, (tasks, mean) in enumerate(estimates):
        guesses["tasks"][place], guesses["mean"][place] = tasks, mean
    return rows, table.reshape(-1), guesses


@pytest.fixture
def make_stream():
    return build_stream


@pytest.fixture
def write_streams(tmp_path):
    """Write a record of streams: each what `build_stream` takes, the ids apart."""

    def write_record(*streams, name="run.h5", kind="simulated", job_text=JOB_TEXT):
        workers = [build_row("workers", rank=i, threads=1) for i in range(3)]
        given = {"job_text": job_text, "kind": kind, "environment": {}, "workers": workers}
        with RecordWriter(tmp_path / name, **given) as writer:
            first = 0
            for stream in streams:
                rows = build_stream(first, **stream)
                writer.extend(*rows)
                first += len(rows[0])
        return tmp_path / name

    return write_record


@pytest.fixture
def jobs():
    """Ten jobs of either variant after a warm-up each: one-shot takes 40 ms, layers 10 and 50."""
    steady = np.linspace(0.999, 1.001, 10)
    oneshot = [({"variant": "oneshot"}, [{"ready": 0.04 * s}]) for s in steady]
    layered = [
        (
            {"verdict": "exact"},
            [
                {"ready": 0.01 * s, "error_bound": 1.25e-3 * s, "share": 0.25, "tasks_used": 4},
                {"ready": 0.05 * s, "error_bound": 0.0, "share": 1.0, "tasks_used": 3},
            ],
        )
        for s in steady
    ]
    warm = {"warmup": True, "verdict": "wrong"}
    return [
        (warm, [{"ready": 9.0}, {"ready": 9.0}]),
        (warm | {"variant": "oneshot"}, [{"ready": 9.0}]),
        *(job for pair in zip(layered, oneshot, strict=True) for job in pair),
    ]


def build_inference(number, upgrades, predictions=(), **head):
    """What ``append`` takes for a job of inference: changes to its rows, and columns of samples."""
    job = {"variant": "all", "deadline": np.nan, "rate": np.nan, "n": 100, "k": 784, "p": 10}
    rows = []
    for place, changes in enumerate(upgrades):
        row = {"upgrade": place, "samples": 100, "agreement": np.nan} | changes
        rows.append(build_row("upgrades", job=number, **row))
    tables = [
        schema.pack_arrays("predictions", build_row("predictions", job=number) | columns)
        for columns in predictions
    ]
    return {
        "job": build_row("jobs", **({"job": number} | job | head)),
        "layers": [],
        "tasks": [],
        "upgrades": rows,
        "predictions": np.concatenate(tables) if tables else None,
    }


@pytest.fixture
def write_inference(tmp_path):
    """Write a record of inference: each job what `build_inference` takes."""

    def write_record(*jobs, name="run.h5", job_text=JOB_TEXT):
        workers = [build_row("workers", rank=i, threads=1, kernel="int8") for i in range(3)]
        given = {"job_text": job_text, "kind": "measured", "environment": {}, "workers": workers}
        with RecordWriter(tmp_path / name, **given) as writer:
            for number, job in enumerate(jobs):
                writer.append(**build_inference(number, **job))
        return tmp_path / name

    return write_record


@pytest.fixture
def inference_jobs():
    """Seven jobs of each variant: one-shot takes 40 ms, all upgrades 10 and 30, adaptive 10, 16."""

    def upgrade(ready, accuracy, agreement, gray, operations, share, samples=100):
        row = {"ready": ready, "accuracy": accuracy, "agreement": agreement, "gray": gray}
        row |= {"decided": round(100 * (1 - gray)), "samples": samples, "share": share}
        return row | {"operations": operations, "tasks_used": 4}

    variants = {
        "oneshot": [upgrade(0.04, 0.9, np.nan, 0.0, 1e7, 1.0)],
        "all": [
            upgrade(0.01, 0.85, 0.93, 1.0, 4e6, 0.4),
            upgrade(0.03, 0.9, 1.0, 0.0, 6e6, 1.0),
        ],
        "adaptive": [
            upgrade(0.01, 0.85, 0.93, 0.2, 4e6, 0.4),
            upgrade(0.016, 0.89, 0.99, 0.0, 1.2e6, 0.52, samples=20),
        ],
    }
    steady = np.linspace(0.99, 1.01, 7)
    return [
        {
            "variant": name,
            "verdict": "exact",
            "repeat": i,
            "upgrades": [row | {"ready": row["ready"] * scale} for row in rows],
        }
        for i, scale in enumerate(steady)
        for name, rows in variants.items()
    ]


STUDY_TEXT = '[job]\nname = "product <b>"\n'


def write_point(path, workers, repeats=7, speed=1.0, complete=True):
    """Write a record of layered and one-shot jobs, with tasks: resolutions 0 and 1 take 1 : 3."""
    rng = np.random.default_rng(workers)
    ranks = [build_row("workers", rank=i, threads=1, kernel="int8") for i in range(workers + 1)]
    given = {"job_text": STUDY_TEXT, "kind": "measured", "workers": ranks}
    environment = {"host": "node1", "mpi": "Open MPI v5.0.11"}
    writer = RecordWriter(path, environment=environment, **given)
    head = {"deadline": np.nan, "rate": np.nan, "n": 64, "k": 96, "p": 32, "verdict": "exact"}
    for number in range(2 * repeats):
        oneshot = number % 2 == 1
        factor = speed * rng.uniform(0.95, 1.05)
        ready = [0.2 / workers * factor] if oneshot else [0.1 * factor / workers + 0.01]
        ready += [] if oneshot else [0.4 * factor / workers + 0.01]
        errors = [1e-3, 0.0]
        layers = [
            build_row("layers", job=number, layer=i, ready=t, error_bound=e, error_measured=e / 2)
            for i, (t, e) in enumerate(zip(ready, errors, strict=False))
        ]
        job = {"job": number, "variant": "oneshot" if oneshot else "layered", "start": 1.0 * number}
        job |= {"end": number + ready[-1], "repeat": number // 2}
        tasks = [] if oneshot else build_tasks(number, workers, ready)
        writer.append(build_row("jobs", **(head | job)), layers, tasks, [])
    writer.close(complete)
    return path


def build_tasks(job, workers, ready):
    """A task a layer and worker that ends just before it is ready, and one that comes too late."""
    starts = [0.0, *ready[:-1]]
    rows = [
        {"layer": layer, "worker": worker, "sent": start, "received": 0.99 * end}
        | {"compute": 0.5 * (0.99 * end - start), "task": worker}
        for layer, (start, end) in enumerate(zip(starts, ready, strict=True))
        for worker in range(1, workers + 1)
    ]
    rows[-1] |= {"status": "late", "received": 1.01 * ready[-1]}
    return [build_row("tasks", **({"job": job} | row)) for row in rows]


@pytest.fixture
def point(tmp_path):
    """Write a record with tasks, see `write_point`."""

    def write_named(workers=3, name="point.h5", **options):
        return write_point(tmp_path / name, workers, **options)

    return write_named


def write_study(folder, workers=(1, 2, 4), **options):
    """Write the folder of a strong scaling study, with a point for 8 workers that has not run."""
    folder.mkdir()
    points = []
    for number, count in enumerate((*workers, 8)):
        file = f"{number:03}-ranks-{count + 1}.h5"
        if count in workers:
            write_point(folder / file, count, **options)
        point = {"number": number, "name": f"ranks={count + 1}", "ranks": count + 1, "nodes": 0}
        points.append(Point(**point, run=0, settings={}, overrides=[], file=file))
    Manifest(
        name=folder.name,
        scaling="strong",
        created="2026-01-01T00:00:00Z",
        study="",
        order=[point.number for point in points],
        points=points,
    ).write(folder)
    return folder


@pytest.fixture(scope="session")
def study_writer():
    return write_study


@pytest.fixture
def make_study(tmp_path):
    """Write a study into `tmp_path`, see `write_study`."""
    return lambda **options: write_study(tmp_path / "strong", **options)
