"""Codes side by side: from jobs of several records to rows, and what of them is shown."""

import csv
import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from hpcrefine.cli import main
from hpcrefine.errors import InputError
from hpcrefine.record import schema
from hpcrefine.record.reader import read
from hpcrefine.report import report
from hpcrefine.report.codes import compare


def make_job(variant="mds", seconds=0.04, layers=2, **changes):
    """A job whose layers are ready one after the other, the last after some seconds."""
    head = {"variant": variant, "scheme": variant, "sent_bytes": 3e6, "received_bytes": 5e5}
    each = {"minijobs": 2, "computed": 3.0, "decoding": 1e-3, "checking": 2e-4, "tasks_lost": 1}
    rows = [each | {"ready": seconds * (i + 1) / layers} for i in range(layers)]
    return head | {"verdict": "exact"} | changes, rows


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def shown(text):
    """The rows of the table, each by its headings."""
    header, _, *rows = [cells(line) for line in text.splitlines() if line.startswith("|")]
    return [dict(zip(header, row, strict=True)) for row in rows]


@pytest.fixture
def rows_of(write):
    numbers = itertools.count()

    def reduce(*records):
        return compare(read(write(jobs, f"run{next(numbers)}.h5")) for jobs in records).rows

    return reduce


def test_a_row_by_hand(rows_of):
    fast, slow = make_job(seconds=0.02), make_job(seconds=0.06, sent_bytes=1e6, received_bytes=1e5)
    slow[1][0] |= {"computed": 2.0, "decoding": 5e-3, "checking": 0.0, "tasks_lost": 4}
    (row,) = rows_of([fast, slow])
    assert (row.variant, row.scheme, row.jobs, row.lost) == ("mds", "mds", 2, 0)
    assert (row.first.median, row.last.median) == pytest.approx((0.02, 0.04))
    assert (row.first.p99, row.last.p99) == pytest.approx((0.03, 0.06))
    assert row.redundant_work == pytest.approx(((6 / 4 - 1) + (5 / 4 - 1)) / 2)
    assert (row.sent_bytes, row.received_bytes) == (2e6, 3e5)
    assert (row.decoding, row.checking) == pytest.approx((4e-3, 3e-4))
    assert row.tasks_lost == (2 + 5) / 2
    assert (row.ratio, row.verdict) == (1.0, "exact")


def test_jobs_are_taken_together_over_all_records(rows_of):
    jobs = [make_job(seconds=s) for s in np.linspace(0.04, 0.05, 12)]
    (apart,), (together,) = rows_of(jobs[::2], jobs[1::2]), rows_of(jobs)
    assert apart == together
    assert together.last.count == 12
    assert together.last.low < together.last.median < together.last.high


def test_layers_find_their_jobs_in_any_order(write):
    record = read(write([make_job(seconds=1.0), make_job(seconds=2.0), make_job(seconds=6.0)]))
    ids = np.array([7, 2, 9])
    record.jobs["job"], record.layers["job"] = ids, ids[record.layers["job"]]
    (row,) = compare([replace(record, layers=record.layers[::-1])]).rows
    assert (row.last.median, row.last.p99, row.first.median) == (2.0, 6.0, 1.0)


def test_rows_stand_by_stragglers_dead_and_appearance(rows_of):
    def jobs(*conditions):
        return [make_job(v, stragglers=s, dead=d) for v in ("b", "a") for s, d in conditions]

    rows = rows_of(jobs((2, 0), (0, 1)), [make_job("c"), *jobs((0, 0), (2, 0))])
    assert [(row.stragglers, row.dead, row.variant, row.jobs) for row in rows] == [
        (0, 0, "b", 1),
        (0, 0, "a", 1),
        (0, 0, "c", 1),
        (0, 1, "b", 1),
        (0, 1, "a", 1),
        (2, 0, "b", 2),
        (2, 0, "a", 2),
    ]


def test_one_label_with_two_schemes_is_two_rows(rows_of):
    rows = rows_of([make_job("x", scheme="mds"), make_job("x", scheme="uncoded")])
    assert [row.scheme for row in rows] == ["mds", "uncoded"]


