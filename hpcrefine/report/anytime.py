"""The figure of single products: how good the result is after how long."""

import numpy as np
from matplotlib.figure import Figure

from hpcrefine.report.style import COLOURS, LINES, MARKERS, canvas, legend
from hpcrefine.report.tables import Row, Table
from hpcrefine.report.writing import best_unit, count, smallest

_DECADES_BELOW = 2  # where a result without an error is drawn, on a logarithmic axis


def anytime(table: Table) -> Figure:
    """Draw error bound and measured error of each resolution against its median time.

    Of each variant, the jobs with the fewest stragglers.
    """
    fewest = {row.variant: row.stragglers for row in reversed(table.rows)}
    rows = [row for row in table.rows if row.stragglers == fewest[row.variant]]
    layered = [row for row in rows if row.variant != "oneshot"]
    unit, scale = best_unit(smallest(row.ready.median for row in rows))
    errors = [error for row in layered for error in (row.error_bound, row.error_measured)]
    floor = smallest(errors) / 10**_DECADES_BELOW
    figure, (axes,) = canvas(table.name or table.file)
    variants = list(dict.fromkeys(row.variant for row in layered))
    for place, variant in enumerate(variants):
        mine = [row for row in layered if row.variant == variant]
        colour = COLOURS[place % len(COLOURS)]
        label = variant if len(variants) > 1 else "resolution"
        times = np.array([row.ready.median for row in mine]) * scale
        bounds = np.array([max(row.error_bound, floor) for row in mine])
        axes.step(
            *(times, bounds),
            where="post",
            color=colour,
            ls=LINES[place % len(LINES)],
            label=f"{label}: error bound",
        )
        seen = np.array([max(row.error_measured, floor) for row in mine])
        spread = np.nan_to_num(_intervals(mine) * scale)
        axes.errorbar(
            *(times, seen),
            xerr=spread,
            fmt=MARKERS[place % len(MARKERS)],
            color=colour,
            capsize=2,
            label=f"{label}: largest error measured",
        )
    for row in rows:
        if row.variant == "oneshot":
            label = "one-shot float64"
            axes.axvline(row.ready.median * scale, color="black", ls="dashed", lw=1.2, label=label)
    if any(error < floor for error in errors):
        axes.axhline(floor, color="#555555", lw=0.8, label="0: exact")
    axes.set_yscale("log")
    axes.set_xlim(left=0)
    slow = {count(row.stragglers) for row in rows} - {"0", "-"}
    beside = f", {' or '.join(sorted(slow))} stragglers" if slow else ""
    axes.set_xlabel(f"median time since the job's start [{unit}]{beside}")
    axes.set_ylabel("error of the product (absolute, max norm)")
    legend(axes)
    return figure


def _intervals(rows: list[Row]) -> np.ndarray:
    """Return how far the 95 % intervals reach below and above the medians, shape (2, rows)."""
    ready = [row.ready for row in rows]
    return np.array([[r.median - r.low for r in ready], [r.high - r.median for r in ready]])
