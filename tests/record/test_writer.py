"""What the writer leaves behind, and what it refuses."""

import math
from datetime import datetime

import h5py
import numpy as np
import pytest

import hpcrefine
from hpcrefine.errors import InputError
from hpcrefine.record import schema
from hpcrefine.record.reader import read
from hpcrefine.record.writer import check_output


def test_a_closed_record_opens_plainly_and_describes_itself(path, open_writer, job):
    with open_writer() as writer:
        writer.append(*job(0))
    with h5py.File(path, "r") as file:
        assert tuple(file.attrs) == tuple(sorted(schema.ATTRIBUTES))
        assert file.attrs["format"] == "hpcrefine"
        assert file.attrs["format_version"] == schema.FORMAT_VERSION
        assert file.attrs["hpcrefine_version"] == hpcrefine.__version__
        assert datetime.fromisoformat(file.attrs["created"]).utcoffset().total_seconds() == 0
        assert "größe" in file.attrs["job"]
        assert file.attrs["complete"]
        assert dict(file["environment"].attrs) == {"host": "a", "cores": 2, "clock": 2.5}
        for table in schema.TABLES:
            assert file[table].dtype == schema.dtype(table)
            assert tuple(file[table].attrs["units"]) == schema.units(table)
        assert file["workers"]["host"].tolist() == [b"node0", b"node1", b"node2"]
        assert len(file["tasks"]) == 6


def test_a_long_job_text_and_environment_fit(path, open_writer):
    text = "# " + "x" * 200_000
    open_writer(job_text=text, environment={f"key{i}": "v" * 500 for i in range(200)}).close()
    record = read(path)
    assert record.attributes["job"] == text
    assert len(record.environment) == 200


@pytest.mark.parametrize("locking", [None, True, False, "best-effort"])
def test_locking_can_be_chosen(path, open_writer, job, locking):
    with open_writer(locking=locking) as writer:
        writer.append(*job(0))
    assert len(read(path).jobs) == 1


def test_an_exception_leaves_the_record_incomplete(path, open_writer, job):
    with pytest.raises(RuntimeError), open_writer() as writer:
        writer.append(*job(0))
        raise RuntimeError
    record = read(path)
    assert not record.complete
    assert len(record.jobs) == 1


def test_close_twice_does_nothing(path, open_writer):
    writer = open_writer()
    writer.close(complete=False)
    writer.close()
    assert not read(path).complete


def test_a_job_without_layers_or_tasks(path, open_writer, row):
    with open_writer() as writer:
        writer.append(row("jobs", job=0, status="lost"), [], [])
    assert read(path).jobs["status"].tolist() == ["lost"]


def test_bad_rows_leave_no_trace(path, open_writer, job, row):
    with open_writer() as writer:
        writer.append(*job(0))
        head, layers, tasks, _ = job(1)
        with pytest.raises(KeyError, match="deadline"):
            writer.append({k: v for k, v in head.items() if k != "deadline"}, layers, tasks)
        with pytest.raises(ValueError, match="column verdict"):
            writer.append(head | {"verdict": "fine"}, layers, tasks)
        with pytest.raises(ValueError, match="table layers, column job"):
            writer.append(head, [*layers, row("layers", job=0)], tasks)
        with pytest.raises(ValueError, match="table events, column job"):
            writer.append(head, layers, tasks, [row("events", job=0)])
        with pytest.raises(ValueError, match="table events, column kind: 'slept'"):
            writer.append(head, layers, tasks, [row("events", job=1, kind="slept")])
        with pytest.raises(ValueError, match="column job: 0"):
            writer.append(*job(0))
        with pytest.raises(ValueError, match="column job: -1"):
            writer.append(*job(-1))
    with h5py.File(path) as file:
        assert [len(file[name]) for name in ("jobs", "layers", "tasks", "events")] == [1, 2, 6, 0]


def test_the_jobs_row_comes_last(path, open_writer, job, inference, monkeypatch):
    with open_writer() as writer:
        extend = writer._extend

        def break_before_the_job(name, rows):
            if name == "jobs":
                raise OSError("disk full")
            extend(name, rows)

        writer.append(*job(0, events=2), **inference(0))
        monkeypatch.setattr(writer, "_extend", break_before_the_job)
        with pytest.raises(OSError, match="disk full"):
            writer.append(*job(1, events=2), **inference(1))
    tables = ("layers", "tasks", "events", "upgrades", "predictions")
    with h5py.File(path) as file:
        assert [set(file[name]["job"]) for name in tables] == [{0, 1}] * 5
    record = read(path)
    assert [set(getattr(record, name)["job"]) for name in ("jobs", *tables)] == [{0}] * 6


