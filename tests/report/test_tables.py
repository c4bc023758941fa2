"""From jobs to rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcrefine.record import schema
from hpcrefine.record.reader import Record, read
from hpcrefine.record.writer import RecordWriter
from hpcrefine.report.run import Event
from hpcrefine.report.tables import summarise


def table_of(write, jobs, **options):
    return summarise(read(write(jobs, **options)))


def test_medians_speeds_and_counts(write, jobs):
    table = table_of(write, jobs)
    assert [(row.variant, row.layer) for row in table.rows] == [
        ("layered", 0),
        ("layered", 1),
        ("oneshot", 0),
    ]
    first, last, base = table.rows
    assert table.baseline == pytest.approx(0.04)
    assert [row.speed for row in table.rows] == pytest.approx([4.0, 0.8, 1.0])
    assert first.ready.median == pytest.approx(0.01)
    assert [row.ready.count for row in table.rows] == [row.jobs for row in table.rows] == [10] * 3
    assert (first.share, last.share) == (0.25, 1.0)
    assert (first.tasks_used, last.tasks_used, base.tasks_used) == (4, 3, 0)
    assert first.error_bound == pytest.approx(1.25e-3 * 1.001, rel=1e-12)
    assert np.isnan(first.error_measured)
    assert np.isnan(first.met_deadline)


def test_warmups_do_not_count(write, jobs):
    table = table_of(write, jobs)
    assert (table.finished, table.warmups) == (22, 2)
    assert max(row.ready.p99 for row in table.rows) < 0.06
    assert {row.verdict for row in table.rows} == {"exact"}


def test_other_variants_follow_in_order_of_appearance(write, jobs):
    others = [({"variant": name}, [{"ready": 0.02}]) for name in ("numpy", "dask", "numpy")]
    rows = table_of(write, others + jobs).rows
    assert [row.variant for row in rows] == ["layered", "layered", "oneshot", "numpy", "dask"]
    assert [(row.jobs, row.speed) for row in rows[3:]] == [
        (2, pytest.approx(2.0)),
        (1, pytest.approx(2.0)),
    ]


def test_stragglers_set_jobs_of_a_variant_apart(write):
    jobs = [
        ({"variant": variant, "stragglers": stragglers, "dead": number % 2}, [{"ready": seconds}])
        for variant, stragglers, seconds in [
            ("layered", 2, 0.08),
            ("layered", 0, 0.02),
            ("oneshot", 2, 0.16),
            ("oneshot", 0, 0.04),
        ]
        for number in range(3)
    ]
    table = table_of(write, jobs)
    assert table.baseline == 0.04
    assert [(row.variant, row.stragglers, row.jobs, row.speed) for row in table.rows] == [
        ("layered", 0, 3, 2.0),
        ("layered", 2, 3, 0.5),
        ("oneshot", 0, 3, 1.0),
        ("oneshot", 2, 3, 0.25),
    ]


def test_events_in_the_order_of_the_record(write):
    first = {"time": 1.5, "rank": 2, "kind": "silent", "detail": "no reply for 1 s"}
    table = table_of(write, [({"warmup": True}, [{}], [first, {"kind": "dropped"}]), ({}, [{}])])
    assert table.events == (
        Event(0, 1.5, 2, "silent", "no reply for 1 s"),
        Event(0, 0.0, 0, "dropped", ""),
    )


def test_workers_of_a_resumed_run_do_not_add_up(write, jobs, make_row):
    path = write(jobs, complete=False)
    for count in (5, 3):
        rows = [make_row("workers", rank=rank, threads=4) for rank in range(1, count + 1)]
        RecordWriter.resume(path, workers=rows).close(complete=False)
    table = summarise(read(path))
    assert (table.workers, table.sessions, table.threads) == (5, (4, 5, 3), 4)


def test_the_runs_description(write, jobs):
    path = write(jobs)
    table = summarise(read(path))
    assert (table.file, table.name) == (str(path), "scaling [bold]x")
    assert (table.workers, table.kernel, table.threads) == (4, "int8", 2)
    assert table.shape == "64 x 96 x 32"
    assert table.complete
    assert (table.sessions, table.events) == ((4,), ())


@pytest.mark.parametrize("text", ["", "not toml [", "job = 3", "[job]\nseed = 1"])
def test_a_job_without_a_name(write, jobs, text):
    assert table_of(write, jobs, job_text=text).name == ""


def test_several_shapes_are_all_named(write):
    table = table_of(write, [({"n": 1}, [{}]), ({"n": 2}, [{}]), ({"n": 1}, [{}])])
    assert table.shape == "1 x 96 x 32, 2 x 96 x 32"


def test_without_a_baseline_there_is_no_speed(write):
    table = table_of(write, [({}, [{"ready": 1.0}])])
    assert np.isnan(table.baseline)
    assert np.isnan(table.rows[0].speed)


@pytest.mark.parametrize(
    ("verdicts", "worst"),
    [
        (["exact", "exact (sampled)"], "exact (sampled)"),
        (["exact (sampled)", "unchecked", "exact"], "unchecked"),
        (["exact", "unchecked", "wrong"], "wrong"),
        (["exact", "exact"], "exact"),
    ],
)
def test_the_worst_verdict_stands(write, verdicts, worst):
    table = table_of(write, [({"verdict": v}, [{}, {}]) for v in verdicts])
    assert [row.verdict for row in table.rows] == [worst, worst]


def test_a_layers_verdict_is_that_of_the_jobs_that_reached_it(write):
    table = table_of(
        write,
        [
            ({"verdict": "exact"}, [{}, {}]),
            ({"verdict": "unchecked", "status": "stopped"}, [{}]),
            ({"verdict": "unchecked", "status": "lost"}, []),
        ],
    )
    assert [row.verdict for row in table.rows] == ["unchecked", "exact"]
    assert [(row.ready.count, row.jobs) for row in table.rows] == [(2, 3), (1, 3)]
    assert (table.stopped, table.lost) == (1, 1)


def test_layers_that_never_came_have_no_time(write):
    late = {"ready": np.nan, "delay": np.nan, "tasks_lost": 4}
    table = table_of(write, [({}, [{"ready": 2.0}]), ({"status": "lost"}, [late])])
    (row,) = table.rows
    assert (row.ready.count, row.ready.median, row.jobs, row.tasks_lost) == (1, 2.0, 2, 2.0)


def test_largest_errors_and_means_of_tasks(write):
    layers = [
        {"error_measured": 1e-3, "relative_bound": 0.5, "tasks_late": 1, "tasks_purged": 2},
        {"error_measured": np.nan, "relative_bound": 0.25, "tasks_late": 2, "tasks_purged": 2},
    ]
    (row,) = table_of(write, [({}, [layer]) for layer in layers]).rows
    assert (row.error_measured, row.relative_bound) == (1e-3, 0.5)
    assert (row.tasks_late, row.tasks_purged) == (1.5, 2.0)


def test_deadlines_count_over_the_jobs_that_have_one(write):
    met = {"met_deadline": True}
    due = {"deadline": 1.0}
    table = table_of(write, [(due, [met, met]), (due, [met]), (due, []), ({}, [met, met])])
    assert [row.met_deadline for row in table.rows] == pytest.approx([2 / 3, 1 / 3])


@pytest.mark.parametrize("jobs", [[], [({"warmup": True}, [{}])]])
def test_nothing_to_count_gives_no_rows(write, jobs):
    table = table_of(write, jobs, complete=False)
    assert table.rows == ()
    assert table.finished == len(jobs)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.floats(1e-6, 1e3)), max_size=20), st.integers(1, 3))
def test_every_counted_job_is_in_exactly_one_variant(drawn, layers):
    jobs = np.zeros(len(drawn), schema.text_dtype("jobs"))
    jobs["job"] = np.arange(len(drawn))
    jobs["variant"] = ["oneshot" if oneshot else "layered" for oneshot, _ in drawn]
    rows = np.zeros(len(drawn) * layers, schema.text_dtype("layers"))
    rows["job"] = np.repeat(jobs["job"], layers)
    rows["layer"] = np.tile(np.arange(layers), len(drawn))
    rows["ready"] = np.repeat([time for _, time in drawn], layers)
    others = schema.TABLES.keys() - {"jobs", "layers"}
    empty = {name: np.empty(0, schema.text_dtype(name)) for name in others}
    attributes = {"job": "", "kind": "measured", "complete": True}
    table = summarise(Record("x", attributes, {}, jobs=jobs, layers=rows, **empty))
    assert sum(row.ready.count for row in table.rows) == len(rows)
    oneshot = [time for is_oneshot, time in drawn if is_oneshot]
    for row in table.rows:
        times = oneshot if row.variant == "oneshot" else [t for o, t in drawn if not o]
        assert row.ready.median == np.median(times)
        if oneshot:
            assert row.speed == np.median(oneshot) / np.median(times)
