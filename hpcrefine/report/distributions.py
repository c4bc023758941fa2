"""The figure of single products' times: which share of jobs has each resolution after how long."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hpcrefine.analysis.statistics import known
from hpcrefine.record.reader import read
from hpcrefine.report.anytime import WIDE_RANGE, calm
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

COLUMNS = {"jobs": ("variant", "stragglers", "warmup"), "layers": ("layer", "ready")}
_POINTS = 300  # of a curve
_MOST_PANELS = 9


def distribution(table: Table) -> Figure:
    """Draw the distribution of the times to each resolution, a panel for each variant.

    A curve at t is the share of the jobs, lost ones included, that have the resolution after t: how
    often a deadline of t would be met. Of each variant, the jobs with the fewest stragglers.

    Parameters
    ----------
    table : Table
        With rows. Its record is read once more.
    """
    record = read(Path(table.file), COLUMNS)
    counted = record.jobs[~record.jobs["warmup"]]
    unit, scale = best_unit(smallest(row.ready.median for row in table.rows))
    rows = calm(table)
    layered = [row.variant for row in rows if row.variant != "oneshot"]
    variants = list(dict.fromkeys(layered))[:_MOST_PANELS] or ["oneshot"]
    if len(variants) == 1:
        figure, axes = canvas(table.name or table.file)
        every = [axes]
    else:
        figure, every = panels(table.name or table.file, variants)
    for axes, variant in zip(every, variants, strict=True):
        for row in rows:
            if row.variant not in (variant, "oneshot"):
                continue
            alike = (counted["variant"] == row.variant) & (counted["stragglers"] == row.stragglers)
            mine = np.isin(record.layers["job"], counted["job"][alike])
            times = record.layers["ready"][mine & (record.layers["layer"] == row.layer)]
            _curve(axes, row, scale * np.sort(known(times)))
    _limits(every[0], [row for row in rows if row.ready.count], scale)
    slow = beside(row.stragglers for row in rows)
    label_outside(
        every,
        f"time since the job's start, or deadline [{unit}]{slow}",
        "share of jobs that have the resolution",
    )
    if len(every) == 1:
        legend(every[0])
    else:
        legend_beside(figure)
    return figure


def _limits(axes: Axes, rows: Sequence[Row], scale: float) -> None:
    first = scale * smallest(row.ready.median for row in rows)
    last = scale * max((row.ready.p99 for row in rows), default=1.0)
    if last > WIDE_RANGE * first:
        plain_logarithmic(axes, "x", first / 2, 1.15 * last)
    else:
        axes.set_xlim(0, 1.08 * last)
    axes.set_ylim(0, 1.02)


def _curve(axes: Axes, row: Row, times: NDArray[np.float64]) -> None:
    """Draw the share of a row's jobs that have it, against sorted times."""
    if len(times) == 0:
        return
    few = np.unique(np.linspace(0, len(times) - 1, min(_POINTS, len(times))).astype(np.int64))
    shares = (1 + np.arange(len(times))) / row.jobs
    oneshot = row.variant == "oneshot"
    label = "one-shot" if oneshot else f"resolution {row.layer}"
    axes.step(
        np.concatenate([[times[0]], times[few]]),
        np.concatenate([[0.0], shares[few]]),
        where="post",
        color=ONESHOT if oneshot else COLOURS[row.layer % len(COLOURS)],
        lw=1.2 if oneshot else 1.6,
        label=label,
    )
