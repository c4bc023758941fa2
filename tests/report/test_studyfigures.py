"""Figures of studies and of times: scaling, comparison, distributions, error by workers."""

from dataclasses import replace

import numpy as np
import pytest

from hpcrefine.analysis.comparison import Difference
from hpcrefine.analysis.scaling import scale
from hpcrefine.analysis.statistics import Summary
from hpcrefine.analysis.study import load
from hpcrefine.record.reader import read
from hpcrefine.report import anytime, comparisonfigures, scalingfigures
from hpcrefine.report.distributions import distribution
from hpcrefine.report.tables import summarise


def labels(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def points(axes):
    """The data of error bars, by label."""
    return {bars.get_label(): bars.lines[0].get_xydata() for bars in axes.containers}


def test_scaling_has_times_and_efficiencies_with_models(make_study):
    scaling = scale(load(make_study()))
    ((end, figure),) = scalingfigures.draw(scaling)
    assert end == "scaling"
    times, efficiencies = figure.axes
    assert times.get_xscale() == times.get_yscale() == efficiencies.get_xscale() == "log"
    assert list(times.get_xticks()) == [1, 2, 4]
    first = [row for row in scaling.rows if row.variant == "layered" and row.layer == 0]
    expected = [(row.workers, 1e3 * row.times.median) for row in first]
    found = points(times)
    assert set(found) == {"resolution 0", "resolution 1", "one-shot"}
    np.testing.assert_allclose(found["resolution 0"], expected)
    drawn = {y for xy in points(efficiencies).values() for y in xy[:, 1]}
    assert drawn == {row.efficiency for row in scaling.rows}
    curves = [line for line in times.lines if len(line.get_xdata()) > 50]
    assert len(curves) == 6  # ideal and model of two layers and one-shot
    assert len(times.collections) >= 3


def test_each_series_has_a_figure(make_study):
    scaling = scale(load(make_study()))
    rows = tuple(
        replace(row, series=f"code.redundancy={omega}")
        for omega in (1.25, 1.5)
        for row in scaling.rows
    )
    figures = dict(scalingfigures.draw(replace(scaling, rows=rows, models=(), scaling="weak")))
    assert list(figures) == ["scaling-0", "scaling-1"]
    title = figures["scaling-1"].get_suptitle()
    assert title == "strong: code.redundancy=1.5 (weak scaling)"
    ideal = [line for line in figures["scaling-0"].axes[0].lines if len(line.get_xdata()) > 50]
    assert all(len(set(line.get_ydata())) == 1 for line in ideal)


def difference(ratio, significant, ranks=3, variant="layered", low=None):
    times = Summary.of([1.0] * 6)
    ends = (ratio / 1.1, ratio * 1.1) if low is None else (low, low)
    return Difference(
        *("", ranks, variant, 0, times, times, ratio, *ends, 0.01, significant, "slower")
    )


def test_ratios_are_filled_where_they_are_significant():
    rows = [
        difference(0.5, True),
        difference(1.02, False),
        difference(1.6, True, variant="oneshot"),
        difference(np.nan, False, low=np.nan),
    ]
    ((end, figure),) = comparisonfigures.draw("new against base", rows)
    assert end == "comparison"
    (axes,) = figure.axes
    named = [tick.get_text() for tick in axes.get_yticklabels()]
    assert named == ["layered 0", "layered 0", "one-shot"]
    dots = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert [dot.get_xdata()[0] for dot in dots] == [0.5, 1.02, 1.6]
    assert [dot.get_markerfacecolor() == "white" for dot in dots] == [False, True, False]
    assert len({dot.get_color() for dot in dots}) == 3
    low, high = axes.get_xlim()
    assert low < 0.5 / 1.1
    assert high > 1.6 * 1.1


def test_nothing_to_compare_is_not_drawn():
    assert list(comparisonfigures.draw("", [difference(np.nan, False, low=np.nan)])) == []


def test_a_distribution_is_the_share_of_all_jobs(write, jobs):
    lost = ({"status": "lost"}, [{"ready": np.nan}])
    figure = distribution(summarise(read(write([*jobs, lost]))))
    (axes,) = figure.axes
    assert axes.get_ylabel() == "share of jobs that have the resolution"
    assert axes.get_xlabel() == "time since the job's start, or deadline [ms]"
    found = {line.get_label(): line.get_xydata() for line in axes.lines}
    assert found["resolution 1"][-1] == pytest.approx((50.05, 10 / 11))
    assert found["one-shot"][-1] == pytest.approx((40.04, 1.0))
    assert found["one-shot"][0, 1] == 0
    assert labels(axes) == ["resolution 0", "resolution 1", "one-shot"]


def test_variants_have_panels_and_long_tails_a_logarithmic_axis(write, jobs):
    slow = [({"variant": "slow"}, [{"ready": 9.0}])] * 3
    table = summarise(read(write([*jobs, *slow])))
    figure = distribution(table)
    assert [axes.get_title() or axes.get_title(loc="left") for axes in figure.axes] == [
        "layered",
        "slow",
    ]
    assert {axes.get_xscale() for axes in figure.axes} == {"log"}
    assert {axes.get_xscale() for axes in anytime.anytime(table).axes} == {"log"}


def test_errors_by_workers_lie_on_the_same_axes(make_study):
    folder = make_study()
    curves = [
        anytime.named(curve, path.stem)
        for path in sorted(folder.glob("*.h5"))
        for curve in anytime.curves(summarise(read(path)))
    ]
    figure = anytime.draw("strong", curves)
    assert len(figure.axes) == 3
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    pale = [line for line in figure.axes[0].lines if line.get_color() == "#C4C4C4"]
    assert len(pale) == 3  # two other panels, and the legend's
    said = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert sum(text.startswith("one-shot\n") for text in said) == 3


def test_a_record_of_one_shot_alone(write):
    table = summarise(read(write([({"variant": "oneshot"}, [{"ready": 0.04}])] * 7)))
    (axes,) = anytime.anytime(table).axes
    assert [text.get_text() for text in axes.texts] == ["one-shot\n40 ms"]
    distribution(table)
