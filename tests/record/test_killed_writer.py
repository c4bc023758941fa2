"""A writer killed in the middle: every job it reported must be there, and nothing by halves."""

import json
import os
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from hpcrefine.errors import InputError
from hpcrefine.record.reader import read, seal

LAYERS = 3
# Appends until it is killed; reports each job on stdout once `append` has returned.
WRITER = """
import itertools, json, sys
from hpcrefine.record.writer import RecordWriter
path, (job, layer, task) = sys.argv[1], json.loads(sys.argv[2])
given = {"job_text": "[job]", "kind": "measured", "environment": {"host": "a"}, "workers": []}
writer = RecordWriter(path, **given)
for i in itertools.count():
    layers = [layer | {"job": i, "layer": j} for j in range(3)]
    tasks = [task | {"job": i, "layer": j, "task": t} for j in range(3) for t in range(i % 40)]
    writer.append(job | {"job": i}, layers, tasks)
    print(i, flush=True)
"""


@pytest.fixture
def writing(path, row):
    """A process that appends to `path` and has finished its first job."""
    templates = json.dumps([row("jobs"), row("layers", minijobs=7), row("tasks", compute=2.5)])
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), templates], stdout=subprocess.PIPE, text=True
    ) as child:
        child.stdout.readline()
        yield child
        child.kill()


@pytest.fixture(params=[0.0, 0.11, 0.37])
def killed(request, path, writing):
    """A record whose writer was killed after some seconds, and the number of jobs it reported."""
    time.sleep(request.param)
    os.kill(writing.pid, signal.SIGKILL)
    return path, 1 + sum(line.endswith("\n") for line in writing.stdout)


def check(record, reported):
    # The last append may have returned without having been reported.
    assert len(record.jobs) in (reported, reported + 1)
    check_consistent(record)


def check_consistent(record):
    jobs = len(record.jobs)
    assert record.jobs["job"].tolist() == list(range(jobs))
    assert record.layers["job"].tolist() == np.repeat(range(jobs), LAYERS).tolist()
    assert np.all(record.layers["minijobs"] == 7)
    expected = [(i, j, t) for i in range(jobs) for j in range(LAYERS) for t in range(i % 40)]
    assert record.tasks[["job", "layer", "task"]].tolist() == expected
    assert np.all(record.tasks["compute"] == 2.5)
    assert not record.complete


def test_reading_beside_a_running_writer(path, writing):
    counts = []
    for _ in range(20):
        record = read(path)
        check_consistent(record)
        counts.append(len(record.jobs))
    assert 1 <= counts[0] < counts[-1]
    assert counts == sorted(counts)
    with pytest.raises(InputError, match="still open"):
        seal(path)
    assert writing.poll() is None


def test_every_reported_job_survives_and_sealing_keeps_it(killed):
    path, reported = killed
    with pytest.raises(OSError, match="already open for write"):
        h5py.File(path, "r")
    before = read(path)
    check(before, reported)

    seal(path)
    with h5py.File(path, "r") as file:
        assert len(file["jobs"]) == len(before.jobs)
        assert file["jobs"].attrs["units"][7] == "s"
    after = read(path)
    check(after, reported)
    assert after.attributes == before.attributes
    assert after.environment == before.environment
    assert after.tasks.tolist() == before.tasks.tolist()
    assert list(path.parent.iterdir()) == [path]


def test_a_killed_record_can_be_replaced_by_force(killed, open_writer):
    path, _ = killed
    with pytest.raises(InputError, match="--force"):
        open_writer()
    open_writer(force=True).close()
    assert read(path).complete


def test_a_failing_seal_keeps_the_record(killed, monkeypatch):
    path, reported = killed

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("hpcrefine.record.layout.create", full)
    with pytest.raises(InputError, match="No space left"):
        seal(path)
    check(read(path), reported)
