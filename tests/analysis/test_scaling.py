"""Speed-up and efficiency by hand, their intervals, and what is said beside them."""

import math
from dataclasses import astuple

import numpy as np
import pytest

from hpcrefine.analysis.scaling import scale, tabulate
from hpcrefine.analysis.study import load
from hpcrefine.errors import InputError
from tests.studies import steady


def test_strong_scaling_by_hand(make_study):
    folder = make_study(
        [
            (w, {}, {"layered": np.stack([steady(t), steady(2 * t)], 1), "oneshot": steady(3 * t)})
            for w, t in [(4, 0.4), (2, 0.6), (8, 0.25)]
        ]
    )
    scaling = scale(load(folder))
    assert (scaling.name, scaling.scaling) == ("sweep", "strong")
    first, second, third = (row for row in scaling.rows if row.variant == "oneshot")
    assert (first.workers, first.ranks, first.nodes, first.jobs) == (2, 3, 1, 11)
    assert first.times.median == pytest.approx(1.8)
    assert (first.efficiency, first.efficiency_low, first.speedup_high) == (1, 1, 1)
    assert second.speedup == pytest.approx(0.6 / 0.4)
    assert second.efficiency == pytest.approx(2 * 0.6 / (4 * 0.4))
    assert third.efficiency == pytest.approx(2 * 0.6 / (8 * 0.25))
    for row in (second, third):
        assert row.efficiency_low < row.efficiency < row.efficiency_high
        assert row.efficiency_high - row.efficiency_low < 0.04 * row.efficiency
        assert row.speedup_low == pytest.approx(row.efficiency_low * row.workers / 2)
        assert row.verdict == "exact"
    assert [(row.variant, row.layer, row.workers) for row in scaling.rows] == [
        *(("layered", layer, workers) for layer in (0, 1) for workers in (2, 4, 8)),
        *(("oneshot", 0, workers) for workers in (2, 4, 8)),
    ]
    assert scaling.base == (
        "2 workers (3 ranks, the master does not count): layered 0 0.6 s, layered 1 1.2 s, "
        "oneshot 0 1.8 s"
    )
    assert [(model.variant, model.layer) for model in scaling.models] == [
        *(("layered", 0), ("layered", 1), ("oneshot", 0))
    ]
    assert scaling.notes == ()


def test_weak_scaling_by_hand(make_study):
    points = [
        (w, {"matrix.n": 64 * w}, {"layered": steady(t)}, {"n": 64 * w})
        for w, t in [(1, 1.0), (2, 1.25), (4, 2.0)]
    ]
    for claim in ("weak", ""):
        scaling = scale(load(make_study(points, scaling=claim, name=f"study{claim}")))
        assert scaling.scaling == "weak"
        assert [row.series for row in scaling.rows] == [""] * 3
        assert [row.efficiency for row in scaling.rows] == pytest.approx([1, 0.8, 0.5])
        assert [row.speedup for row in scaling.rows] == pytest.approx([1, 1.6, 2.0])
        assert scaling.models[0].parallel == 0
        assert "note: matrix.n follows the workers" in scaling.notes
        taken = any("taken for weak scaling" in note for note in scaling.notes)
        assert taken == (claim == "")


def test_each_setting_has_its_own_base(make_study):
    points = [
        (w, {"code.scheme": scheme, "code.redundancy": r}, {"layered": steady(t / w)})
        for scheme, r, t in [("mds", 1.5, 2.0), ("lt", None, 3.0)]
        for w in (1, 2)
    ]
    scaling = scale(load(make_study(points)))
    assert [(row.series, row.workers, row.efficiency) for row in scaling.rows] == [
        ("code.scheme=mds, code.redundancy=1.5", 1, 1.0),
        ("code.scheme=mds, code.redundancy=1.5", 2, pytest.approx(1.0)),
        ("code.scheme=lt", 1, 1.0),
        ("code.scheme=lt", 2, pytest.approx(1.0)),
    ]
    assert "layered 0 (code.scheme=lt) 3 s" in scaling.base
    assert scaling.models == ()  # two worker counts are too few


def test_lone_records_scale_too(record):
    paths = [
        record(f"{w}.h5", {"layered": steady(1 / w)}, workers=w, text="[job]\n# more\n")
        for w in (3, 1)
    ]
    scaling = scale(load(paths))
    assert [row.efficiency for row in scaling.rows] == pytest.approx([1, 1])
    assert scaling.notes == (
        "note: taken for strong scaling: all worker counts have as many multiply-adds of a job",
    )