def make_many(row, numbers, layers=2):
    """What ``extend`` takes: arrays of jobs, of their layers and of their estimates."""
    return (
        schema.pack("jobs", [row("jobs", job=i, rate=0.5, split="optimal") for i in numbers]),
        schema.pack(
            "layers",
            [row("layers", job=i, layer=j, ready=math.nan) for i in numbers for j in range(layers)],
        ),
        schema.pack("estimates", [row("estimates", job=numbers[0], worker=1, tasks=7, mean=0.25)]),
    )


@pytest.mark.parametrize("compressed", [False, True])
def test_many_jobs_at_a_time(path, open_writer, job, row, compressed):
    with open_writer(compressed=compressed) as writer:
        writer.append(*job(2))
        writer.extend(*make_many(row, range(3, 900)))
        writer.extend(*make_many(row, [1000, 0])[:2])
        writer.append(*job(1))
        assert writer.finished == {*range(900), 1000}
    record = read(path)
    assert record.complete
    assert record.jobs["job"].tolist() == [2, *range(3, 900), 1000, 0, 1]
    assert record.jobs["split"].tolist().count("optimal") == 899
    assert len(record.layers) == 2 * len(record.jobs)
    assert np.isnan(record.layers["ready"]).sum() == 2 * 899
    assert record.estimates.tolist() == [(3, 1, 7, 0.25, 0.0, 0)]
    with h5py.File(path) as file:
        assert file["jobs"].compression == ("lzf" if compressed else None)


def test_of_many_jobs_none_is_there_twice_or_negative(path, open_writer, row):
    with open_writer() as writer:
        writer.extend(*make_many(row, [4, 5]))
        for numbers in ([5, 6], [7, 7], [-1, 8]):
            with pytest.raises(ValueError, match="column job: ids are negative, or there already"):
                writer.extend(*make_many(row, numbers))
        writer.extend(*(rows[:0] for rows in make_many(row, [9])))
    assert [len(rows) for rows in (read(path).jobs, read(path).layers)] == [2, 4]


def test_of_many_jobs_the_jobs_come_last(path, open_writer, row, monkeypatch):
    with open_writer() as writer:
        extend = writer._extend

        def break_before_the_jobs(name, rows):
            if name == "jobs":
                raise OSError("disk full")
            extend(name, rows)

        writer.extend(*make_many(row, [0, 1]))
        monkeypatch.setattr(writer, "_extend", break_before_the_jobs)
        with pytest.raises(OSError, match="disk full"):
            writer.extend(*make_many(row, [2, 3]))
        assert writer.finished == {0, 1}
    with h5py.File(path) as file:
        assert [len(file[name]) for name in ("jobs", "layers", "estimates")] == [2, 8, 2]
    record = read(path)
    assert [len(record.jobs), len(record.layers), len(record.estimates)] == [2, 4, 1]


def test_a_job_is_amended(path, open_writer, job, row):
    with open_writer() as writer:
        for number in range(3):
            writer.append(*job(number))
        head = row("jobs", job=1, verdict="wrong")
        layers = [row("layers", job=1, layer=i, error_measured=0.5 + i) for i in range(2)]
        writer.amend(head, layers)
    record = read(path)
    assert record.jobs["job"].tolist() == [0, 1, 2]
    assert record.jobs["verdict"].tolist() == ["exact", "wrong", "exact"]
    assert record.layers["error_measured"].tolist() == [0.0, 0.0, 0.5, 1.5, 0.0, 0.0]


def test_jobs_are_amended_between_others(path, open_writer, job, row):
    with open_writer() as writer:
        for number in (5, 3, 8, 0):
            writer.append(*job(number, layers=number))
            layers = [row("layers", job=number, layer=i, ready=number + i) for i in range(number)]
            if layers:
                writer.amend(row("jobs", job=number, verdict="wrong"), layers)
    record = read(path)
    assert record.jobs[["job", "verdict"]].tolist() == [
        *((5, "wrong"), (3, "wrong"), (8, "wrong"), (0, "exact")),
    ]
    assert record.layers["ready"].tolist() == [*range(5, 10), *range(3, 6), *range(8, 16)]


def test_rows_of_another_type_are_refused(path, open_writer, inference, row):
    rows = inference(0)["predictions"]
    other = rows.astype([(name, "f8") for name in rows.dtype.names])
    with open_writer() as writer, pytest.raises(ValueError, match="table predictions: rows of"):
        writer.append(row("jobs", job=0), [], [], predictions=other)
    assert len(read(path).jobs) == 0


def test_what_is_not_there_is_not_amended(path, open_writer, job, row):
    with open_writer() as writer:
        writer.append(*job(0))
        layers = job(0)[1]
        with pytest.raises(ValueError, match="table layers: 0 rows of job 7"):
            writer.amend(row("jobs", job=7), [row("layers", job=7)])
        with pytest.raises(ValueError, match="table layers: 2 rows of job 0"):
            writer.amend(row("jobs", job=0), layers[:1])
        with pytest.raises(ValueError, match="column verdict"):
            writer.amend(row("jobs", job=0, verdict="fine"), [row("layers", ready=9.0)] * 2)
    assert read(path).layers["ready"].tolist() == [0.0, 0.1]


