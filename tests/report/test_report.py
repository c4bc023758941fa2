"""What people and programs get to see."""

import csv
import json
import subprocess
import sys

import pytest

from hpcrefine.errors import InputError
from hpcrefine.record.writer import RecordWriter
from hpcrefine.report import report


def lines_of(text, start):
    return [line for line in text.splitlines() if line.startswith(start)]


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_text_tells_times_speeds_and_their_base(write, jobs):
    path = write(jobs)
    text = report([path])
    assert text.startswith(
        f"{path}: scaling [bold]x; measured; 4 workers and the master; "
        "kernel int8 with 2 threads; 64 x 96 x 32\n"
    )
    header, _, first, last, base = map(cells, lines_of(text, "|"))
    row = dict(zip(header, first, strict=True))
    assert row["median [ms]"] == "10"
    assert row["95 % interval [ms]"] == "9.992 .. 10.01"
    assert (row["speed"], row["error bound"], row["measured"]) == ("4.00", "1.3e-03", "-")
    assert dict(zip(header, last, strict=True))["error bound"] == "0"
    assert base[-1] == "exact"
    assert "median of one-shot, 40 ms" in text
    assert "2 warm-ups left out" in text
    assert "warning" not in text
    assert "interrupted" not in text
    assert "in time" not in header


def test_stragglers_have_a_column_where_they_differ(write):
    times = [(0, 0.01), (2, 0.03)]
    jobs = [({"stragglers": s, "variant": "oneshot"}, [{"ready": t}]) for s, t in times]
    text = report([write(jobs)])
    header, _, *rows = map(cells, lines_of(text, "|"))
    assert header[:3] == ["variant", "stragglers", "layer"]
    assert [row[:3] for row in rows] == [["oneshot", "0", "0"], ["oneshot", "2", "0"]]
    assert "median of one-shot, 10 ms with 0 stragglers, over" in text
    assert "interval: oneshot 0 with 0 stragglers, oneshot 0 with 2 stragglers" in text
    header, *_ = map(cells, lines_of(report([write(jobs, "2.h5")], phases=True), "|"))
    assert header[:3] == ["variant", "stragglers", "layer"]
    header, *_ = map(cells, lines_of(report([write(jobs[:1], "1.h5")]), "|"))
    assert "stragglers" not in header


def test_what_happened_to_workers_is_noted(write):
    kinds = ("died", "silent", "lied", "dropped")
    events = [{"kind": kind, "rank": 1 + i, "time": 0.5 * i} for i, kind in enumerate(kinds)]
    events[1]["detail"] = "no reply for 2 s"
    text = report([write([({}, [{}]), ({}, [{}], events)])])
    assert lines_of(text, "note: worker") == [
        "note: worker 1 died at 0.000 s, in job 1",
        "note: worker 2 went silent at 0.500 s, in job 1: no reply for 2 s",
        "note: worker 3 sent wrong results at 1.000 s, in job 1",
        "note: worker 4 was dropped at 1.500 s, in job 1",
    ]
    text = report([write([({}, [{}], events[:4] * 3)], "many.h5")])
    assert len(lines_of(text, "note: worker")) == 10
    assert "note: 2 further such events" in text
    (table,) = json.loads(report([write([({}, [{}], events)], "json.h5")], json=True))
    assert [event["kind"] for event in table["events"]] == list(kinds)


def test_a_resumed_run_is_noted(write, jobs, make_row):
    path = write(jobs, complete=False)
    assert "was resumed" not in report([path])
    rows = [make_row("workers", rank=rank) for rank in range(3)]
    RecordWriter.resume(path, workers=rows).close()
    text = report([path])
    assert "note: run was resumed: started 2 times, with 4, 2 workers" in text
    assert "interrupted" not in text


def test_a_pipe_cuts_nothing(write, jobs):
    code = "import sys, hpcrefine.report as r; print(r.report(sys.argv[1:]), end='')"
    path = write(jobs)
    out = subprocess.run(
        [sys.executable, "-c", code, path],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "40", "LC_ALL": "C"},
    ).stdout
    assert out == report([path])
    assert out.isascii()
    rows = lines_of(out, "|")
    assert len({len(row) for row in rows}) == 1
    assert len({row.count("|") for row in rows}) == 1