def test_what_is_unsound_is_said(make_study):
    drifting = np.concatenate([np.linspace(0.6, 0.61, 10), np.linspace(0.5, 0.51, 10)])
    outliers = np.concatenate([np.full(20, 0.2), np.full(4, 0.9)])
    study = load(
        make_study(
            [
                (1, {}, {"layered": steady(1.0)[:3]}),
                (2, {}, {"layered": drifting}, {"n": 80}),
                (2, {}, {"layered": steady(0.3)}),
                (4, {}, {"layered": outliers}, {"verdict": "wrong"}),
                (8, {}, {"layered": [math.nan]}),
                (16, {}, None),
            ]
        )
    )
    scaling = scale(study)
    said = "\n".join(scaling.notes)
    for line in [
        "warning: strong scaling, but jobs of 1.966e+05 to ",
        "note: runs with the same settings are taken together",
        "warning: WRONG results, their times mean nothing: layered 0 on 4 workers",
        "95 % interval: layered 0 on 1 worker",
        "outliers: layered 0 on 4 workers",
        "(warm-up too short?): layered 0 on 2 workers",
        "more than 5% apart: layered 0 on 2 workers",
        "warning: WRONG results, their times mean nothing: ranks=5",
        "warning: missing point: ranks=17: no record yet",
    ]:
        assert line in said
    lost = scaling.rows[-1]
    assert (lost.workers, lost.jobs, lost.times.count) == (8, 1, 0)
    assert math.isnan(lost.efficiency)
    base, second = scaling.rows[:2]
    assert base.efficiency == 1
    assert math.isnan(second.efficiency_low)  # three times at the base


def test_one_worker_count_is_no_scaling(record):
    path = record("a.h5", {"layered": steady(1.0)}, workers=1)
    with pytest.raises(InputError, match=r"found worker counts 1 .*, expected two or more"):
        scale(load(path))


def test_a_study_whose_jobs_were_all_lost(record):
    path = record("lost.h5", {"layered": np.empty((2, 0))}, status="lost")
    with pytest.raises(InputError, match="found no resolution in 3 jobs, 3 of them lost"):
        scale(load([path]))


def test_sizes_may_be_swept_beside_the_workers(make_study):
    points = [
        (w, {"size": n}, {"layered": steady(n / w)}, {"n": n}) for n in (64, 128) for w in (1, 2)
    ]
    scaling = scale(load(make_study(points, scaling="")))
    assert scaling.scaling == "strong"
    assert [(row.series, row.efficiency) for row in scaling.rows] == [
        *([("size=64", 1)] * 2),
        *([("size=128", 1)] * 2),
    ]


def test_upgrades_of_inference_scale_likewise(make_study):
    times = {"adaptive": np.stack([steady(1.0), steady(2.0)], 1), "oneshot": steady(3.0)}
    points = [
        (w, {}, {name: values / w for name, values in times.items()}, {"inference": True})
        for w in (1, 2)
    ]
    scaling = scale(load(make_study(points), tables=["upgrades"]))
    assert [(row.variant, row.layer, row.workers, row.speedup) for row in scaling.rows] == [
        *(("adaptive", 0, 1, 1), ("adaptive", 0, 2, 2)),
        *(("adaptive", 1, 1, 1), ("adaptive", 1, 2, 2)),
        *(("oneshot", 0, 1, 1), ("oneshot", 0, 2, 2)),
    ]
    assert scaling.notes == (
        "note: one-shot of inference takes all cores of rank 0's node, whatever the workers",
    )


def test_neither_strong_nor_weak(record):
    paths = [
        record(f"{w}.h5", {"layered": steady(1.0)}, workers=w, n=n) for w, n in [(1, 64), (2, 90)]
    ]
    with pytest.raises(InputError, match=r"1.h5 and 1 more: found jobs of 1.966e\+05 to 2.765e"):
        scale(load(paths))
    times = tabulate(load(paths))
    assert (times.scaling, times.base, times.models, times.notes) == ("", "", (), ())
    assert [row.times.median for row in times.rows] == [1.0, 1.0]
    assert all(math.isnan(row.efficiency) and math.isnan(row.speedup) for row in times.rows)


def test_the_same_study_gives_the_same_figures(make_study):
    noise = np.random.default_rng(3).lognormal(0, 0.2, (3, 15))
    points = [(w, {}, {"layered": row / w}) for w, row in zip((1, 2, 4), noise, strict=True)]
    study = load(make_study(points))
    one, other = scale(study), scale(study)
    assert list(map(astuple, one.rows)) == list(map(astuple, other.rows))
    assert np.array_equal(one.models[0].replicates, other.models[0].replicates)
