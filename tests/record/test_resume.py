"""Going on with the record of a run that did not come to its end."""

import h5py
import pytest

from hpcrefine.errors import InputError
from hpcrefine.record import layout, schema
from hpcrefine.record.reader import read
from hpcrefine.record.writer import RecordWriter


@pytest.fixture
def interrupted(path, open_writer, job, inference):
    """A record of the jobs 0, 1 and 5, closed by an error in job 2."""
    with pytest.raises(RuntimeError), open_writer() as writer:
        for number in (0, 5, 1):
            writer.append(*job(number, events=2), **inference(number))
        layers, tasks, events = job(2, events=2)[1:]
        for name, rows in (("layers", layers), ("tasks", tasks), ("events", events)):
            writer._extend(name, schema.pack(name, rows))
        writer._extend("predictions", inference(2)["predictions"])
        raise RuntimeError
    return path


def rows_of(record):
    return {name: list(map(repr, getattr(record, name).tolist())) for name in schema.TABLES}


def test_finished_jobs_are_kept_and_new_ones_appended(interrupted, job, inference, row):
    before = read(interrupted)
    with RecordWriter.resume(interrupted, workers=[row("workers", rank=7)]) as writer:
        assert writer.path == interrupted
        assert writer.finished == {0, 1, 5}
        with pytest.raises(ValueError, match="column job: 5"):
            writer.append(*job(5))
        writer.append(*job(2, events=1), **inference(2))
        assert writer.finished == {0, 1, 2, 5}
    after = read(interrupted)
    assert after.complete
    assert after.attributes == before.attributes | {"complete": True}
    assert after.environment == before.environment
    assert after.jobs["job"].tolist() == [0, 5, 1, 2]
    for name, rows in rows_of(before).items():
        assert rows_of(after)[name][: len(rows)] == rows
    assert [len(after.layers), len(after.tasks), len(after.events)] == [8, 24, 7]
    assert [len(after.upgrades), len(after.predictions)] == [8, 32]
    assert after.workers[["rank", "session"]].tolist() == [(0, 0), (1, 0), (2, 0), (7, 1)]
    assert list(interrupted.parent.iterdir()) == [interrupted]


def test_rows_of_unfinished_jobs_are_gone(interrupted):
    with h5py.File(interrupted) as file:
        assert 2 in file["events"]["job"]
    before = read(interrupted)
    RecordWriter.resume(interrupted, workers=[]).close(complete=False)
    with h5py.File(interrupted) as file:
        for name in ("layers", "tasks", "events", "upgrades", "predictions"):
            assert set(file[name]["job"]) == {0, 1, 5}
    assert rows_of(read(interrupted)) == rows_of(before)


def test_resumed_twice(interrupted, job, row):
    for number in (2, 3):
        writer = RecordWriter.resume(interrupted, workers=[row("workers"), row("workers", rank=1)])
        writer.append(*job(number))
        writer.close(complete=False)
    record = read(interrupted)
    assert not record.complete
    assert record.workers["session"].tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert record.jobs["job"].tolist() == [0, 5, 1, 2, 3]


def test_a_resumed_record_is_live_and_incomplete_until_closed(interrupted):
    # Within one process HDF5 wants the reader, which takes no lock, and the writer to agree.
    with RecordWriter.resume(interrupted, workers=[], locking=False):
        assert not read(interrupted).complete
    assert read(interrupted).complete


def test_workers_rows_need_no_session(path, open_writer, row):
    worker = row("workers", session=9)
    open_writer(workers=[worker]).close(complete=False)
    del worker["session"]
    RecordWriter.resume(path, workers=[worker]).close()
    assert read(path).workers["session"].tolist() == [0, 1]


def test_a_record_that_is_being_written_is_not_resumed(path, open_writer, job):
    with open_writer() as writer:
        with pytest.raises(InputError, match="still open"):
            RecordWriter.resume(path, workers=[])
        writer.append(*job(0))
    assert len(read(path).jobs) == 1


def test_what_cannot_be_resumed_stays_as_it_is(path, open_writer):
    def refused(message):
        before = path.read_bytes() if path.exists() else None
        with pytest.raises(InputError, match=rf"run\.h5: {message}"):
            RecordWriter.resume(path, workers=[])
        assert (path.read_bytes() if path.exists() else None) == before
        assert list(path.parent.iterdir()) == ([] if before is None else [path])

    refused("no such file")
    path.write_text("precious")
    refused("not an HDF5 file")
    open_writer(force=True).close(complete=False)
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = schema.FORMAT_VERSION - 1
    refused(f"format_version {schema.FORMAT_VERSION - 1}; expected {schema.FORMAT_VERSION}")
    open_writer(force=True).close()
    refused("a complete record")


def test_bad_rows_leave_the_record_as_it_was(interrupted, row):
    before = interrupted.read_bytes()
    with pytest.raises(KeyError, match="colour"):
        RecordWriter.resume(interrupted, workers=[row("workers", colour=1)])
    assert interrupted.read_bytes() == before
    assert list(interrupted.parent.iterdir()) == [interrupted]


def test_of_two_that_resume_at_once_one_is_refused(interrupted, monkeypatch):
    create, others = layout.create, []

    def let_another_be_first(path, *arguments, **options):
        monkeypatch.setattr(layout, "create", create)
        monkeypatch.setattr("os.getpid", lambda: 1)
        others.append(RecordWriter.resume(interrupted, workers=[]))
        return create(path, *arguments, **options)

    monkeypatch.setattr(layout, "create", let_another_be_first)
    with pytest.raises(InputError, match="in the meantime"):
        RecordWriter.resume(interrupted, workers=[])
    others[0].close()
    assert read(interrupted).complete
    assert list(interrupted.parent.iterdir()) == [interrupted]
