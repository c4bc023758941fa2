"""Tables of inference: what upgrades are worth and cost, beside one-shot."""

import csv
import json
import math
import time

import numpy as np
import pytest

from hpcrefine.errors import InputError
from hpcrefine.record.reader import read
from hpcrefine.report import report
from hpcrefine.report.inference import COLUMNS, summarise
from hpcrefine.report.predictions import predicted


def table_of(path):
    return summarise(read(path, COLUMNS))


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def grids(text):
    """The tables of a text: a list of rows for each, by their headings."""
    found, lines = [], text.splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("|") and not before.startswith("|"):
            found.append([])
            heading = cells(line)
        elif line.startswith("|") and not line.startswith("|-"):
            found[-1].append(dict(zip(heading, cells(line), strict=True)))
    return found


def by_key(rows):
    return {(row.variant, row.upgrade): row for row in rows}


def test_upgrades_against_one_shot(write_inference, inference_jobs):
    table = table_of(write_inference(*inference_jobs))
    order = [("adaptive", 0), ("adaptive", 1), ("all", 0), ("all", 1), ("oneshot", 0)]
    assert [(row.variant, row.upgrade) for row in table.rows] == order
    assert table.baseline == pytest.approx(0.04)
    assert table.baseline_accuracy == pytest.approx(0.9)
    assert table.baseline_operations == pytest.approx(1e5)
    assert table.shape == "100 x 784 x 10"
    row = by_key(table.rows)["adaptive", 1]
    assert (row.jobs, row.ready.count, row.samples, row.decided) == (7, 7, 20, 100)
    assert row.ready.median == pytest.approx(0.016)
    assert row.ready.low < row.ready.median < row.ready.high
    assert row.ratio == pytest.approx(0.4)
    assert row.points == pytest.approx(-1.0)
    assert (row.accuracy, row.agreement, row.gray) == pytest.approx((0.89, 0.99, 0.0))
    assert row.operations == pytest.approx(6e4)  # of a sample that enters
    assert row.operations_so_far == pytest.approx(5.2e4)  # mean over all
    assert row.share == pytest.approx(0.52)
    assert row.verdict == "exact"
    assert math.isnan(row.met_deadline)
    assert math.isnan(row.auc)


def test_totals_are_of_the_last_upgrade_released(write_inference, inference_jobs):
    adaptive = next(job for job in inference_jobs if job["variant"] == "adaptive")
    stopped = adaptive | {"upgrades": adaptive["upgrades"][:1], "status": "stopped"}
    late = adaptive["upgrades"][1] | {"ready": math.nan}
    unreleased = adaptive | {"upgrades": [adaptive["upgrades"][0], late]}
    table = table_of(write_inference(*inference_jobs, stopped, unreleased))
    total = next(total for total in table.totals if total.variant == "adaptive")
    assert (total.jobs, total.last.count) == (9, 9)
    assert total.accuracy == pytest.approx((7 * 0.89 + 2 * 0.85) / 9)
    assert total.last.median == pytest.approx(0.016, rel=0.02)
    row = by_key(table.rows)["adaptive", 1]
    assert (row.jobs, row.ready.count) == (9, 7)
    assert row.ratio == pytest.approx(0.4)


def test_warmups_do_not_count(write_inference, inference_jobs):
    warm = {"warmup": True, "variant": "all", "verdict": "wrong", "upgrades": [{"ready": 9.0}]}
    table = table_of(write_inference(warm, *inference_jobs))
    assert by_key(table.rows)["all", 0].ready.p99 < 0.02
    assert {row.verdict for row in table.rows} == {"exact"}
    text = report([write_inference(warm, name="warm.h5")])
    assert "no finished job to report" in text


def test_stragglers_set_jobs_apart(write_inference):
    jobs = [
        {"variant": variant, "stragglers": s, "upgrades": [{"ready": ready * (1 + s)}]}
        for variant, ready in (("all", 0.01), ("oneshot", 0.04))
        for s in (1, 0)
    ]
    path = write_inference(*jobs)
    table = table_of(path)
    assert [(row.variant, row.stragglers, row.ratio) for row in table.rows] == [
        ("all", 0, 0.25),
        ("all", 1, 0.5),
        ("oneshot", 0, 1.0),
        ("oneshot", 1, 2.0),
    ]
    text = report([path])
    assert all("stragglers" in row for grid in grids(text) for row in grid)
    assert "float32, 40 ms with 0 stragglers" in text


