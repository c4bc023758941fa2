"""The timeline of a job: what is drawn of its tasks, and which job it is."""

import numpy as np
import pytest

from hpcrefine.cli import main
from hpcrefine.errors import InputError
from hpcrefine.record import schema
from hpcrefine.record.reader import read
from hpcrefine.report import timeline


@pytest.fixture
def tasks(make_row):
    def make(*rows):
        given = [make_row("tasks", **row) for row in rows]
        return schema.pack("tasks", given).astype(schema.text_dtype("tasks"))

    return make


def spans(found):
    return [(bar.worker, round(bar.start, 9), round(bar.end, 9)) for bar in found]


def test_a_bar_ends_when_its_result_is_received(tasks):
    rows = tasks(
        {"worker": 1, "sent": 0.0, "received": 1.0, "compute": 0.5, "refine": 0.25},
        {"worker": 2, "sent": 0.5, "received": 1.0, "compute": 0.75},
    )
    assert spans(timeline.bars(rows)) == [(1, 0.25, 1.0), (2, 0.5, 1.0)]


def test_results_received_together_were_computed_one_after_the_other(tasks):
    same = {"worker": 1, "received": 1.0, "compute": 0.25}
    rows = tasks(*({"task": i} | same for i in range(3)))
    assert spans(timeline.bars(rows)) == [(1, 0.25, 0.5), (1, 0.5, 0.75), (1, 0.75, 1.0)]


def test_what_has_no_result_has_no_bar(tasks):
    rows = tasks(
        {"worker": 1, "received": np.nan, "compute": np.nan, "refine": np.nan, "status": "lost"},
        {"worker": 1, "received": 1.0, "status": "purged"},
    )
    assert list(timeline.bars(rows)) == []


def test_bars_become_few_but_keep_their_layers_and_fates():
    every = [
        timeline.Bar(1 + i // 500, i % 500 // 250, "used" if i % 250 < 200 else "late", i, i + 0.9)
        for i in range(1000)
    ]
    shown = timeline.few(every, gap=0.2, most=20)
    assert len(shown) <= 20
    assert {(b.worker, b.layer, b.status) for b in shown} == {
        (w, x, s) for w in (1, 2) for x in (0, 1) for s in ("used", "late")
    }
    assert (shown[0].start, shown[-1].end) == (0, 999.9)
    assert timeline.few(every, gap=0.2, most=1000) == every


def test_the_job_drawn_is_the_median_one_of_the_first_variant(point):
    record = read(point(), timeline.COLUMNS)
    layered = record.jobs[record.jobs["variant"] == "layered"]
    times = layered["end"] - layered["start"]
    chosen = layered["job"] == timeline.choose(record)
    assert times[chosen] == np.median(times)
    assert timeline.choose(record, 4) == 4


def test_a_job_that_is_not_there(point, capsys, tmp_path):
    path = point()
    with pytest.raises(InputError, match=r"--job: .*point.h5: found no tasks of job 99"):
        timeline.choose(read(path), 99)
    assert main(["report", str(path), "--job", "2"]) == 2
    assert "--job: found 2, expected --plot or --html" in capsys.readouterr().err
    assert main(["report", str(path), "--job", "1", "--plot", str(tmp_path / "out")]) == 2
    assert "found no tasks of job 1" in capsys.readouterr().err


def test_records_without_tasks_say_so(write, jobs):
    with pytest.raises(InputError, match="found no tasks, expected some: simulations have none"):
        timeline.timeline(read(write(jobs)))


def test_a_figure_has_a_row_a_worker_and_a_line_a_resolution(point):
    record = read(point(workers=3), timeline.COLUMNS)
    (axes,) = timeline.timeline(record, 0).axes
    assert axes.get_title(loc="left") == "product <b>: layered, job 0"
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["1", "2", "3"]
    bars = [path for c in axes.collections for path in c.get_paths()]
    assert len(bars) == 6
    ready = record.layers["ready"][record.layers["job"] == 0]
    lines = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2]
    assert lines == pytest.approx(1e3 * ready)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == [
        "the resolution is ready",
        "task of resolution 0",
        "task of resolution 1",
        "late: not needed any more",
    ]
