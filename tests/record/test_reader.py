"""Reading whole, live and damaged records."""

import h5py
import numpy as np
import pytest

from hpcrefine.errors import InputError
from hpcrefine.record import schema
from hpcrefine.record.reader import read, seal


@pytest.fixture
def finished(path, open_writer, job, inference):
    with open_writer() as writer:
        for number in range(3):
            writer.append(*job(number, events=1), **inference(number))
    return path


def test_strings_come_decoded_and_values_plain(finished):
    record = read(str(finished))
    assert record.workers["host"].tolist() == ["node0", "node1", "node2"]
    assert record.jobs.dtype["status"].kind == "U"
    assert record.jobs.dtype.names == schema.dtype("jobs").names
    assert record.layers["ready"].tolist() == [0.0, 0.1] * 3
    assert record.environment == {"host": "a", "cores": 2, "clock": 2.5}
    assert {type(value) for value in record.environment.values()} == {str, int, float}
    assert record.attributes["complete"] is True


def test_only_the_columns_asked_for_are_read(finished):
    whole = read(finished)
    part = read(finished, {"layers": ["ready", "minijobs"], "jobs": ["status"], "tasks": []})
    assert part.jobs.dtype.names == ("job", "status")
    assert part.jobs.tolist() == whole.jobs[["job", "status"]].tolist()
    assert part.layers.tolist() == whole.layers[["job", "minijobs", "ready"]].tolist()
    assert part.tasks["job"].tolist() == whole.tasks["job"].tolist()
    for name in ("workers", "events", "estimates", "upgrades", "predictions"):
        assert len(getattr(part, name)) == 0
    assert part.attributes == whole.attributes
    make_older(finished, 2)
    older = read(finished, {"jobs": ["scheme", "stragglers", "end"]}).jobs
    assert older[["scheme", "stragglers"]].tolist() == [("", -1)] * 3


def test_rows_of_unfinished_jobs_are_dropped_whatever_is_asked_for(path, open_writer, row):
    with open_writer() as writer:
        writer.append(row("jobs", job=0), [row("layers", job=0)], [])
        writer._extend("layers", schema.pack("layers", [row("layers", job=1, ready=2.0)]))
    assert read(path, {"layers": ["ready"]}).layers.tolist() == [(0, 0.0)]


def test_strings_of_many_rows(path, open_writer, row):
    labels = ["layered", "layered", "größe", "", "", "é" * 20, "layered"]
    rows = [row("jobs", job=i, variant=label) for i, label in enumerate(labels)]
    with open_writer(compressed=True) as writer:
        writer.extend(schema.pack("jobs", rows), np.empty(0, schema.dtype("layers")))
    cut = [label.encode()[:32].decode("utf-8", "replace") for label in labels]
    assert read(path).jobs["variant"].tolist() == cut


def test_a_live_record_shows_the_jobs_so_far(path, open_writer, job):
    # Within one process HDF5 wants the reader, which takes no lock, and the writer to agree.
    with open_writer(locking=False) as writer:
        for number in range(200):
            writer.append(*job(number, layers=number % 3, tasks=2))
            if number % 20 == 0:
                record = read(path)
                assert len(record.jobs) == number + 1
                assert len(record.layers) == sum(i % 3 for i in range(number + 1))
                assert len(record.tasks) == 2 * len(record.layers)
                assert not record.complete
    assert len(read(path).jobs) == 200


def test_a_live_record_is_not_sealed(path, open_writer, job):
    with open_writer() as writer:
        writer.append(*job(0))
        with pytest.raises(InputError, match="still open"):
            seal(path)
        writer.append(*job(1))
    assert len(read(path).jobs) == 2


def test_rows_without_a_job_are_dropped(finished):
    with h5py.File(finished, "r+") as file:
        for name in ("jobs", "layers", "tasks", "events", "upgrades", "predictions"):
            # Allocated and never written, as a kill between two writes may leave it.
            file[name].resize((len(file[name]) + 1,))
            assert file[name]["job"][-1] == schema.NO_JOB
        for name in ("tasks", "events", "predictions"):
            stray = np.zeros(1, schema.dtype(name))
            stray["job"] = 99
            file[name].resize((len(file[name]) + 1,))
            file[name][-1:] = stray
    record = read(finished)
    assert [len(record.jobs), len(record.layers), len(record.tasks)] == [3, 6, 18]
    assert record.events["job"].tolist() == [0, 1, 2]
    assert [len(record.upgrades), len(record.predictions)] == [6, 24]


