"""The figures of scaling: time to each resolution, and efficiency, against workers."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from hpcrefine.analysis.model import Model
from hpcrefine.analysis.scaling import Scaling, ScalingRow
from hpcrefine.report.style import (
    COLOURS,
    MARKERS,
    ONESHOT,
    beside,
    legend_beside,
    plain_logarithmic,
)
from hpcrefine.report.writing import best_unit, smallest

_BESIDE_EACH_OTHER = 0.05  # of a factor: points of different layers at the same workers
_CURVE = 100  # points
_MOST_TICKS = 8


def draw(scaling: Scaling) -> Iterator[tuple[str, Figure]]:
    """Yield a figure per series and variant, each with the end of its file's name.

    Parameters
    ----------
    scaling : Scaling
        One-shot is drawn beside each other variant; nothing if there is one worker count.
    """
    if not scaling.scaling:
        return
    timed = [row for row in scaling.rows if row.times.count]
    layered = [row for row in timed if row.variant != "oneshot"] or timed
    kinds = list(dict.fromkeys((row.series, row.variant) for row in layered))
    for number, (series, variant) in enumerate(kinds):
        apart = [series, variant if len({v for _, v in kinds}) > 1 else ""]
        title = ": ".join([scaling.name, ", ".join(filter(None, apart))]).removesuffix(": ")
        end = "scaling" if len(kinds) == 1 else f"scaling-{number}"
        yield end, figure(scaling, series, variant, title)


def figure(scaling: Scaling, series: str, variant: str, title: str) -> Figure:
    """Draw times and efficiencies of a series and variant, with models and what would be ideal."""
    drawn, (left, right) = beside(
        f"{title} ({scaling.scaling} scaling)", ["time to a resolution", "efficiency"]
    )
    wanted = [r for r in scaling.rows if r.series == series and r.variant in (variant, "oneshot")]
    rows = [row for row in wanted if row.times.count]
    groups = [list(group) for _, group in groupby(rows, lambda row: (row.variant, row.layer))]
    unit, factor = best_unit(smallest(row.times.median for row in rows))
    for place, group in enumerate(sorted(groups, key=lambda rows: rows[0].variant == "oneshot")):
        aside = 1 + _BESIDE_EACH_OTHER * (place - (len(groups) - 1) / 2)
        model = _model(scaling, group[0])
        _times(left, group, model, factor, scaling.scaling)
        _efficiencies(right, group, aside)
    right.axhline(1, color="#777777", ls=":", lw=1.2, zorder=1)
    left.plot([], [], color="#777777", ls=":", lw=1.2, label="ideal, from the base")
    if scaling.models:
        left.plot([], [], color="#777777", lw=1.2, label="model with 95 % band")
    left.set_yscale("log")
    for axes in (left, right):
        _worker_axis(axes, rows)
    plain_logarithmic(left, "y", *left.get_ylim())
    left.set_ylabel(f"median time since the job's start [{unit}]")
    formula = "$p_0 T(p_0) / (p\\,T(p))$" if scaling.scaling == "strong" else "$T(p_0) / T(p)$"
    right.set_ylabel(f"efficiency {formula}")
    right.set_ylim(0, max(1.12, 1.05 * _top(rows)))
    legend_beside(drawn)
    return drawn


def _times(
    axes: Axes, rows: Sequence[ScalingRow], model: Model | None, factor: float, scaling: str
) -> None:
    """Draw the times of a layer: points with intervals, its model, and what would be ideal."""
    colour, _, label = _look(rows[0])
    workers = np.array([row.workers for row in rows], np.float64)
    times = [row.times for row in rows]
    middle = factor * np.array([time.median for time in times])
    low, high = (factor * np.array([getattr(t, end) for t in times]) for end in ("low", "high"))
    _points(axes, workers, middle, (low, high), rows[0], label)
    along = np.geomspace(workers.min(), workers.max(), _CURVE)
    ideal = middle[0] * (workers[0] / along if scaling == "strong" else np.ones(_CURVE))
    axes.plot(along, ideal, color=colour, ls=":", lw=1.2, zorder=1)
    if model is None:
        return
    axes.plot(along, factor * model.time(along), color=colour, lw=1.2, zorder=2)
    bottom, top = model.band(along)
    axes.fill_between(along, factor * bottom, factor * top, color=colour, alpha=0.15, lw=0)


def _efficiencies(axes: Axes, rows: Sequence[ScalingRow], aside: float) -> None:
    workers = aside * np.array([row.workers for row in rows], np.float64)
    middle, low, high = (
        np.array([getattr(row, name) for row in rows])
        for name in ("efficiency", "efficiency_low", "efficiency_high")
    )
    _points(axes, workers, middle, (low, high), rows[0])


def _points(
    axes: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    ends: tuple[NDArray[np.float64], NDArray[np.float64]],
    row: ScalingRow,
    label: str | None = None,
) -> None:
    colour, marker, _ = _look(row)
    face = "white" if row.variant == "oneshot" else colour
    reach = np.nan_to_num(np.stack([y - ends[0], ends[1] - y])).clip(0)
    axes.errorbar(
        *(x, y, reach),
        fmt=marker,
        color=colour,
        markerfacecolor=face,
        capsize=2.5,
        elinewidth=1,
        label=label,
        zorder=3,
    )


def _look(row: ScalingRow) -> tuple[str, str, str]:
    """Return the colour, the marker and the name of a layer."""
    if row.variant == "oneshot":
        return ONESHOT, MARKERS[1], "one-shot"
    colour, marker = (looks[row.layer % len(looks)] for looks in (COLOURS, MARKERS))
    return colour, marker, f"resolution {row.layer}"


def _model(scaling: Scaling, row: ScalingRow) -> Model | None:
    wanted = row.series, row.variant, row.layer
    return next((m for m in scaling.models if (m.series, m.variant, m.layer) == wanted), None)


def _top(rows: Sequence[ScalingRow]) -> float:
    """Return the largest efficiency known, intervals included."""
    return float(
        np.nanmax([1, *(e for row in rows for e in (row.efficiency, row.efficiency_high))])
    )


def _worker_axis(axes: Axes, rows: Sequence[ScalingRow]) -> None:
    """Have a logarithmic axis with ticks at the numbers of workers that there are."""
    counts = sorted({row.workers for row in rows})
    shown = counts[:: -(-len(counts) // _MOST_TICKS)]
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(counts[0] / 1.2, counts[-1] * 1.2)
    axes.set_xlabel("workers p (ranks - 1: the master does not count)")
