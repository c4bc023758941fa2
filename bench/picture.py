"""The suite's picture: ratios with their intervals and targets, and error against time."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from bench.comparison import Comparison, Row

_OURS, _BASE, _TARGET, _CUT = "#1b6ca8", "#555555", "#c0392b", "#e07a1f"


def draw(comparisons: Sequence[Comparison], path: Path) -> None:
    """Draw what was compared: products' ratios left, the ladder right."""
    bars = [
        (comparison.case.name, row)
        for comparison in comparisons
        for row in comparison.rows
        if row.base == comparison.case.bases[0] or row.met
        if row.contender != row.base
        if not comparison.case.name.startswith(("ladder", "overheads", "machine"))
    ]
    height = max(3.6, 0.21 * len(bars) + 1)
    figure = Figure(figsize=(12, height), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
    _ratios(left, bars)
    _ladder(right, [c for c in comparisons if c.case.name == "ladder"])
    figure.savefig(path, metadata={"Date": None})


def _ratios(axes: Axes, bars: Sequence[tuple[str, Row]]) -> None:
    places = range(len(bars))
    for place, (_, row) in zip(places, bars, strict=True):
        ratio = row.ratio
        axes.plot(ratio.value, place, "o", color=_OURS, ms=4)
        if not math.isnan(ratio.low):
            axes.plot([ratio.low, ratio.high], [place, place], color=_OURS, lw=2, alpha=0.5)
        if row.met:
            axes.plot(row.limit, place, "|", color=_TARGET, ms=9, mew=2)
    axes.axvline(1, color=_BASE, lw=1)
    names = [f"{case}: {_result(row)} / {row.base}" for case, row in bars]
    axes.set_yticks(places, names, fontsize=7)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="time over the base's (95 % interval); targets in red")
    axes.grid(alpha=0.25, axis="x")


def _result(row: Row) -> str:
    return f"{row.contender} {row.label}".strip()


def _ladder(axes: Axes, found: Sequence[Comparison]) -> None:
    for comparison in found:
        base = comparison.case.bases[0]
        for row in (row for row in comparison.rows if row.base == base):
            blas = row.contender in comparison.case.bases
            cut = row.contender.endswith("cut")
            colour, marker = (_BASE, "s") if blas else (_CUT, "v") if cut else (_OURS, "o")
            axes.plot(row.time.median, row.error, marker, color=colour, ms=5)
            axes.annotate(
                row.contender.replace(" x 8 bits", " digits"),
                (row.time.median, row.error),
                xytext=(4, 4 if not cut else -9),
                textcoords="offset points",
                fontsize=7,
                color=colour,
            )
        axes.set_title(comparison.case.note.split(". ")[0], fontsize=8)
    axes.set(xscale="log", yscale="log", xlabel="median time [s]", ylabel="largest measured error")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.25)
