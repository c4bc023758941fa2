"""Streams: from jobs to rows by hand, what stands beside them, and what is shown."""

import csv
import json
import math

import numpy as np
import pytest
from scipy import stats

from hpcrefine.analysis.statistics import Mean, share_interval
from hpcrefine.record.reader import read
from hpcrefine.report import report
from hpcrefine.report.streams import COLUMNS, group, summarise

TWO_WORKERS = ((6, 0.25), (2, 1.0))  # 4 + 1 digit products a second


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def shown(text):
    """The rows of the table, each by its headings."""
    header, _, *rows = [cells(line) for line in text.splitlines() if line.startswith("|")]
    return [dict(zip(header, row, strict=True)) for row in rows]


@pytest.fixture
def rows_of(write_streams):
    def reduce(*streams, **options):
        return summarise(read(write_streams(*streams, **options), COLUMNS)).rows

    return reduce


def test_rows_by_hand(rows_of):
    first, last = rows_of({"delays": [(1.0, 2.0), (2.0, 3.0)], "estimates": TWO_WORKERS})
    assert (first.variant, first.split, first.redundancy, first.layer) == (
        "layered",
        "uniform",
        1.0,
        0,
    )
    assert math.isnan(first.deadline)
    assert (first.jobs, first.delay.count, first.delay.value, last.delay.value) == (
        100,
        100,
        1.5,
        2.5,
    )
    assert (first.median, first.p90, first.p99) == (1.0, 2.0, 2.0)
    assert (first.waiting, first.service, first.success) == (0.5, 1.5, 1.0)
    assert first.verdict == "exact"
    # Z = 4 digit products at 5 a second: S = 0.8 s, rho = 0.08.
    waiting = 0.1 * 0.8**2 / (2 * (1 - 0.08))
    assert first.utilisation == pytest.approx(0.08)
    assert first.bound == pytest.approx(waiting + 1 / 5)
    assert last.bound == pytest.approx(waiting + 4 / 5)
    assert math.isnan(first.overhead)
    assert math.isnan(first.ratio)


def test_the_published_bounds(rows_of):
    rates = np.array([628.29, 153.15, 508.13, 443.17, 467.26])
    estimates = [(200, 50_000 / 4 / rate) for rate in rates]
    shape = {"delays": [(9.5, 21.0, 27.0)], "minijobs": (1, 2, 1), "rate": 0.01}
    layered = rows_of({"estimates": estimates} | shape)
    assert [row.bound for row in layered] == pytest.approx([9.0241, 20.3877, 26.0695], abs=1e-4)
    oneshot = {"variant": "oneshot", "minijobs": (4,), "delays": [(27.0,)]}
    (row,) = rows_of({"estimates": estimates, "rate": 0.01} | oneshot, name="2.h5")
    assert row.bound == pytest.approx(26.0695, abs=1e-4)


def test_speeds_are_means_over_the_jobs_that_know_them(rows_of):
    known, other = {"estimates": TWO_WORKERS}, {"estimates": ((4, 0.5), (4, 1.0))}
    unknown = {"estimates": ((4, np.nan), (4, 1.0))}
    assert rows_of(known, other, unknown, {})[0].utilisation == pytest.approx(0.1 * 4 / 4)
    assert math.isnan(rows_of(unknown, {}, name="2.h5")[0].bound)


def test_a_product_in_floating_point_has_no_bound(rows_of):
    oneshot = {"variant": "oneshot", "minijobs": (0,), "delays": [(2.0,)], "layers": {"share": 1}}
    (row,) = rows_of({"estimates": TWO_WORKERS} | oneshot)
    assert math.isnan(row.bound)
    assert math.isnan(row.utilisation)