def test_events_are_optional_and_kept(path, open_writer, job, row):
    with open_writer() as writer:
        writer.append(*job(0)[:3])
        died = row("events", job=1, time=2.5, rank=3, kind="died", detail="d" * 200)
        writer.append(*job(1)[:3], [died])
    (event,) = read(path).events
    assert event.tolist() == (1, 2.5, 3, "died", "d" * 128)


def test_jobs_of_inference(path, open_writer, job, inference):
    with open_writer() as writer:
        for number, samples in enumerate((9000, 1, 9000)):
            head, _, tasks, events = job(number)
            writer.append(head, [], tasks, events, **inference(number, 3, samples))
        with pytest.raises(ValueError, match="table predictions, column job: rows of another job"):
            writer.append(*job(3), predictions=inference(2)["predictions"])
        with pytest.raises(ValueError, match="table upgrades, column job: rows of another job"):
            writer.append(*job(3), upgrades=inference(2)["upgrades"])
    record = read(path)
    assert len(record.jobs) == 3
    assert len(record.layers) == 0
    assert record.upgrades[["job", "upgrade", "samples"]].tolist() == [
        (number, upgrade, samples)
        for number, samples in enumerate((9000, 1, 9000))
        for upgrade in range(3)
    ]
    assert np.bincount(record.predictions["job"]).tolist() == [27_000, 3, 27_000]
    expected = record.predictions["sample"] + 0.5 * record.predictions["upgrade"]
    assert np.array_equal(record.predictions["score"], expected)
    assert np.isnan(record.predictions["error"]).all()
    assert (record.predictions["label"] == -1).all()


def test_predictions_are_compressed_in_all_records(path, open_writer, job, inference):
    with open_writer() as writer:
        writer.append(*job(0), **inference(0, samples=20_000))
    with h5py.File(path) as file:
        assert file["predictions"].compression == "lzf"
        assert file["upgrades"].compression is None
        stored = file["predictions"].id.get_storage_size()
        assert stored < 0.4 * file["predictions"].dtype.itemsize * 40_000


def test_a_file_that_appears_meanwhile_is_kept(path, open_writer, monkeypatch):
    def hold(_):
        path.write_text("precious")

    monkeypatch.setattr("hpcrefine.record.state.hold", hold)
    with pytest.raises(InputError, match=r"run\.h5: .*in the meantime"):
        open_writer()
    assert path.read_text() == "precious"
    assert list(path.parent.iterdir()) == [path]


def test_an_existing_file_is_kept_without_force(path, open_writer):
    path.write_text("precious")
    with pytest.raises(InputError, match=r"run\.h5.*--force"):
        open_writer()
    with pytest.raises(InputError, match=r"run\.h5.*--force"):
        check_output(path)
    assert path.read_text() == "precious"
    check_output(path, force=True)
    open_writer(force=True).close()
    assert read(path).complete


def test_a_failed_creation_keeps_the_old_file_and_leaves_nothing(path, open_writer):
    path.write_text("precious")
    with pytest.raises(TypeError):
        open_writer(force=True, environment={"bad": object()})
    assert path.read_text() == "precious"
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_is_an_input_error_and_leaves_nothing(path, open_writer, monkeypatch):
    def full(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr("hpcrefine.record.state.hold", full)
    with pytest.raises(InputError, match="No space left"):
        open_writer()
    assert list(path.parent.iterdir()) == []


def test_places_that_cannot_be_written(tmp_path, path, open_writer):
    with pytest.raises(InputError, match="no directory"):
        check_output(tmp_path / "missing" / "run.h5")
    with pytest.raises(InputError, match="is a directory"):
        check_output(tmp_path, force=True)
    path.write_text("")
    with pytest.raises(InputError, match="no directory"):
        check_output(path / "run.h5")
    assert list(tmp_path.iterdir()) == [path]


def test_where_the_system_refuses_a_file(open_writer):
    # Root may write anywhere, but for a file system that takes no files.
    with pytest.raises(InputError, match=r"/proc/run\.h5"):
        open_writer.func("/proc/run.h5")


def test_check_output_creates_nothing(path):
    check_output(path)
    check_output(path, force=True)
    assert list(path.parent.iterdir()) == []


def test_a_running_record_is_not_replaced(path, open_writer, job):
    with open_writer() as writer:
        with pytest.raises(InputError, match="another run is writing"):
            open_writer(force=True)
        writer.append(*job(0))
    assert read(path).complete
    check_output(path, force=True)


def test_an_unknown_kind_is_refused(open_writer):
    with pytest.raises(ValueError, match="guessed"):
        open_writer(kind="guessed")
