"""Records and studies written by the real writer, for tests of what is made of them."""

import numpy as np

from hpcrefine.record import schema
from hpcrefine.record.manifest import Manifest, Point
from hpcrefine.record.writer import RecordWriter

ENVIRONMENT = {"host": "a", "cpu": "x", "kernel": "int8", "threads": 1, "mpi": "Open MPI 5"}
STEADY = np.linspace(0.99, 1.01, 11)


def build_row(table, **values):
    """A valid row of a table, of zeros and first choices, with some values changed."""
    defaults = {
        c.name: (c.values or ("",))[0] if "S" in c.dtype else np.dtype(c.dtype).type(0).item()
        for c in schema.TABLES[table]
    }
    return defaults | values


def write_record(
    path,
    times,
    *,
    workers=2,
    text="[job]\n",
    environment=(),
    kind="measured",
    complete=True,
    inference=False,
    **job,
):
    """Write a record: `times` has for each variant an array of shape (jobs, layers), in seconds.

    A warm-up that takes 9 s goes first.
    """
    rows = [
        build_row("workers", rank=rank, host="a", threads=1, kernel="int8")
        for rank in range(workers + 1)
    ]
    facts = ENVIRONMENT | dict(environment)
    writer = RecordWriter(path, job_text=text, kind=kind, environment=facts, workers=rows)
    head = {"n": 64, "k": 96, "p": 32, "deadline": np.nan, "rate": np.nan, "verdict": "exact"}
    number = 0
    for variant, of_jobs in times.items():
        of_jobs = np.array(of_jobs, float).reshape(len(of_jobs), -1)
        for repeat, ready in enumerate([np.full(of_jobs.shape[1], 9.0), *of_jobs]):
            given = head | {"variant": variant, "repeat": repeat - 1, "warmup": repeat == 0} | job
            table = "upgrades" if inference else "layers"
            released = {
                table: [
                    build_row(table, job=number, **{table[:-1]: layer, "ready": seconds})
                    for layer, seconds in enumerate(ready)
                ]
            }
            tasks = [build_row("tasks", job=number, worker=1, compute=s) for s in ready[:1]]
            row = build_row("jobs", job=number, **given)
            writer.append(row, tasks=tasks, **({"layers": []} | released))
            number += 1
    writer.close(complete)
    return path


def steady(median):
    """Eleven times around a median, as far apart as 1 %."""
    return median * STEADY


def write_study(folder, points, scaling="strong"):
    """Write a study folder: a point for each (workers, settings, times[, options of the record]).

    Where `times` is None, the point has no record.
    """
    folder.mkdir()
    described = []
    for number, (workers, settings, times, *options) in enumerate(points):
        label = ", ".join(f"{k}={v}" for k, v in ({"ranks": workers + 1} | settings).items())
        file = f"{number:03}.h5"
        described.append(
            Point(
                number=number,
                name=label,
                ranks=workers + 1,
                nodes=0,
                run=0,
                settings=settings,
                overrides=[],
                file=file,
            )
        )
        if times is not None:
            given = {"workers": workers} | (options[0] if options else {})
            write_record(folder / file, times, **given)
    Manifest(
        name=folder.name,
        scaling=scaling,
        created="2026-01-01T00:00:00Z",
        study="",
        order=[*range(len(points))],
        points=described,
    ).write(folder)
    return folder