def test_sealing_a_finished_record_leaves_it_untouched(finished):
    before = (finished.read_bytes(), finished.stat().st_ino)
    seal(finished)
    assert (finished.read_bytes(), finished.stat().st_ino) == before


def test_further_columns_and_tables_are_ignored(finished):
    with h5py.File(finished, "r+") as file:
        old = file["jobs"][:]
        del file["jobs"]
        columns = [(name, old.dtype[name]) for name in old.dtype.names]
        wide = np.zeros(len(old), np.dtype([("extra", "f4"), *columns]))
        for name in old.dtype.names:
            wide[name] = old[name]
        file["jobs"] = wide
        file["notes"] = np.zeros(3)
    assert read(finished).jobs.dtype.names == schema.dtype("jobs").names


def test_no_such_file(path):
    for function in (read, seal):
        with pytest.raises(InputError, match=r"run\.h5: no such file"):
            function(path)


@pytest.mark.parametrize("content", [b"", b"\x89HDF", b"name = 1\n" * 100])
def test_another_kind_of_file(path, content):
    path.write_bytes(content)
    with pytest.raises(InputError, match="not an HDF5 file"):
        read(path)


def test_a_directory(tmp_path):
    with pytest.raises(InputError, match="unreadable"):
        read(tmp_path)


@pytest.mark.parametrize("part", [0.01, 0.2, 0.5, 0.9, 0.999])
def test_a_truncated_record_is_an_error_not_fewer_jobs(finished, part):
    content = finished.read_bytes()
    finished.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(InputError, match=r"run\.h5"):
        read(finished)


def test_another_programs_hdf5(path):
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(3)
    with pytest.raises(InputError, match="no record of hpcrefine"):
        read(path)


def test_hdf5_left_open_by_another_program(path):
    with (
        h5py.File(path, "w", libver="v110", locking=False) as file,
        pytest.raises(InputError, match="open for writing"),
    ):
        file.flush()
        read(path)


def make_older(path, version):
    """Take from a record what a version of the format did not have yet."""
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = version
        for name, columns in schema.TABLES.items():
            rows = file[name][:]
            del file[name]
            old = [(c.name, rows.dtype[c.name]) for c in columns if c.since <= version]
            if old:
                file[name] = rows[[column for column, _ in old]].astype(old)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_what_an_older_version_lacks_is_absent(finished, version):
    newer = read(finished)
    make_older(finished, version)
    older = read(finished)
    assert older.attributes["format_version"] == version
    for name in ("workers", "jobs", "layers", "tasks"):
        for column in schema.TABLES[name]:
            found = getattr(older, name)[column.name].tolist()
            if column.since <= version:
                assert found == getattr(newer, name)[column.name].tolist()
            else:
                assert repr(found) == repr([column.absent] * len(found))
    for name in ("events", "estimates", "upgrades", "predictions"):
        rows = getattr(older, name)
        assert rows.dtype == getattr(newer, name).dtype
        assert len(rows) == (len(getattr(newer, name)) if schema.since(name) <= version else 0)


def test_a_newer_version(finished):
    with h5py.File(finished, "r+") as file:
        file.attrs["format_version"] = schema.FORMAT_VERSION + 1
    with pytest.raises(InputError, match=f"format_version {schema.FORMAT_VERSION + 1}"):
        read(finished)


@pytest.mark.parametrize("part", ["jobs", "events", "environment"])
def test_a_missing_part(finished, part):
    with h5py.File(finished, "r+") as file:
        del file[part]
    with pytest.raises(InputError, match="damaged"):
        read(finished)


def test_a_missing_attribute_or_column(finished):
    with h5py.File(finished, "r+") as file:
        del file["tasks"]
        file["tasks"] = np.zeros(2, np.dtype([("job", "i8")]))
    with pytest.raises(InputError, match="table tasks lacks column layer"):
        read(finished)
    with h5py.File(finished, "r+") as file:
        del file.attrs["complete"]
    with pytest.raises(InputError, match="without attributes complete"):
        read(finished)