def test_warmups_do_not_count_but_order(rows_of):
    rows = rows_of(
        [make_job(v, seconds=9.0, verdict="wrong", warmup=True) for v in "ab"]
        + [make_job(v, stragglers=s) for v in "ba" for s in (0, 1)]
    )
    assert [(row.stragglers, row.variant, row.jobs) for row in rows] == [
        (0, "a", 1),
        (0, "b", 1),
        (1, "a", 1),
        (1, "b", 1),
    ]
    assert {row.verdict for row in rows} == {"exact"}
    assert rows_of([make_job(warmup=True)]) == ()


def test_ratios_are_to_the_uncoded_of_the_group_or_to_the_first(write):
    times = {0: {"mds": 0.03, "uncoded": 0.02}, 1: {"mds": 0.04, "lt": 0.01}}
    jobs = [make_job(v, t, stragglers=s) for s, group in times.items() for v, t in group.items()]
    table = compare([read(write(jobs))])
    assert [row.ratio for row in table.rows] == pytest.approx([1.5, 1.0, 1.0, 0.25])
    assert [(base.stragglers, base.variant) for base in table.bases] == [(0, "uncoded"), (1, "mds")]
    assert [base.seconds for base in table.bases] == pytest.approx([0.02, 0.04])


def test_a_base_that_lost_all_its_jobs_is_none(write):
    jobs = [make_job("uncoded", status="lost", dead=1), make_job("mds", dead=1)]
    table = compare([read(write([(jobs[0][0], []), jobs[1]]))])
    assert [base.variant for base in table.bases] == ["mds"]
    assert [row.ratio for row in table.rows] == pytest.approx([np.nan, 1.0], nan_ok=True)
    lost = compare([read(write([(jobs[0][0], [])], "lost.h5"))])
    assert (len(lost.rows), lost.bases) == (1, ())


def test_lost_jobs_have_a_first_but_no_last_resolution(rows_of):
    lost = make_job(seconds=9.0, status="lost", verdict="unchecked", sent_bytes=1e6)
    lost[1][1] |= {"ready": np.nan, "computed": 0.0, "decoding": 0.0}
    (row,) = rows_of([make_job(), lost])
    assert (row.jobs, row.lost) == (2, 1)
    assert (row.first.count, row.first.p99) == (2, 4.5)
    assert (row.last.count, row.last.p99) == (1, 0.04)
    assert row.redundant_work == 0.5
    assert row.decoding == pytest.approx(2e-3)
    assert (row.sent_bytes, row.verdict) == (2e6, "unchecked")
    (row,) = rows_of([make_job(), (lost[0], [])])
    assert (row.first.count, row.tasks_lost, row.verdict) == (1, 1.0, "exact")


def test_oneshot_has_no_redundant_work(rows_of):
    oneshot = make_job("oneshot", layers=1, scheme="")
    oneshot[1][0] |= {"minijobs": 0, "computed": np.nan}
    (row,) = rows_of([oneshot])
    assert np.isnan(row.redundant_work)
    assert row.last.median == row.first.median == 0.04


def test_the_worst_verdict_stands(rows_of):
    (row,) = rows_of([make_job(verdict=v) for v in ("exact", "wrong", "unchecked")])
    assert row.verdict == "wrong"


def test_the_text_says_it_all(write):
    jobs = [make_job("uncoded", 0.02), make_job("mds", 0.03, scheme="vandermonde")] * 6
    jobs += [make_job("mds", 0.04, stragglers=1, dead=2, scheme="vandermonde")]
    path = write(jobs)
    text = report([path], codes=True)
    assert text.startswith(f"{path}: scaling [bold]x; measured; 4 workers and the master;")
    first, second, third = shown(text)
    assert second == {
        "stragglers": "0",
        "dead": "0",
        "variant": "mds",
        "scheme": "vandermonde",
        "jobs": "6",
        "lost": "0",
        "first [ms]": "15",
        "first 95 % [ms]": "15 .. 15",
        "first p99 [ms]": "15",
        "last [ms]": "30",
        "last 95 % [ms]": "30 .. 30",
        "last p99 [ms]": "30",
        "ratio": "1.500",
        "redundant [%]": "50.0",
        "sent [kB]": "3000",
        "received [kB]": "500",
        "decoding [us]": "2000",
        "checking [us]": "400",
        "tasks lost": "2",
        "verdict": "exact",
    }
    assert (first["variant"], first["ratio"]) == ("uncoded", "1.000")
    assert (third["stragglers"], third["dead"], third["last 95 % [ms]"]) == ("1", "2", "-")
    assert "\n  0 stragglers, 0 dead: uncoded, 20 ms\n" in text
    assert "\n  1 stragglers, 2 dead: mds (vandermonde), 40 ms\n" in text
    assert "no 95 % interval: last of mds (1 stragglers, 2 dead)" in text
    assert "rows mix them" not in text


