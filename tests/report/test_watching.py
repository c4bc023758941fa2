"""Real watchers beside real writers: live, killed, replaced, cut short, gone."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest

from hpcrefine.errors import InputError
from hpcrefine.record import schema
from hpcrefine.record.manifest import Manifest, Point
from hpcrefine.record.tail import Tail
from hpcrefine.record.writer import RecordWriter
from hpcrefine.report.pace import Pace
from hpcrefine.report.watched import JOBS, Watched
from hpcrefine.report.watching import watch

JOB = """[job]
name = "watched"
repeats = 4
warmups = 1
[operands]
a = { random = "normal", shape = [64, 48] }
b = { random = "normal", shape = [48, 40] }
[baseline]
oneshot = true
# --set job.repeats=20
"""  # 42 jobs
# Appends a job for each line on stdin and says when it is done; killed by the test.
WRITER = """
import json, sys
from hpcrefine.record.writer import RecordWriter
path, text, given = sys.argv[1:]
worker, job, layer, event = json.loads(given)
workers = [worker | {"rank": rank} for rank in range(1, 4)]
rest = {"kind": "measured", "environment": {}, "workers": workers, "force": True}
writer = RecordWriter(path, job_text=text, **rest)
print("begun", flush=True)
for i, line in enumerate(sys.stdin):
    change = json.loads(line)
    row = job | {"job": i, "variant": ("layered", "oneshot")[i % 2], "end": 2.0 * i} | change
    layers = [layer | {"job": i, "layer": j, "ready": 0.25 * j + 0.5} for j in range(2)]
    events = [event | {"job": i, "rank": 2, "kind": "died"}] if row["dead"] else []
    writer.append(row, layers, [], events)
    print(i, flush=True)
