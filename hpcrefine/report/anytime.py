"""The figure of single products: how good the result is after how long."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hpcrefine.record.reader import read
from hpcrefine.report.style import (
    COLOURS,
    ONESHOT,
    canvas,
    label_outside,
    legend,
    legend_beside,
    panels,
    plain_logarithmic,
)
from hpcrefine.report.tables import Row, Table
from hpcrefine.report.writing import beside, best_unit, smallest

COLUMNS = {
    "jobs": ("variant", "stragglers", "warmup"),
    "layers": ("layer", "ready", "error_measured"),
}
_BOUND, _MEASURED = COLOURS[0], COLOURS[5]
_DECADES_BELOW = 1.3  # where a result without an error is drawn, on a logarithmic axis
WIDE_RANGE = 25  # of times: they are drawn on a logarithmic axis
_CLOSE = 0.03  # of the time axis: there is no room for two numbers
_MOST_DOTS = 300  # of a resolution
_MOST_PANELS = 9
_SEEN = "largest error measured, at the\nmedian time with 95 % interval;\nsmall: single jobs"


@dataclass(frozen=True)
class Curve:
    """What a panel shows.

    Attributes
    ----------
    name : str
        Its title.
    rows : tuple of Row
        The layers of one variant, coarse to fine.
    oneshot : float
        Median seconds of one-shot; NaN without.
    dots : ndarray, shape (2, D)
        Seconds and measured errors of single jobs.
    """

    name: str
    rows: tuple[Row, ...]
    oneshot: float
    dots: NDArray[np.float64]


@dataclass(frozen=True)
class _Scales:
    """What the panels of a figure have in common: units, and where an error of 0 is drawn."""

    unit: str
    factor: float
    floor: float
    end: float


def calm(table: Table) -> list[Row]:
    """Return the rows with the fewest stragglers that their variants met."""
    fewest = {row.variant: row.stragglers for row in reversed(table.rows)}
    return [row for row in table.rows if row.stragglers == fewest[row.variant]]


def curves(table: Table) -> list[Curve]:
    """Return what is to be shown of a record: a curve for each variant but one-shot.

    Parameters
    ----------
    table : Table
        With rows. Its record is read once more, for the single jobs.
    """
    rows = calm(table)
    oneshot = next((row.ready.median for row in rows if row.variant == "oneshot"), math.nan)
    variants = dict.fromkeys(row.variant for row in rows if row.variant != "oneshot")
    record = read(Path(table.file), COLUMNS)
    found = []
    for variant in variants:
        mine = tuple(row for row in rows if row.variant == variant)
        jobs = record.jobs[(record.jobs["variant"] == variant) & ~record.jobs["warmup"]]
        jobs = jobs[jobs["stragglers"] == mine[0].stragglers]
        layers = record.layers[np.isin(record.layers["job"], jobs["job"])]
        few = np.unique(np.linspace(0, len(layers) - 1, _MOST_DOTS * len(mine)).astype(np.int64))
        dots = np.stack([layers[name][few] for name in ("ready", "error_measured")])
        found.append(Curve(variant, mine, oneshot, dots))
    return found


def named(curve: Curve, name: str) -> Curve:
    """Return the same curve under another name."""
    return replace(curve, name=name)


def anytime(table: Table) -> Figure:
    """Draw error bound and measured error of each resolution against its median time.

    Of each variant, in a panel of its own, the jobs with the fewest stragglers.

    Parameters
    ----------
    table : Table
        With rows. Its record is read once more.
    """
    return draw(table.name or table.file, curves(table) or [_only_oneshot(table)])


def _only_oneshot(table: Table) -> Curve:
    return Curve("one-shot", (), calm(table)[0].ready.median, np.empty((2, 0)))


def draw(title: str, shown: Sequence[Curve]) -> Figure:
    """Draw curves beside each other, on the same axes; behind each, pale, the bounds of the others.

    Parameters
    ----------
    title : str
        Of the figure.
    shown : sequence of Curve
        At least one.
    """
    scales = _scales(shown)
    if len(shown) == 1:
        figure, axes = canvas(title)
        every = [axes]
    else:
        shown = shown[:_MOST_PANELS]
        figure, every = panels(title, [curve.name for curve in shown])
    for axes in every:
        axes.set_yscale("log")
    _limits(every[0], shown, scales)
    for axes, curve in zip(every, shown, strict=True):
        for other in shown:
            if other is not curve:
                _bound(axes, other.rows, scales, color="#C4C4C4", lw=0.9, zorder=1)
        _curve(axes, curve, scales)
    slow = beside(row.stragglers for curve in shown for row in curve.rows)
    label_outside(
        every,
        f"time since the job's start [{scales.unit}]{slow}",
        "error of the product (absolute, max norm)",
    )
    if len(shown) == 1:
        legend(every[0])
    else:
        every[0].plot([], [], color="#C4C4C4", lw=0.9, label="bounds of the other panels")
        legend_beside(figure)
    return figure


def _scales(shown: Sequence[Curve]) -> _Scales:
    rows = [row for curve in shown for row in curve.rows]
    times = [row.ready.median for row in rows] + [curve.oneshot for curve in shown]
    unit, factor = best_unit(smallest(times))
    errors = [error for row in rows for error in (row.error_bound, row.error_measured)]
    floor = smallest(errors) / 10**_DECADES_BELOW
    ends = [end for row in rows for end in (row.ready.p99, row.ready.high)]
    end = factor * float(np.nanmax([*times, *ends, 0])) or 1.0
    return _Scales(unit, factor, floor, end)


def _limits(axes: Axes, shown: Sequence[Curve], scales: _Scales) -> None:
    """Have everything in sight; the place of errors of 0 is one of the ticks."""
    errors = [e for c in shown for row in c.rows for e in (row.error_bound, row.error_measured)]
    exact = any(error == 0 for error in errors)
    lowest = scales.floor if exact else smallest(errors)
    axes.set_ylim(lowest / 2.5, 10 * float(np.nanmax([*errors, lowest])))
    medians = [row.ready.median for curve in shown for row in curve.rows]
    first = scales.factor * smallest([*medians, *(curve.oneshot for curve in shown)])
    if scales.end > WIDE_RANGE * first:
        plain_logarithmic(axes, "x", first / 1.6, 1.15 * scales.end)
    else:
        axes.set_xlim(0, 1.06 * scales.end)


def _curve(axes: Axes, curve: Curve, scales: _Scales) -> None:
    """Draw the bound as steps, since it holds until the next resolution, and errors as points."""
    _bound(axes, curve.rows, scales, color=_BOUND, lw=2, label="error bound, until the next one")
    for name, time, bound in _labels(curve.rows, scales):
        axes.annotate(
            name,
            (time, bound),
            (4, 3),
            textcoords="offset points",
            color=_BOUND,
            fontsize=9,
            fontweight="bold",
        )
    dots: dict[str, Any] = {
        "ls": "none",
        "marker": "o",
        "ms": 3,
        "mew": 0,
        "alpha": 0.3,
        "zorder": 2,
    }
    x, y = scales.factor * curve.dots[0], np.maximum(curve.dots[1], scales.floor)
    axes.plot(x, y, color=_MEASURED, **dots)
    seen = np.array([max(row.error_measured, scales.floor) for row in curve.rows])
    if not np.isnan(seen).all():
        axes.errorbar(
            scales.factor * np.array([row.ready.median for row in curve.rows]),
            seen,
            xerr=np.nan_to_num(_intervals(curve.rows) * scales.factor),
            fmt="o",
            ms=5.5,
            color=_MEASURED,
            capsize=2.5,
            elinewidth=1,
            zorder=4,
            label=_SEEN,
        )
    _oneshot(axes, curve, scales)
    exact = any(error == 0 for row in curve.rows for error in (row.error_bound, row.error_measured))
    if exact:
        axes.axhline(scales.floor, color="#777777", lw=0.8, ls=":", zorder=1)
        axes.annotate(
            "0: exact",
            (0.01, scales.floor),
            (0, -3),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            fontsize=8,
            color="#555555",
            va="top",
        )


def _labels(rows: Sequence[Row], scales: _Scales) -> list[tuple[str, float, float]]:
    """Return the numbers of layers and where they stand; one for those that are too close."""
    placed: list[tuple[str, float, float]] = []
    for row in rows:
        time, bound = scales.factor * row.ready.median, max(row.error_bound, scales.floor)
        if math.isnan(time + bound):
            continue
        if placed and time - placed[-1][1] < _CLOSE * scales.end and placed[-1][2] < 2 * bound:
            first = placed.pop()[0].split("-")[0]
            placed.append((f"{first}-{row.layer}", time, bound))
        else:
            placed.append((str(row.layer), time, bound))
    return placed


def _bound(axes: Axes, rows: Iterable[Row], scales: _Scales, **look: Any) -> None:
    known = [row for row in rows if not math.isnan(row.ready.median)]
    if not known:
        return
    times = [scales.factor * row.ready.median for row in known]
    bounds = [max(row.error_bound, scales.floor) for row in known]
    top, right = axes.get_ylim()[1], axes.get_xlim()[1]
    axes.step([times[0], *times, right], [top, *bounds, bounds[-1]], where="post", **look)


def _oneshot(axes: Axes, curve: Curve, scales: _Scales) -> None:
    """Draw the time of one-shot and write it down beside the line, where there is room."""
    if math.isnan(curve.oneshot):
        return
    time = scales.factor * curve.oneshot
    axes.axvline(time, color=ONESHOT, ls=(0, (4, 2)), lw=1.2, zorder=3)
    right = axes.transAxes.inverted().transform(axes.transData.transform((time, 1)))[0] < 0.6
    axes.annotate(
        f"one-shot\n{time:{'.0f' if time >= 100 else '.3g'}} {scales.unit}",
        (time, 0.985),
        (4 if right else -4, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="left" if right else "right",
        va="top",
        fontsize=8.5,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        zorder=5,
    )


def _intervals(rows: Sequence[Row]) -> NDArray[np.float64]:
    """Return how far the 95 % intervals reach below and above the medians, shape (2, rows)."""
    ready = [row.ready for row in rows]
    return np.array([[r.median - r.low for r in ready], [r.high - r.median for r in ready]])
