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
from hpcrefine.record import schema
from hpcrefine.record.reader import read, seal
from hpcrefine.record.writer import RecordWriter

LAYERS = 3
# Says that it begins, then appends until it is killed; reports each job on stdout once `append` has
# returned.
WRITER = """
import itertools, json, sys
import numpy as np
from hpcrefine.record.schema import pack, pack_arrays
from hpcrefine.record.writer import RecordWriter
how, path, templates = sys.argv[1:]
worker, job, layer, task, event, upgrade, prediction = json.loads(templates)
print("begins", flush=True)
if how == "resume":
    writer = RecordWriter.resume(path, workers=[worker])
else:
    given = {"job_text": "[job]", "kind": "measured", "environment": {"host": "a"}}
    given["compressed"] = how == "many"
    writer = RecordWriter(path, workers=[worker], **given)
while how == "many":  # 500 jobs at a time
    first = len(writer.finished)
    rows = [pack("jobs", [job | {"job": i}]) for i in range(first, first + 500)]
    jobs = np.concatenate(rows)
    layers = np.repeat(pack("layers", [layer]), 1500)
    layers["job"], layers["layer"] = np.repeat(jobs["job"], 3), np.tile(np.arange(3), 500)
    writer.extend(jobs, layers)
    writer.amend(job | {"job": first}, [layer | {"job": first, "layer": j} for j in range(3)])
    print(first, flush=True)
for i in itertools.count(len(writer.finished)):
    layers = [layer | {"job": i, "layer": j} for j in range(3)]
    tasks = [task | {"job": i, "layer": j, "task": t} for j in range(3) for t in range(i % 40)]
    events = [event | {"job": i, "rank": r} for r in range(i % 3)]
    upgrades = [upgrade | {"job": i, "upgrade": j} for j in range(3)]
    samples = np.arange(i % 3 * 100)
    predictions = pack_arrays("predictions", prediction | {"job": i, "sample": samples})
    writer.append(job | {"job": i}, layers, tasks, events, (), upgrades, predictions)
    print(i, flush=True)
"""


def make_templates(row):
    layer, task = row("layers", minijobs=7), row("tasks", compute=2.5)
    upgrade, prediction = row("upgrades", gray=0.5), row("predictions", score=0.75)
    event = row("events", kind="silent")
    return [row("workers"), row("jobs"), layer, task, event, upgrade, prediction]


@pytest.fixture
def writing(path, row):
    """A process that appends to `path` and has finished its first job."""
    with start("create", path, row) as child:
        child.stdout.readline()
        try:
            yield child
        finally:
            child.kill()


def start(how, path, row):
    """Start a process that writes `path`; return it once it begins to."""
    command = [sys.executable, "-c", WRITER, how, str(path), json.dumps(make_templates(row))]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "begins\n"
    return child


def kill(child):
    """Kill a writer; return the number of jobs that it reported since it was last listened to."""
    os.kill(child.pid, signal.SIGKILL)
    return sum(line.endswith("\n") for line in child.stdout)


@pytest.fixture(params=[0.0, 0.11, 0.37])
def killed(request, path, writing):
    """A record whose writer was killed after some seconds, and the number of jobs it reported."""
    time.sleep(request.param)
    return path, 1 + kill(writing)


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
    expected = [(i, r, "silent") for i in range(jobs) for r in range(i % 3)]
    assert record.events[["job", "rank", "kind"]].tolist() == expected
    assert record.upgrades["job"].tolist() == np.repeat(range(jobs), LAYERS).tolist()
    assert np.all(record.upgrades["gray"] == 0.5)
    counts = [i % 3 * 100 for i in range(jobs)]
    assert np.array_equal(record.predictions["job"], np.repeat(range(jobs), counts))
    samples = np.concatenate([np.arange(count) for count in counts])
    assert np.array_equal(record.predictions["sample"], samples)
    assert np.all(record.predictions["score"] == 0.75)
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


@pytest.mark.parametrize("seconds", [0.0, 0.07, 0.31])
def test_many_jobs_at_a_time_survive_whole(path, row, seconds):
    with start("many", path, row) as child:
        child.stdout.readline()
        time.sleep(seconds)
        reported = 500 * (1 + kill(child))
    record = read(path)
    assert len(record.jobs) in (reported, reported + 500)
    assert record.jobs["job"].tolist() == list(range(len(record.jobs)))
    assert record.layers["job"].tolist() == np.repeat(range(len(record.jobs)), LAYERS).tolist()
    assert np.all(record.layers["minijobs"] == 7)
    seal(path)
    assert read(path).layers.tolist() == record.layers.tolist()


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


def test_a_killed_record_is_resumed_and_killed_again_and_again(killed, row):
    path, reported = killed
    jobs = len(read(path).jobs)
    for session, seconds in enumerate((0.0, 0.05, 0.2), start=1):
        with start("resume", path, row) as child:
            child.stdout.readline()
            time.sleep(seconds)
            reported = 1 + kill(child)
        record = read(path)
        check(record, jobs + reported)
        assert record.workers["session"].tolist() == list(range(session + 1))
        jobs = len(record.jobs)


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.05, 0.1])
def test_a_kill_while_resuming_leaves_the_old_record_or_the_new_one(
    path, open_writer, job, row, seconds
):
    writer = open_writer(workers=[row("workers")])
    # Many rows, so that copying them takes some time.
    writer._extend("tasks", np.repeat(schema.pack("tasks", [row("tasks", job=0)]), 300_000))
    writer.append(*job(0, events=5))
    writer.close(complete=False)
    before = read(path)
    with start("resume", path, row) as child:
        time.sleep(seconds)
        kill(child)
    record = read(path)
    assert record.workers["session"].tolist() in ([0], [0, 1])
    assert len(record.jobs) == 1 or len(record.workers) == 2
    for name in ("layers", "tasks", "events"):
        rows, kept = getattr(record, name), getattr(before, name)
        assert np.array_equal(rows[rows["job"] == 0], kept)
    RecordWriter.resume(path, workers=[]).close()
    assert read(path).complete