writer.close()
"""


@contextmanager
def writing(path, make_row, text=JOB):
    """A process that writes a record, and a function that lets it append a job."""
    layer = make_row("layers", error_bound=0.125)
    rows = [make_row("workers"), make_row("jobs"), layer, make_row("events", detail="gone")]
    command = [sys.executable, "-c", WRITER, str(path), text, json.dumps(rows)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as child:
        assert child.stdout.readline() == "begun\n"

        def append(**change):
            child.stdin.write(json.dumps(change) + "\n")
            child.stdin.flush()
            child.stdout.readline()

        try:
            yield child, append
        finally:
            child.kill()


@contextmanager
def watching(*arguments):
    """A watcher of which we read lines."""
    command = [sys.executable, "-m", "hpcrefine", "watch", "-i", "0.05", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as child:
        try:
            yield child
        finally:
            child.kill()


def ending(child):
    out, err = child.communicate(timeout=30)
    return child.returncode, out, err


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.h5"


def test_a_watcher_sees_jobs_come_and_their_writer_die(path, make_row):
    with watching(path, "--wait") as watcher, writing(path, make_row) as (writer, append):
        for number in range(6):
            append(warmup=number < 2, dead=int(number == 5), verdict="exact")
        while "6 of 42 jobs (2 of them warm-ups)" not in (line := watcher.stdout.readline()):
            assert "running: " in line or "note: worker 2 died at 0.000 s, in job 5: gone" in line
        assert "0.5 a second, 1 min 12 s left; layered 750 ms; oneshot 750 ms" in line
        append(verdict="wrong", dead=1)
        assert "note: worker 2" in watcher.stdout.readline()
        assert "7 of 42" in (line := watcher.stdout.readline())
        assert "; 1 wrong; " in line

        record = Watched(path)
        record.look()
        shown = record.text()
        assert shown.startswith(f"{path}: watched; measured; running\n")
        assert "2 of 3 alive (the master does not count)" in shown
        assert "a process is writing it" in shown
        assert re.search(r"\| oneshot +\| +1 \| +2 \| +750 \| +750 \| +0.125 \|", shown)
        assert "note: worker 2 died at 0.000 s, in job 5: gone" in shown

        os.kill(writer.pid, signal.SIGKILL)
        code, out, err = ending(watcher)
    assert code == 1
    assert out.splitlines()[-1].split(" ", 1)[1].startswith("interrupted: 7 of 42 jobs")
    assert err == (
        f"hpcrefine: {path}: its run was interrupted and left 7 finished jobs; "
        f"go on with hpcrefine run JOB.toml --resume -o {path}\n"
    )


def test_each_row_is_read_once_and_a_new_file_anew(path, make_row):
    tail = Tail(path, JOBS | {"layers": ("layer",)})
    with writing(path, make_row) as (_, append):
        assert tail.look().anew
        for number in range(3):
            append()
            news = tail.look()
            assert (news.anew, news.live) == (False, True)
            assert news.tables["jobs"]["job"].tolist() == [number]
            assert news.tables["layers"]["job"].tolist() == [number, number]
            assert len(tail.look().tables["layers"]) == 0
    assert tail.look().live is False
    record = Watched(path)
    record.look()
    with RecordWriter.resume(path, workers=[make_row("workers", rank=1)]) as writer:
        writer.append(make_row("jobs", job=3), [], [])
    news = tail.look()
    assert news.anew
    assert news.tables["jobs"]["job"].tolist() == [0, 1, 2, 3]
    assert record.look() == ["note: another file has taken its place, with 4 jobs"]
    assert "1 of 1 alive" in record.text()
    assert (record.state, record.code, record.ending) == ("done", 0, "")


def test_verdicts_that_are_found_out_later_count(path, make_row):
    rows = {i: make_row("jobs", job=i, verdict="unchecked") for i in range(4)}
    given = {"job_text": "", "kind": "simulated", "environment": {}, "workers": []}
    with RecordWriter(path, **given, locking=False) as writer:
        tail = Tail(path, JOBS)
        for i in rows:
            writer.append(rows[i], [make_row("layers", job=i)], [])
        assert tail.look().wrong == 0
        record = Watched(path)
        record.look()
        assert "4 of unknown jobs" in record.text()  # no such job file
        for i, verdict in ((0, "exact"), (2, "wrong")):
            writer.amend(rows[i] | {"verdict": verdict}, [make_row("layers", job=i)])
        assert tail.look().wrong == 1
        writer.amend(rows[1] | {"verdict": "wrong"}, [make_row("layers", job=1)])
    assert tail.look().wrong == 2
    record = Watched(path)
    record.look()
    assert "done     4 jobs\n" in record.text()


def test_rows_without_their_job_are_no_jobs(path, make_row):
    given = {"job_text": "", "kind": "measured", "environment": {}, "workers": []}
    writer = RecordWriter(path, **given, locking=False)
    writer.append(make_row("jobs", job=0), [make_row("layers", job=0)], [])
    writer._extend("layers", schema.pack("layers", [make_row("layers", job=1)]))
    tail = Tail(path, JOBS | {"layers": ()})
    news = tail.look()
    assert news.tables["jobs"]["job"].tolist() == news.tables["layers"]["job"].tolist() == [0]
    writer.append(make_row("jobs", job=2), [make_row("layers", job=2)], [])
    news = tail.look()
    assert news.tables["jobs"]["job"].tolist() == news.tables["layers"]["job"].tolist() == [2]
    writer._file["jobs"].resize((3,))
    writer.close(complete=False)
    news = tail.look()
    assert len(news.tables["jobs"]) == len(news.tables["layers"]) == 0


def test_what_cannot_be_seen_is_not_taken_for_dead(path, make_row):
    text = JOB.replace("# --set", "[record]\nlocking = false\n# --set")
    for given in ({"job_text": text}, {"environment": {"host": "elsewhere"}}):
        rest = {"job_text": JOB, "kind": "measured", "environment": {}, "workers": []}
        with RecordWriter(path, **(rest | given), force=True, locking=False):
            record = Watched(path)
            record.look()
            assert (record.state, record.over) == ("unseen", False)
            assert "cannot be seen from here" in record.text()
        record.look()
        assert record.state == "done"


def test_a_record_that_goes_or_is_cut_short_is_told_in_words(path, make_row, write):
    write([({}, [{"ready": 1.0}])], complete=False)
    record = Watched(path)
    record.look()
    size = path.stat().st_size
    os.truncate(path, size // 2)
    for _ in range(2):  # it may have been read at a bad moment
        assert record.look() == []
    with pytest.raises(InputError, match=r"run\.h5: damaged or unreadable record"):
        record.look()
    path.unlink()
    with pytest.raises(InputError, match="has gone while it was watched"):
        record.look()


def test_mistakes_are_one_line(path, write, capsys):
    with pytest.raises(InputError, match="no such file"):
        watch(path)
    with pytest.raises(InputError, match=r"found no study\.json, expected a study's folder"):
        watch(path.parent)
    path.write_text("no HDF5")
    with pytest.raises(InputError, match="not an HDF5 file"):
        watch(path)
    path.unlink()
    write([({}, [{"ready": 1.0}])])
    with pytest.raises(InputError, match=r"--interval: found 0, expected a number > 0"):
        watch(path, interval=0.0)
    assert watch(path, once=True) == 0
    assert "no process is writing it" in capsys.readouterr().out


def test_an_interrupt_from_the_keyboard_is_quiet(path, make_row):
    with writing(path, make_row), watching(path) as watcher:
        watcher.stdout.readline()
        watcher.send_signal(signal.SIGINT)
        assert ending(watcher) == (130, "", "")


def test_a_study_is_followed_point_by_point(tmp_path, make_row, write, capsys):
    points = [
        Point(number=i, name=f"ranks={i + 2}", ranks=i + 2, nodes=0, run=0, settings={},
              overrides=[], file=f"{i:03}.h5")
        for i in range(4)
    ]  # fmt: skip
    given = {"name": "sizes", "scaling": "", "created": "", "study": "", "order": [0, 1, 2, 3]}
    Manifest(**given, points=points).write(tmp_path)
    write([({}, [{"ready": 1.0}])], name="000.h5")
    write([({}, [{"ready": 1.0}])], name="001.h5", complete=False)
    with writing(tmp_path / "002.h5", make_row) as (writer, append), watching(tmp_path) as watcher:
        append()
        assert watch(tmp_path, once=True) == 1
        shown = capsys.readouterr()
        assert "1 of 4 points are done" in shown.err
        lines = shown.out.splitlines()
        assert lines[0] == "sizes: 4 points: 1 done, 1 interrupted, 1 pending, 1 running"
        assert lines[1].startswith("[0] ranks=2: done: 1 jobs")
        assert lines[2].startswith("[1] ranks=3: interrupted: 1 of ")
        assert lines[3].startswith("[2] ranks=4: running: 1 of 42 jobs")
        assert lines[4] == "[3] ranks=5: pending"
        while "3 of" not in watcher.stdout.readline():
            append()
        writer.stdin.close()
        with RecordWriter.resume(tmp_path / "001.h5", workers=[]):
            pass
        write([({}, [{"ready": 1.0}])], name="003.h5")
        code, out, err = ending(watcher)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].endswith("sizes: 4 points: 4 done")


def test_time_left_is_the_rounds_that_are_left():
    pace = Pace(2)
    assert (pace.rate(), pace.left(10, 0)) == ("", "")
    pace.add(np.array([0.0, 1.0, 10.0, 11.0, 22.0]))  # rounds of 10 and 12 s
    assert pace.rate() == "0.182 a second"
    assert pace.left(11, 5) == "30 s to 36 s left"
    assert pace.left(None, 5) == ""
    pace.add(22.0 + 5.0 * np.arange(1, 401))
    assert pace.rate() == "0.2 a second"
    assert pace.left(405 + 2000, 405) == "2 h 46 min left"
    slow = Pace()
    slow.add(90.0 * np.arange(9))
    assert slow.rate() == "one in 1 min 30 s"


def test_a_real_run_is_followed_to_its_end(tmp_path, mpiexec):
    (tmp_path / "job.toml").write_text(JOB.rpartition("#")[0])
    path = tmp_path / "run.h5"
    with watching(path, "--wait") as watcher:
        run = mpiexec(
            3, ["-m", "hpcrefine", "run", str(tmp_path / "job.toml"), "-o", str(path)], 60
        )
        assert run.code == 0, run.stderr
        code, out, err = ending(watcher)
    assert (code, err) == (0, "")
    assert re.search(r" done: 10 jobs \(2 of them warm-ups\); layered ", out.splitlines()[-1])