def test_settings_are_apart_and_in_order(rows_of):
    def stream(**settings):
        return {"jobs": 3, "delays": [(1.0,)], "minijobs": (4,)} | settings

    rows = rows_of(
        stream(warmup=True, variant="warm"),
        stream(variant="oneshot", redundancy=1.5),
        stream(split="optimal", redundancy=1.5, repeat=1),
        stream(split="optimal"),
        stream(split="optimal", redundancy=1.5),
        stream(stragglers=2),
        stream(deadline=2.0),
        stream(deadline=1.0),
        stream(variant="oneshot"),
    )
    found = [(r.variant, r.split, r.redundancy, r.deadline, r.stragglers, r.jobs) for r in rows]
    assert str(found) == str(
        [
            ("layered", "uniform", 1.0, np.nan, 2, 3),
            ("layered", "uniform", 1.0, 1.0, 0, 3),
            ("layered", "uniform", 1.0, 2.0, 0, 3),
            ("layered", "optimal", 1.0, np.nan, 0, 3),
            ("layered", "optimal", 1.5, np.nan, 0, 6),
            ("oneshot", "uniform", 1.0, np.nan, 0, 3),
            ("oneshot", "uniform", 1.5, np.nan, 0, 3),
        ]
    )


def test_layers_find_their_jobs_in_any_order(write_streams):
    record = read(
        write_streams({"jobs": 40, "delays": [(1.0, 5.0)]}, {"jobs": 9, "split": "dynamic"})
    )
    by_hand = summarise(record).rows
    ids = np.random.default_rng(1).permutation(49) * 3
    record.jobs["job"], record.layers["job"] = ids, ids[record.layers["job"]]
    shuffled = np.random.default_rng(2).permutation(len(record.layers))
    record.layers[:] = record.layers[shuffled]
    assert repr(summarise(record).rows) == repr(by_hand)


def test_layers_that_were_not_released_do_not_count_in_delays(rows_of, make_stream):
    times = np.ones((8, 2))
    times[6:, 1] = np.nan
    stream = {"jobs": 8, "layers": {"delay": times, "ready": times}, "met": (8, 5), "deadline": 1.0}
    first, last = rows_of(stream)
    assert (first.delay.count, first.success) == (8, 1.0)
    assert (last.delay.count, last.delay.value, last.success) == (6, 1.0, 5 / 8)
    assert (last.success_low, last.success_high) == share_interval(5, 8)
    never = {"jobs": 4, "delays": [(1.0, math.nan)], "met": (4, 0), "deadline": 1.0}
    _, last = rows_of(never, name="never.h5")
    assert (last.delay.count, last.success) == (0, 0.0)
    assert math.isnan(last.p99)


def test_jobs_without_rows_of_layers_count(write_streams, make_stream):
    record = read(write_streams({"jobs": 4, "estimates": TWO_WORKERS}))
    kept = record.layers[record.layers["job"] != 0]
    (streams,) = group(type(record)(**vars(record) | {"layers": kept}))
    assert streams.products.tolist() == [1.0, 4.0]
    assert streams.layers["job"].tolist() == [[-1, -1], [1, 1], [2, 2], [3, 3]]


def test_what_the_master_costs(rows_of):
    times = np.ones((4, 2))
    times[3, 1] = np.nan  # the first layer is the last of this job
    layers = {"ready": times, "prepare": 0.25, "decode": [0.125, 0.5]}
    stream = {"jobs": 4, "layers": layers}
    assert rows_of(stream, kind="measured")[0].overhead == 0.25 + (3 * 0.5 + 0.125) / 4
    assert math.isnan(rows_of(stream, name="simulated.h5")[0].overhead)


def test_splits_are_compared_with_the_uniform_one(write_streams):
    def table(*splits):
        streams = [{"split": s, "delays": [(1.0 + i, 2.0)]} for i, s in enumerate(splits)]
        return summarise(read(write_streams(*streams, name=f"{splits}.h5")))

    both = table("optimal", "uniform")
    assert both.base == "uniform"
    assert [row.ratio for row in both.rows] == [1.0, 1.0, 0.5, 1.0]
    other = table("optimal", "dynamic")
    assert other.base == "optimal"
    assert [row.ratio for row in other.rows] == [1.0, 1.0, 2.0, 1.0]
    assert table("optimal").base == ""


