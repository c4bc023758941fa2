"""The figures of inference: what each upgrade is worth, what it costs, and who needs it."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hpcrefine.record.reader import read
from hpcrefine.report.inference import Inference, Row, Total
from hpcrefine.report.predictions import COLUMNS, Predicted, predicted
from hpcrefine.report.style import (
    COLOURS,
    LINES,
    MARKERS,
    ONESHOT,
    canvas,
    legend,
    legend_beside,
    panels,
    plain_logarithmic,
)
from hpcrefine.report.writing import OPERATION_UNITS, best_unit, count, smallest

_POINTS = 400  # of a distribution
_WIDE_TICKS = 4  # that fit beside each other
_DASHED = (0, (4, 3))
_BASE = "one-shot float32"


def draw(table: Inference) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of a record, each with the end of its file's name.

    Parameters
    ----------
    table : Inference
        With rows.
    """
    layered = _layered(table)
    if layered:
        yield "accuracy", accuracy(table)
        yield "gray", gray(table)
        if not math.isnan(table.baseline) or len(layered) > 1:
            yield "tradeoff", tradeoff(table)
    yield "operations", operations(table)
    found = list(predicted(read(table.file, COLUMNS)))
    curves = [each for each in found if each.has_roc and each.variant != "oneshot"]
    if curves:
        oneshot = [each for each in found if each.has_roc and each.variant == "oneshot"]
        yield "roc", roc(table, curves, oneshot)
    erring = [each for each in found if each.variant != "oneshot" and np.nansum(each.errors) > 0]
    if erring:
        yield "errors", errors(table, erring)


def accuracy(table: Inference) -> Figure:
    """Draw accuracy and agreement against the upgrade, one-shot's accuracy beside."""
    kinds = [
        (name, title)
        for name, title in (
            ("accuracy", "decision is the label"),
            ("agreement", "decision is the final one"),
        )
        if any(not math.isnan(getattr(row, name)) for row in table.rows)
    ]
    figure, every = panels(_title(table), [title for _, title in kinds] or [""])
    for axes, (name, _) in zip(every, kinds, strict=False):
        for label, rows, look in _series(table):
            values = [getattr(row, name) for row in rows]
            axes.plot([row.upgrade for row in rows], values, label=label, **look)
        if name == "accuracy":
            _reference(axes, table.baseline_accuracy)
        axes.set_xlabel("upgrade")
    every[0].set_ylabel("share of all samples")
    _upgrade_ticks(every[0], table)
    legend_beside(figure)
    return figure


def gray(table: Inference) -> Figure:
    """Draw the share of samples that are undecided after each upgrade."""
    figure, axes = canvas(_title(table))
    for label, rows, look in _series(table):
        axes.plot([row.upgrade for row in rows], [row.gray for row in rows], label=label, **look)
    _upgrade_ticks(axes, table)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("upgrade")
    axes.set_ylabel("share of samples undecided after it (gray zone)")
    legend(axes)
    return figure


def tradeoff(table: Inference) -> Figure:
    """Draw accuracy, or agreement without labels, against operations and against time."""
    name = "agreement" if all(math.isnan(row.accuracy) for row in table.rows) else "accuracy"
    unit, scale = best_unit(smallest(row.ready.median for row in table.rows))
    figure, (left, right) = panels(
        _title(table), ["against operations", "against time"], alike=False
    )
    for label, rows, look in _series(table):
        values = [getattr(row, name) for row in rows]
        left.plot([row.share for row in rows], values, label=label, **look)
        right.plot([row.ready.median * scale for row in rows], values, label=label, **look)
    for base in (row for row in table.rows if row.variant == "oneshot"):
        value = getattr(base, name)
        for axes, x in ((left, base.share), (right, base.ready.median * scale)):
            axes.plot([x], [value], "*", color=ONESHOT, ms=10, label=_BASE, zorder=4)
            axes.axhline(value, color=ONESHOT, ls=_DASHED, lw=0.8, zorder=1)
    left.set_xlabel("mean multiply-adds, share of one-shot's")
    right.set_xlabel(f"median time since the job's start [{unit}]")
    left.set_ylabel(f"{name} of all samples")
    for axes in (left, right):
        axes.set_xlim(left=0)
    legend_beside(figure)
    return figure


