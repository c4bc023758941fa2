"""Rows and writers for the tests of the record."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from hpcrefine.record import schema
from hpcrefine.record.writer import RecordWriter
from tests.studies import build_row as make_row


def make_writer(path: Path, **options) -> RecordWriter:
    given = {
        "job_text": '[job]\nname = "größe"\n',
        "kind": "measured",
        "environment": {"host": "a", "cores": 2, "clock": 2.5},
        "workers": [make_row("workers", rank=rank, host=f"node{rank}") for rank in range(3)],
    }
    return RecordWriter(path, **(given | options))


def make_job(number, layers=2, tasks=3, events=0):
    """What ``append`` takes: a job, its layers, tasks and events; each task has its own number."""
    return (
        make_row("jobs", job=number),
        [make_row("layers", job=number, layer=i, ready=0.1 * i) for i in range(layers)],
        [
            make_row("tasks", job=number, layer=i, task=j)
            for i in range(layers)
            for j in range(tasks)
        ],
        [make_row("events", job=number, rank=i, detail="no answer") for i in range(events)],
    )


def make_inference(number, upgrades=2, samples=4):
    """What ``append`` takes for a job of inference beside its tables of products."""
    columns = make_row("predictions", job=number, label=-1, error=np.nan)
    columns["upgrade"] = np.repeat(np.arange(upgrades), samples)
    columns["sample"] = np.tile(np.arange(samples), upgrades)
    columns["score"] = columns["sample"] + 0.5 * columns["upgrade"]
    rows = [make_row("upgrades", job=number, upgrade=i, samples=samples) for i in range(upgrades)]
    return {"upgrades": rows, "predictions": schema.pack_arrays("predictions", columns)}


@pytest.fixture
def row():
    return make_row


@pytest.fixture
def job():
    return make_job


@pytest.fixture
def inference():
    return make_inference


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.h5"


@pytest.fixture
def open_writer(path):
    return partial(make_writer, path)
