"""How figures look: colours that everyone can tell apart, legends beside the data, files."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator

from hpcrefine.errors import InputError

# Okabe and Ito, "Color Universal Design", 2008: distinct in all common kinds of colour blindness.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")
ONESHOT = "#000000"
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
FORMATS = ("png", "svg")

_BESIDE = 3  # panels
_NARROW = 6  # a logarithmic axis that spans no more than this factor has few round numbers

_SETTINGS: dict[str, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.hashsalt": "hpcrefine",  # the same figure gives the same file
}


def canvas(title: str, *, width: float = 7.6, height: float = 4.4) -> tuple[Figure, Axes]:
    """Return a figure, of a size in inches, and its axes."""
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots()
        axes.set_title(title, pad=10)
    return figure, axes


def panels(title: str, titles: Sequence[str], *, alike: bool = True) -> tuple[Figure, list[Axes]]:
    """Return a figure and its axes beside each other, each with a title.

    All have the same vertical scale, and if they are `alike` the same horizontal one.
    """
    rows = -(-len(titles) // _BESIDE)
    wide = min(_BESIDE, len(titles))
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(1.5 + 3.4 * wide, 0.6 + 3.6 * rows), layout="constrained")
        grid = figure.subplots(rows, wide, sharex=alike, sharey=True, squeeze=False)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        every = list(grid.flat)
        for axes, name in zip(every, titles, strict=False):
            axes.set_title(name, pad=8, fontsize=10, fontweight="normal")
        for axes in every[len(titles) :]:
            axes.remove()
        for axes in every[max(len(titles) - wide, 0) : len(titles)]:
            axes.tick_params("x", labelbottom=True)
    return figure, every[: len(titles)]


def label_outside(every: Sequence[Axes], x: str, y: str) -> None:
    """Name the quantities of panels that share their scales: at the bottom and at the left."""
    wide = min(_BESIDE, len(every))
    for axes in every[-wide:]:
        axes.set_xlabel(x)
    for axes in every[::wide]:
        axes.set_ylabel(y)


def beside(title: str, titles: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """Return a figure and two or three axes of different quantities, each with a title."""
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(
            figsize=(2.0 + 4.0 * len(titles), 4.4), layout=ConstrainedLayoutEngine(w_pad=0.1)
        )
        every = list(figure.subplots(1, len(titles)))
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        for axes, name in zip(every, titles, strict=True):
            axes.set_title(name, pad=8, fontsize=10, fontweight="normal")
    return figure, every


def plain_logarithmic(axes: Axes, name: str, low: float, high: float) -> None:
    """Have a logarithmic axis `name` (x, y) from `low` to `high` whose ticks are plain numbers."""
    axes.set(**{f"{name}scale": "log", f"{name}lim": (low, high)})
    axis: Axis = getattr(axes, f"{name}axis")
    narrow = high < _NARROW * low
    axis.set_major_locator(MaxNLocator(6) if narrow else LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator() if narrow else LogLocator(subs=range(1, 10)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def legend(axes: Axes) -> None:
    """Put the legend to the right of the data; labels that several things have, once."""
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    with matplotlib.rc_context(_SETTINGS):
        axes.legend(once.values(), once.keys(), loc="upper left", bbox_to_anchor=(1.01, 1.0))


def legend_beside(figure: Figure) -> None:
    """Put one legend of all panels to their right; labels that several things have, once."""
    once: dict[Any, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            once.setdefault(label, handle)
    with matplotlib.rc_context(_SETTINGS):
        figure.legend(once.values(), once.keys(), loc="outside right upper")


def save(figure: Figure, directory: Path, name: str) -> list[Path]:
    """Write a figure in all formats; return the files.

    Raises
    ------
    InputError
        If they cannot be written there.
    """
    targets = [directory / f"{name}.{form}" for form in FORMATS]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context(_SETTINGS):
            for target in targets:
                undated = {"Date": None} if target.suffix == ".svg" else None
                figure.savefig(target, metadata=undated)
    except OSError as error:
        raise InputError(f"{directory}: cannot write figures: {error}") from error
    return targets


def as_svg(figure: Figure) -> bytes:
    """Return a figure as SVG."""
    out = io.BytesIO()
    with matplotlib.rc_context(_SETTINGS):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()