def test_deadlines(write_inference):
    jobs = [
        {"deadline": 0.5, "upgrades": [{"ready": 0.1, "met_deadline": True}, {"ready": math.nan}]},
        {"deadline": 0.5, "upgrades": [{"ready": 0.4, "met_deadline": True}]},
    ]
    path = write_inference(*jobs)
    assert [row.met_deadline for row in table_of(path).rows] == [1.0, 0.0]
    upgrades, _ = grids(report([path]))
    assert [(row["in time"], row["jobs"]) for row in upgrades] == [("1.00", "2"), ("0", "0 of 2")]


def samples(upgrade, scores, labels, errors=math.nan, which=None):
    which = np.arange(len(scores)) if which is None else which
    return {"upgrade": upgrade, "sample": which, "score": scores, "label": labels, "error": errors}


def test_roc_and_its_area_by_upgrade(write_inference):
    labels = np.array([0, 0, 1, 1])
    job = {
        "n": 4,
        "p": 1,
        "upgrades": [{}, {}, {}],
        "predictions": [
            samples(0, [0.5, 0.5, 0.5, 0.5], labels),
            samples(1, [0.25, 0.75, 0.5, 1.0], labels),
            # Two have left, with the scores that they had.
            samples(2, [0.125, 0.875], labels[[1, 2]], which=[1, 2]),
        ],
    }
    path = write_inference(job)
    (found,) = predicted(read(path))
    assert [found.auc(upgrade) for upgrade in range(3)] == [0.5, 0.75, 1.0]
    assert [line.tolist() for line in found.roc(0)] == [[0, 1], [0, 1]]
    assert [line.tolist() for line in found.roc(1)] == [[0, 0, 0.5, 0.5, 1], [0, 0.5, 0.5, 1, 1]]
    assert found.scores[2].tolist() == [0.25, 0.125, 0.875, 1.0]
    upgrades, _ = grids(report([path]))
    assert [row["AUC"] for row in upgrades] == ["0.5000", "0.7500", "1.0000"]


@pytest.mark.parametrize(("scores", "labels"), [(10, [0, 1]), (1, [1, 1]), (1, [-1, -1])])
def test_no_roc_of_several_scores_or_of_one_class(write_inference, scores, labels):
    job = {"n": 2, "p": scores, "upgrades": [{}], "predictions": [samples(0, [0.2, 0.8], labels)]}
    path = write_inference(job)
    (found,) = predicted(read(path))
    assert not found.has_roc
    assert math.isnan(found.auc(0))
    assert "AUC" not in report([path])


def test_the_area_is_the_share_of_pairs_in_order(write_inference):
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 200)
    scores = np.round(rng.normal(size=200) + labels, 1)  # with ties
    job = {"n": 200, "p": 1, "upgrades": [{}], "predictions": [samples(0, scores, labels)]}
    (found,) = predicted(read(write_inference(job)))
    good, bad = scores[labels == 1][:, None], scores[labels == 0]
    assert found.auc(0) == pytest.approx(np.mean((good > bad) + 0.5 * (good == bad)))


def test_score_errors_by_upgrade(write_inference):
    few = np.arange(1, 101) / 100
    job = {
        "upgrades": [{}, {}],
        "predictions": [samples(u, few, -1, few * (1 - u)) for u in (0, 1)],
    }
    first, last = table_of(write_inference(job)).rows
    found = first.error_median, first.error_p99, first.error_max
    assert found == pytest.approx((0.5, 0.99, 1.0))
    assert (last.error_median, last.error_p99, last.error_max) == (0, 0, 0)


def test_the_job_that_got_furthest_stands_for_its_like(write_inference):
    whole = {"upgrades": [{}, {}], "predictions": [samples(u, [1.0], 1, 0.5) for u in (0, 1)]}
    short = {"upgrades": [{}], "predictions": [samples(0, [2.0], 1, 9.0)]}
    warm = whole | {"warmup": True, "predictions": [samples(u, [3.0], 1) for u in (0, 1, 2)]}
    without = {"upgrades": [{}, {}]}
    (found,) = predicted(read(write_inference(warm, short, without, whole)))
    assert found.scores[:, 0].tolist() == [1.0, 1.0]