def test_warnings(write):
    few = [({"verdict": "wrong"}, [{"ready": 1.0}])] * 2
    text = report([write(few, complete=False)])
    assert "run was interrupted: 2 finished jobs" in text
    assert "fewer than 6 times, no 95 % interval: layered 0" in text
    assert "WRONG results, their times mean nothing: layered 0" in text
    assert "No one-shot job to compare with" in text
    shaky = [({"status": "stopped"}, [{"ready": float(i)}]) for i in range(1, 9)]
    text = report([write(shaky, "shaky.h5", kind="simulated")])
    assert "unstable, interval wider than 10% of the median: layered 0" in text
    assert "8 jobs were stopped early, 0 lost" in text
    assert "simulated clock" in text


@pytest.mark.parametrize(
    ("seconds", "header", "cell"),
    [(2.5, "[s]", "2.5"), (0.0125, "[ms]", "12.5"), (3e-6, "[us]", "3"), (4e-8, "[us]", "0.04")],
)
def test_times_have_a_sensible_unit(write, seconds, header, cell):
    text = report([write([({}, [{"ready": seconds}])])])
    head, _, row = map(cells, lines_of(text, "|"))
    assert dict(zip(head, row, strict=True))[f"median {header}"] == cell


def test_deadlines_and_partial_layers_show(write):
    jobs = [({"deadline": 1.0}, [{"ready": 0.5, "met_deadline": True}]), ({"deadline": 1.0}, [])]
    head, _, row = map(cells, lines_of(report([write(jobs)]), "|"))
    shown = dict(zip(head, row, strict=True))
    assert (shown["in time"], shown["jobs"]) == ("0.50", "1 of 2")


@pytest.mark.parametrize("jobs", [[], [({"warmup": True}, [{"ready": 1.0}])]])
def test_an_empty_record_says_so(write, jobs, tmp_path):
    path = write(jobs, complete=False)
    text = report([path])
    assert "no finished job to report" in text
    assert f"interrupted: {len(jobs)} finished" in text
    assert json.loads(report([path], json=True))[0]["rows"] == []
    report([path], csv=tmp_path / "out")
    assert len((tmp_path / "out/run.csv").read_text().splitlines()) == 1


def test_json_is_strict_and_whole(write, jobs):
    paths = [write(jobs), write(jobs[:1], "other.h5", complete=False)]

    def refuse(constant):
        raise AssertionError(constant)

    first, second = json.loads(report(paths, json=True), parse_constant=refuse)
    assert (first["complete"], second["complete"]) == (True, False)
    assert first["rows"][0]["ready"]["median"] == pytest.approx(0.01)
    assert first["rows"][0]["error_measured"] is None
    assert first["rows"][0]["speed"] == pytest.approx(4.0)


def test_json_of_infinite_bounds(write):
    path = write([({}, [{"error_bound": float("inf")}])])
    assert json.loads(report([path], json=True))[0]["rows"][0]["error_bound"] is None
    assert "inf" in report([path])


def test_csv_has_a_line_per_row_and_units(write, jobs, tmp_path):
    out = tmp_path / "deep/out"
    text = report([write(jobs), write(jobs, "other.h5")], csv=out)
    assert sorted(p.name for p in out.iterdir()) == ["other.csv", "run.csv"]
    assert f"wrote {out / 'run.csv'}" in text
    with (out / "run.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["variant [1]"] for row in rows] == ["layered", "layered", "oneshot"]
    assert float(rows[0]["ready_median [s]"]) == pytest.approx(0.01)
    assert rows[0]["ready_count [1]"] == "10"
    assert rows[0]["error_measured [1]"] == ""
    assert rows[0]["name [1]"] == "scaling [bold]x"
    assert None not in rows[0]


def test_records_of_one_name_do_not_overwrite_each_other(write, jobs, tmp_path):
    (tmp_path / "sub").mkdir()
    paths = [write(jobs), write(jobs, "sub/run.h5")]
    with pytest.raises(InputError, match=r"run\.csv"):
        report(paths, csv=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_csv_where_no_directory_can_be(write, jobs):
    path = write(jobs)
    with pytest.raises(InputError, match="cannot write CSV"):
        report([path], csv=path)


def test_what_is_no_record(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        report([tmp_path / "missing.h5"])