def operations(table: Inference) -> Figure:
    """Draw the mean operations per sample of each variant, by upgrade."""
    unit, scale = best_unit(smallest(total.operations for total in table.totals), OPERATION_UNITS)
    figure, axes = canvas(_title(table))
    bars = sorted(table.totals, key=lambda total: total.variant == "oneshot")
    places = {(total.variant, total.stragglers): i for i, total in enumerate(bars)}
    below = np.zeros(len(bars))
    # The legend is in this order.
    for row in sorted(table.rows, key=lambda row: (row.variant == "oneshot", row.upgrade)):
        place = places[row.variant, row.stragglers]
        top = row.operations_so_far * scale
        oneshot = row.variant == "oneshot"
        colour = "#BBBBBB" if oneshot else COLOURS[row.upgrade % len(COLOURS)]
        label = _BASE if oneshot else f"upgrade {row.upgrade}"
        axes.bar(place, top - below[place], 0.6, below[place], color=colour, label=label)
        below[place] = top
    for place, total in enumerate(bars):
        said = "" if math.isnan(total.share) else f"{total.share:.2f}"
        at = (place, below[place])
        axes.annotate(said, at, (0, 3), textcoords="offset points", ha="center", fontsize=9)
    axes.set_xticks(range(len(bars)), [_label(table, bar).replace(", ", "\n") for bar in bars])
    axes.tick_params("x", labelsize="medium" if len(bars) <= _WIDE_TICKS else "x-small")
    axes.grid(False, axis="x")
    axes.margins(y=0.1)
    axes.set_ylabel(f"mean multiply-adds a sample [{unit}]\nnumbers: share of one-shot's")
    legend(axes)
    return figure


def roc(table: Inference, curves: Sequence[Predicted], oneshot: Sequence[Predicted]) -> Figure:
    """Draw true against false positive rates of each upgrade's scores, a panel for each variant."""
    figure, every = panels(_title(table), [each.variant for each in curves])
    for axes, each in zip(every, curves, strict=True):
        axes.plot([0, 1], [0, 1], color="#AAAAAA", lw=0.8, zorder=1)
        for upgrade in range(len(each.scores)):
            look = _upgrade_look(upgrade)
            label = f"upgrade {upgrade}: AUC {each.auc(upgrade):.4f}"
            axes.plot(*each.roc(upgrade), label=label, **look)
        for base in oneshot:
            label = f"one-shot: AUC {base.auc(0):.4f}"
            axes.plot(*base.roc(0), color=ONESHOT, ls=_DASHED, lw=1.0, label=label)
        axes.set_xlabel("false positive rate")
        axes.legend(loc="lower right", fontsize=8, frameon=False)
    every[0].set_ylabel("true positive rate")
    return figure


def errors(table: Inference, erring: Sequence[Predicted]) -> Figure:
    """Draw which share of samples has a score error of at most so much after each upgrade."""
    figure, every = panels(_title(table), [each.variant for each in erring])
    least = math.inf
    for axes, each in zip(every, erring, strict=True):
        for upgrade, found in enumerate(each.errors):
            x = np.sort(found[~np.isnan(found)])
            if len(x) == 0 or x[-1] == 0:
                continue
            few = _few(len(x))
            y = np.arange(1, len(x) + 1) / len(x)
            look = _upgrade_look(upgrade)
            axes.plot(x[few], y[few], label=f"upgrade {upgrade}", **look)
            least = min(least, np.quantile(x[x > 0], 0.005))
        axes.set_xlabel("score error (largest over classes)")
    plain_logarithmic(every[0], "x", least, every[0].get_xlim()[1])
    every[0].set_ylim(0, 1.02)
    every[0].set_ylabel("share of samples with at most this error")
    legend_beside(figure)
    return figure


def _title(table: Inference) -> str:
    return table.name or table.file


def _layered(table: Inference) -> list[Total]:
    return [total for total in table.totals if total.variant != "oneshot"]


def _rows_of(table: Inference, total: Total) -> list[Row]:
    wanted = total.variant, total.stragglers
    return [row for row in table.rows if (row.variant, row.stragglers) == wanted]


def _label(table: Inference, total: Total) -> str:
    apart = len({each.stragglers for each in table.totals}) > 1
    name = "one-shot" if total.variant == "oneshot" else total.variant
    return f"{name}, {count(total.stragglers)} stragglers" if apart else name


def _series(table: Inference) -> Iterator[tuple[str, list[Row], dict[str, Any]]]:
    """Yield for each variant but one-shot its label, its rows, and how they are drawn."""
    for place, total in enumerate(_layered(table)):
        # Where curves meet, the ones before show below those after.
        look: dict[str, Any] = {
            "color": COLOURS[place % len(COLOURS)],
            "ls": LINES[place % len(LINES)],
            "lw": max(3.2 - 0.9 * place, 1.4),
            "marker": MARKERS[place % len(MARKERS)],
            "ms": max(9 - 2 * place, 4),
        }
        yield _label(table, total), _rows_of(table, total), look


def _upgrade_look(upgrade: int) -> dict[str, Any]:
    return {
        "color": COLOURS[upgrade % len(COLOURS)],
        "ls": LINES[upgrade % len(LINES)],
        "lw": max(3.2 - 0.8 * upgrade, 1.4),
    }


def _reference(axes: Axes, value: float) -> None:
    if not math.isnan(value):
        axes.axhline(value, color=ONESHOT, ls=_DASHED, lw=1.0, zorder=1, label=_BASE)


def _upgrade_ticks(axes: Axes, table: Inference) -> None:
    axes.set_xticks(range(max(row.upgrade for row in table.rows) + 1))


def _few(total: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, total - 1, min(_POINTS, total)).astype(np.int64))
