"""The figure of two studies side by side: ratios of median times with their intervals."""

import math
from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpcrefine.analysis.comparison import Difference
from hpcrefine.report.style import COLOURS, canvas, legend, plain_logarithmic

_MOST_ROWS = 40  # of a figure
_NARROWEST = 1.15  # factor that is in sight on either side of no difference
_FASTER, _SLOWER, _SAME = COLOURS[2], COLOURS[5], "#777777"


def draw(title: str, differences: Sequence[Difference]) -> Iterator[tuple[str, Figure]]:
    """Yield figures of the rows that have a partner, each with the end of its file's name.

    Parameters
    ----------
    title : str
        Says what is compared with what.
    differences : sequence of Difference
        In the order in which they are drawn, from the top; no figure if none has a partner.
    """
    rows = [row for row in differences if not math.isnan(row.ratio)]
    parts = [rows[i : i + _MOST_ROWS] for i in range(0, len(rows), _MOST_ROWS)]
    for number, part in enumerate(parts):
        end = "comparison" if len(parts) == 1 else f"comparison-{number}"
        yield end, forest(title, part)


def forest(title: str, rows: Sequence[Difference]) -> Figure:
    """Draw a ratio a row: filled where the difference is significant, hollow where it is not."""
    figure, axes = canvas(title, width=9.6, height=1.5 + 0.26 * max(len(rows), 4))
    axes.axvline(1, color="black", lw=1, zorder=1)
    for place, row in enumerate(rows):
        _row(axes, place, row)
    axes.set_yticks(range(len(rows)), [_label(row, rows) for row in rows], fontsize=9)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(False, axis="y")
    ends = [end for row in rows for end in (row.ratio, row.low, row.high) if end > 0]
    low, high = min(*ends, 1 / _NARROWEST) / 1.05, max(*ends, _NARROWEST) * 1.05
    plain_logarithmic(axes, "x", low, high)
    axes.set_xlabel("median time, new over base, with 95 % interval")
    for colour, label in ((_FASTER, "new is faster"), (_SLOWER, "new is slower")):
        axes.plot([], [], "o", color=colour, label=label)
    axes.plot([], [], "o", color=_SAME, mfc="white", label="no difference found\n(5 %, Holm)")
    legend(axes)
    return figure


def _row(axes: Axes, place: int, row: Difference) -> None:
    colour = _SAME if not row.significant else _FASTER if row.ratio < 1 else _SLOWER
    if not math.isnan(row.low):
        axes.plot([row.low, row.high], [place, place], color=colour, lw=1.6, zorder=2)
    face = colour if row.significant else "white"
    axes.plot(row.ratio, place, "o", ms=6.5, color=colour, markerfacecolor=face, zorder=3)


def _label(row: Difference, rows: Sequence[Difference]) -> str:
    """Name a row by what tells it from the others, and its layer."""
    parts = [row.settings] if len({each.settings for each in rows}) > 1 else []
    parts += [f"{row.ranks} ranks"] if len({each.ranks for each in rows}) > 1 else []
    parts += ["one-shot" if row.variant == "oneshot" else f"{row.variant} {row.layer}"]
    return ", ".join(parts)