def test_the_text(write_inference, inference_jobs):
    path = write_inference(*inference_jobs)
    text = report([path])
    assert text.startswith(f"{path}: scaling [bold]x; measured; 2 workers and the master; kernel")
    upgrades, totals = grids(text)
    row = upgrades[1]
    assert (row["variant"], row["upgrade"], row["samples"], row["decided"]) == (
        *("adaptive", "1", "20", "100"),
    )
    assert (row["accuracy"], row["points"], row["agreement"]) == ("0.8900", "-1.00", "0.9900")
    assert (row["gray"], row["median [ms]"], row["ratio"]) == ("0", "16", "0.400")
    assert (row["operations [k]"], row["share"], row["used"]) == ("60", "0.520", "4")
    assert row["95 % interval [ms]"] == "15.84 .. 16.16"
    assert upgrades[0]["gray"] == "0.2000"
    assert [row["variant"] for row in totals] == ["adaptive", "all", "oneshot"]
    assert totals[0]["mean operations [k]"] == "52"
    assert "to the median of one-shot float32, 40 ms; points: 100 times" in text
    assert "from its accuracy, 0.9000; it takes 100 k multiply-adds a sample." in text
    assert "warning" not in text
    assert text.isascii()
    for heading in ("stragglers", "AUC", "median error", "in time"):
        assert heading not in row


def test_without_one_shot_or_labels(write_inference):
    job = {"upgrades": [{"ready": 0.5, "accuracy": math.nan}], "verdict": "wrong"}
    text = report([write_inference(job)])
    upgrades, totals = grids(text)
    assert not {"accuracy", "points", "ratio"} & upgrades[0].keys()
    assert totals[0]["ratio"] == "-"
    assert "No one-shot job to compare with" in text
    assert "fewer than 6 times, no 95 % interval: all 0" in text
    assert "WRONG results, their times mean nothing: all 0" in text


def test_a_lost_job(write_inference, inference_jobs):
    lost = {"variant": "all", "status": "lost", "upgrades": []}
    text = report([write_inference(lost, *inference_jobs)])
    assert "0 jobs were stopped early, 1 lost" in text
    assert grids(text)[1][1]["jobs"] == "7 of 8"
    assert "no finished job to report" in report([write_inference(lost, name="lost.h5")])


def test_json_and_csv(write_inference, inference_jobs, tmp_path):
    path = write_inference(*inference_jobs)
    (found,) = json.loads(report([path], json=True))
    assert found["baseline"] == pytest.approx(0.04)
    assert found["rows"][1]["operations_so_far"] == pytest.approx(5.2e4)
    assert found["rows"][1]["auc"] is None
    assert found["totals"][0]["last"]["median"] == pytest.approx(0.016)
    report([path], csv=tmp_path / "out")
    with (tmp_path / "out/run.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["variant [1]"] for row in rows] == ["adaptive"] * 2 + ["all"] * 2 + ["oneshot"]
    assert float(rows[1]["ready_median [s]"]) == pytest.approx(0.016)
    assert (rows[1]["error_p99 [1]"], rows[4]["share [1]"]) == ("", "1.0")


def test_records_of_products_and_of_inference_beside_each_other(
    write, jobs, write_inference, inference_jobs
):
    products, inference = write(jobs, "products.h5"), write_inference(*inference_jobs)
    first, second = report([products]), report([inference])
    assert report([products, inference]) == f"{first}\n{second}"
    assert "no phases in this record" in report([inference], phases=True)


def test_codes_are_of_products(write, jobs, write_inference, inference_jobs):
    paths = [write(jobs, "products.h5"), write_inference(*inference_jobs)]
    with pytest.raises(InputError, match=r"--codes: .*run\.h5: found a record of inference"):
        report(paths, codes=True)


def test_many_samples_take_little_time(write_inference):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 10_000)
    tables = [samples(u, rng.random(10_000), labels, rng.random(10_000)) for u in range(3)]
    several = [
        {"variant": v, "n": 10_000, "p": 1, "upgrades": [{}] * 3, "predictions": tables}
        for v in ("adaptive", "all")
    ]
    path = write_inference(*several)
    start = time.process_time()
    report([path])
    assert time.process_time() - start < 2.0
