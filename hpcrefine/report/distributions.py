"""The figure of single products' times: which share of jobs has each resolution after how long."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hpcrefine.analysis.statistics import known
from hpcrefine.record.reader import read
from hpcrefine.report.style import COLOURS, LINES, ONESHOT, legend_beside, panels
from hpcrefine.report.tables import Row, Table
from hpcrefine.report.writing import best_unit, count, smallest

COLUMNS = {"jobs": ("variant", "stragglers", "warmup"), "layers": ("layer", "ready")}
_POINTS = 300  # of a curve
_MOST_PANELS = 9


def distribution(table: Table) -> Figure:
    """Draw the distribution of the times to each resolution, a panel for each variant.

    A curve at t is the share of the jobs, lost ones included, that have the resolution after t: how
    often a deadline of t would be met.

    Parameters
    ----------
    table : Table
        With rows. Its record is read once more.
    """
    record = read(Path(table.file), COLUMNS)
    counted = record.jobs[~record.jobs["warmup"]]
    unit, scale = best_unit(smallest(row.ready.median for row in table.rows))
    layered = [row.variant for row in table.rows if row.variant != "oneshot"]
    variants = list(dict.fromkeys(layered))[:_MOST_PANELS] or ["oneshot"]
    figure, every = panels(table.name or table.file, variants if len(variants) > 1 else [""])
    longest = 0.0
    for axes, variant in zip(every, variants, strict=True):
        shown = [row for row in table.rows if row.variant in (variant, "oneshot")]
        for row in shown:
            alike = (counted["variant"] == row.variant) & (counted["stragglers"] == row.stragglers)
            mine = np.isin(record.layers["job"], counted["job"][alike])
            times = record.layers["ready"][mine & (record.layers["layer"] == row.layer)]
            _curve(axes, row, scale * np.sort(known(times)), _straggling(shown))
            longest = max(longest, scale * np.nan_to_num(row.ready.p99))
        axes.set_xlabel(f"time since the job's start, or deadline [{unit}]")
    every[0].set_xlim(0, 1.08 * longest or None)
    every[0].set_ylim(0, 1.02)
    for axes in every[:: min(3, len(every))]:
        axes.set_ylabel("share of jobs that have the resolution")
    legend_beside(figure)
    return figure


def _straggling(rows: Iterable[Row]) -> list[int]:
    return sorted({row.stragglers for row in rows})


def _curve(axes: Axes, row: Row, times: NDArray[np.float64], stragglers: list[int]) -> None:
    """Draw the share of a row's jobs that have it, against sorted times."""
    if len(times) == 0:
        return
    few = np.unique(np.linspace(0, len(times) - 1, min(_POINTS, len(times))).astype(np.int64))
    shares = (1 + np.arange(len(times))) / row.jobs
    oneshot = row.variant == "oneshot"
    label = "one-shot" if oneshot else f"resolution {row.layer}"
    if len(stragglers) > 1:
        label += f", {count(row.stragglers)} stragglers"
    axes.step(
        np.concatenate([[times[0]], times[few]]),
        np.concatenate([[0.0], shares[few]]),
        where="post",
        color=ONESHOT if oneshot else COLOURS[row.layer % len(COLOURS)],
        ls=LINES[stragglers.index(row.stragglers) % len(LINES)],
        lw=1.2 if oneshot else 1.6,
        label=label,
    )