def test_the_text_says_it_all(write_streams):
    slow = {"redundancy": 1.5, "rate": 2.0, "estimates": TWO_WORKERS, "deadline": 3.0}
    path = write_streams({"estimates": TWO_WORKERS, "deadline": 3.0, "met": (100, 80)}, slow)
    text = report([path])
    assert text.startswith(f"{path}: scaling [bold]x; simulated; 2 workers and the master; ")
    first, last, *_ = shown(text)
    assert first == {
        "variant": "layered",
        "Omega": "1",
        "deadline [s]": "3",
        "layer": "0",
        "jobs": "100",
        "mean delay [s]": "1",
        "+-": "0",
        "bound [s]": "0.2348",
        "median [s]": "1",
        "p90 [s]": "1",
        "p99 [s]": "1",
        "in time": "1.000",
        "95 % interval": "0.963 .. 1.000",
        "waiting [s]": "0.5",
        "service [s]": "1.5",
        "rho": "0.080",
        "verdict": "exact",
    }
    assert (last["in time"], last["95 % interval"]) == ("0.800", "0.711 .. 0.867")
    assert "batch means" in text
    assert "M/D/1" in text
    assert (
        "warning: rho >= 1, the queue grows for as long as jobs arrive and its delays have no mean:"
        " layered, Omega 1.5\n"
    ) in text
    assert shown(text)[2]["bound [s]"] == "inf"


def test_columns_that_say_nothing_are_left_out(write_streams):
    text = report([write_streams({}, kind="measured")])
    assert not {"Omega", "split", "deadline [s]", "in time", "ratio"} & shown(text)[0].keys()
    assert shown(text)[0]["master [ms]"] == "0"
    assert "warning" not in text
    assert "Ratio" not in text


def test_wrong_results_are_warned_of(write_streams):
    text = report([write_streams({"verdict": "wrong"}, {"redundancy": 2.0})])
    assert "warning: WRONG results, their times mean nothing: layered, Omega 1\n" in text


def test_a_record_of_warmups_says_so(write_streams):
    assert "no finished job to report" in report([write_streams({"warmup": True})])


def test_streams_and_products_in_one_report(write_streams, write, jobs):
    text = report([write_streams({}, name="stream.h5"), write(jobs)])
    assert "mean delay [s]" in text
    assert "95 % interval [ms]" in text


def test_json_and_csv(write_streams, tmp_path):
    path = write_streams({"estimates": TWO_WORKERS}, {"split": "optimal", "rate": 2.0})
    (table,) = json.loads(report([path], json=True))
    assert (table["base"], len(table["rows"])) == ("uniform", 4)
    assert table["rows"][0]["delay"] == {"count": 100, "value": 1.0, "half": 0.0}
    assert table["rows"][0]["deadline"] is None
    assert "wrote" in report([path], csv=tmp_path / "out")
    with (tmp_path / "out/run.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["split [1]"] for row in rows] == ["uniform", "uniform", "optimal", "optimal"]
    assert float(rows[0]["delay_value [s]"]) == 1.0
    assert float(rows[1]["bound [s]"]) == pytest.approx(0.83478, abs=1e-5)
    assert rows[0]["delay_count [1]"] == "100"
    assert rows[0]["deadline [s]"] == ""


def test_batch_means_by_hand():
    values = np.repeat(np.arange(25.0), 4)
    mean = Mean.of(values)
    assert (mean.count, mean.value) == (100, 12.0)
    spread = np.arange(25.0).std(ddof=1) / 5
    assert mean.half == pytest.approx(stats.t.ppf(0.975, 24) * spread)
    assert math.isnan(Mean.of(values[:49]).half)
    assert Mean.of([]).count == 0
    assert math.isnan(Mean.of([]).value)


def test_batch_means_cover_the_mean_of_dependent_values():
    rng = np.random.default_rng(5)
    hits = naive = 0
    for _ in range(300):
        noise = rng.normal(size=5000)
        values = np.empty_like(noise)
        last = 0.0
        for i, step in enumerate(noise):
            values[i] = last = 0.8 * last + step
        hits += abs(values.mean()) < Mean.of(values).half
        naive += abs(values.mean()) < 1.96 * values.std() / np.sqrt(5000)
    assert hits / 300 > 0.9
    assert naive / 300 < 0.7


@pytest.mark.parametrize("hits", [0, 1, 17, 50])
def test_intervals_of_shares_solve_their_equation(hits):
    for end, other in zip(share_interval(hits, 50), (hits != 0, hits != 50), strict=True):
        if other:
            off = abs(hits / 50 - end) / math.sqrt(end * (1 - end) / 50)
            assert off == pytest.approx(stats.norm.ppf(0.975))
        else:
            assert end == pytest.approx(0.0 if hits == 0 else 1.0)
    assert all(map(math.isnan, share_interval(0, 0)))