def test_each_record_has_its_notes_and_mixtures_a_warning(write):
    event = {"kind": "died", "rank": 3, "time": 1.25}
    first = write([(*make_job(verdict="wrong"), [event])], "a.h5", complete=False)
    second = write([make_job(n=128), make_job(warmup=True)], "b.h5")
    text = report([first, second], codes=True)
    a, b = (text.index(f"{path}: ") for path in (first, second))
    assert "note: run was interrupted: 1 finished jobs" in text[a:b]
    assert "note: worker 3 died at 1.250 s, in job 0" in text[a:b]
    assert "note: 1 warm-ups left out" in text[b:]
    assert "warning: jobs differ in kind, shape, workers, kernel or threads" in text
    assert "WRONG results, their times mean nothing: mds (0 stragglers, 0 dead)" in text


@pytest.mark.parametrize("version", [1, 2])
def test_what_older_records_do_not_say_is_a_dash(write, monkeypatch, version):
    path = write([make_job()])
    record = read(path)
    for name in ("workers", "jobs", "layers", "tasks"):
        for column in schema.TABLES[name]:
            if column.since > version:
                getattr(record, name)[column.name] = column.absent
    monkeypatch.setattr("hpcrefine.report.sources.read", lambda *_: record)
    (row,) = shown(report([path], codes=True))
    unknown = {name.partition(" [")[0] for name, cell in row.items() if cell == "-"}
    assert unknown >= {"stragglers", "dead", "scheme", "redundant", "sent", "received", "decoding"}
    assert row["last [ms]"] == "40"
    first, last = shown(report([path]))
    assert (last["variant"], last["median [ms]"]) == ("mds", "40")
    assert "stragglers" not in first


def test_json_and_csv(write, tmp_path):
    paths = [write([make_job("uncoded")] * 7, "a.h5"), write([make_job(dead=1)], "b.h5")]

    def refuse(constant):
        raise AssertionError(constant)

    (table,) = json.loads(report(paths, codes=True, json=True), parse_constant=refuse)
    assert [run["file"] for run in table["runs"]] == list(map(str, paths))
    assert [row["last"]["median"] for row in table["rows"]] == [0.04, 0.04]
    assert table["rows"][1]["last"]["low"] is None
    assert [base["dead"] for base in table["bases"]] == [0, 1]
    text = report(paths, codes=True, csv=tmp_path / "out")
    assert text.endswith(f"wrote {tmp_path / 'out/codes.csv'}\n")
    with (tmp_path / "out/codes.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert first["files [1]"] == " ".join(map(str, paths))
    assert [first[name] for name in ("last_median [s]", "last_count [1]")] == ["0.04", "7"]
    assert second["last_low [s]"] == ""
    assert {"decoding [s]", "sent_bytes [B]", "redundant_work [1]"} < first.keys()


@pytest.mark.parametrize("jobs", [[], [make_job(warmup=True)]])
def test_nothing_to_compare(write, tmp_path, jobs):
    path = write(jobs)
    assert "no finished job to report" in report([path], codes=True, csv=tmp_path / "out")
    assert (tmp_path / "out/codes.csv").read_text() == "files [1]\n"


def test_phases_and_codes_are_two_tables(write, capsys):
    path = str(write([make_job()]))
    assert main(["report", "--codes", path]) == 0
    assert capsys.readouterr().out == report([path], codes=True)
    assert main(["report", "--codes", "--phases", path]) == 2
    assert "not allowed with" in capsys.readouterr().err


def test_what_is_no_record(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        report([tmp_path / "missing.h5"], codes=True)
