"""Records to report on, written by the real writer."""

from itertools import chain

import numpy as np
import pytest

from hpcrefine.record import schema
from hpcrefine.record.writer import RecordWriter

JOB_TEXT = '[job]\nname = "scaling [bold]x"\n'


def build_row(table, **values):
    """A valid row of a table, of zeros and first choices, with some values changed."""
    defaults = {
        c.name: (c.values or ("",))[0] if "S" in c.dtype else np.dtype(c.dtype).type(0).item()
        for c in schema.TABLES[table]
    }
    return defaults | values


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
