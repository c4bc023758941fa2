"""The figures of streams: delays and success against what was varied, beside the lower bounds.

What was simulated is drawn as lines (or bars), what was measured as points with 95 % intervals, so
that a record of either kind can be laid over the other.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hpcrefine.analysis.statistics import known
from hpcrefine.record.reader import read
from hpcrefine.report.streams import COLUMNS, KEYS, Row, Streams, group
from hpcrefine.report.style import COLOURS, LINES, MARKERS, ONESHOT, canvas, legend
from hpcrefine.report.writing import best_unit, smallest

BOUND = "lower bound of the mean\n(M/D/1, workers pooled)"
_POINTS = {"measured": 24, "simulated": 1000}  # of a distribution
_OMEGA = r"redundancy ratio $\Omega$ (coded tasks / tasks needed)"
_SAID = {
    "split": "{}",
    "redundancy": r"$\Omega$ = {:g}",
    "deadline": "deadline {:g} s",
    "stragglers": "{} stragglers",
}
_WIDE_TICKS = 4  # that fit beside each other
_DASHED = (0, (4, 3))
_MEAN: dict[str, Any] = {"marker": "|", "ls": "none", "ms": 11, "mew": 2}
Floats = NDArray[np.float64]


def varied(sources: Iterable[Streams]) -> tuple[str, ...]:
    """Return which of the settings of streams differ within a variant of a record."""
    of_variants = [
        [row for row in source.rows if row.variant == variant]
        for source in sources
        for variant in {row.variant for row in source.rows}
    ]
    return tuple(
        key
        for key in KEYS
        if any(len({repr(getattr(row, key)) for row in rows}) > 1 for rows in of_variants)
    )


def draw(sources: Sequence[Streams]) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of records that belong together, each with the end of its file's name.

    Parameters
    ----------
    sources : sequence of Streams
        Tables of one or more records, in which the same settings differ.
    """
    keys = varied(sources)
    timed = any(not math.isnan(row.deadline) for source in sources for row in source.rows)
    if "deadline" in keys:
        yield "success", success(sources, "deadline")
    elif "redundancy" in keys and timed:
        yield "success", success(sources, "redundancy")
    elif "redundancy" in keys:
        yield "delay", delay(sources)
    elif "split" in keys:
        yield "splits", splits(sources)
    else:
        yield "distribution", distribution(sources)


def delay(sources: Sequence[Streams]) -> Figure:
    """Draw mean delays against the redundancy ratio."""
    unit, scale = _unit(sources)
    figure, axes = canvas(_title(sources))
    for source in sources:
        for look, rows in _series(source, sources, "redundancy"):
            x = np.array([row.redundancy for row in rows])
            y = scale * np.array([row.delay.value for row in rows])
            half = scale * np.array([row.delay.half for row in rows])
            _curve(axes, source, look, x, y, (half, half))
            if source in _first_kind(sources):
                bounds = scale * _finite(row.bound for row in rows)
                axes.plot(x, bounds, color=look.colour, ls=_DASHED, lw=1.0, zorder=1)
    _say_bound(axes)
    axes.set_xlabel(_OMEGA)
    axes.set_ylabel(f"mean delay, arrival to resolution [{unit}]")
    axes.set_ylim(bottom=0)
    legend(axes)
    return figure


def success(sources: Sequence[Streams], key: str) -> Figure:
    """Draw success rates against the deadline or the redundancy ratio."""
    unit, scale = _unit(sources)
    deadlines = {row.deadline for source in sources for row in source.rows}
    at = f", deadline {scale * min(deadlines):g} {unit}" if len(deadlines) == 1 else ""
    figure, axes = canvas(_title(sources) + at)
    for source in sources:
        for look, rows in _series(source, sources, key):
            x = np.array([getattr(row, key) for row in rows])
            y = np.array([row.success for row in rows])
            low = y - [row.success_low for row in rows]
            high = [row.success_high for row in rows] - y
            _curve(axes, source, look, scale * x if key == "deadline" else x, y, (low, high))
    axes.set_xlabel(f"deadline [{unit}]" if key == "deadline" else _OMEGA)
    axes.set_ylabel("share of jobs with the resolution in time")
    lowest = min(row.success for source in sources for row in source.rows)
    axes.set_ylim(0 if lowest < 0.5 else math.floor(20 * lowest - 0.5) / 20, 1.02)
    legend(axes)
    return figure


def splits(sources: Sequence[Streams]) -> Figure:
    """Draw the mean delays of load splits beside each other."""
    unit, scale = _unit(sources)
    names = list(dict.fromkeys(row.split for source in sources for row in source.rows))
    width = 0.8 / len(names)
    figure, axes = canvas(_title(sources))
    places: dict[str, int] = {}
    for source in sources:
        barred = source in _first_kind(sources)
        for look, rows in _series(source, sources, "split"):
            place = places.setdefault(look.name, len(places))
            for row in rows:
                number = names.index(row.split)
                x, y = place + (number - (len(names) - 1) / 2) * width, scale * row.delay.value
                if barred:
                    colour = COLOURS[number % len(COLOURS)]
                    axes.bar(x, y, 0.9 * width, color=colour, label=row.split)
                half = scale * np.nan_to_num(row.delay.half)
                points: dict[str, Any] = (
                    {"fmt": "none"} if barred else {"fmt": "o", "label": "measured"}
                )
                axes.errorbar(x, y, half, color="#333333", capsize=3, **points)
            if barred:
                bound = scale * _finite(row.bound for row in rows[:1])
                ends = place - 0.45, place + 0.45
                axes.hlines(bound, *ends, color="#333333", ls=_DASHED, lw=1.2)
    _say_bound(axes)
    axes.set_xticks(range(len(places)), [place.replace(", ", "\n") for place in places])
    axes.tick_params("x", labelsize="medium" if len(places) <= _WIDE_TICKS else "x-small")
    axes.grid(False, axis="x")
    axes.set_ylabel(f"mean delay, arrival to resolution [{unit}]")
    axes.set_ylim(bottom=0)
    legend(axes)
    return figure


def distribution(sources: Sequence[Streams]) -> Figure:
    """Draw which share of jobs has a resolution how long after its arrival."""
    unit, scale = _unit(sources)
    figure, axes = canvas(_title(sources))
    for source in sources:
        rows = {(*_settings(row), row.layer): row for row in source.rows}
        looks = {id(alike[0]): look for look, alike in _series(source, sources, "")}
        for streams in group(read(source.file, COLUMNS)):
            for layer in range(streams.layers.shape[1]):
                row = rows[(*map(repr, streams.settings), layer)]
                look = looks[id(row)]
                delays = scale * np.sort(known(streams.layers["delay"][:, layer]))
                shares = np.arange(1, len(delays) + 1) / row.jobs
                few = _few(len(delays), _POINTS[source.kind])
                _curve(axes, source, look, delays[few], shares[few], None)
                if source in _first_kind(sources):
                    mean = scale * row.delay.value
                    below = np.searchsorted(delays, mean) / row.jobs
                    axes.plot(mean, below, color=look.colour, zorder=4, **_MEAN)
                    bound = scale * float(_finite([row.bound])[0])
                    axes.axvline(bound, color=look.colour, ls=_DASHED, lw=1.0, zorder=1)
    axes.plot([], [], color="#555555", label="mean", **_MEAN)
    _say_bound(axes)
    longest = np.nanmax([r.p99 for source in sources for r in source.rows] + [0])
    axes.set_xlim(0, 1.05 * scale * longest or None)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(f"delay, arrival to resolution [{unit}]")
    axes.set_ylabel("share of jobs that have the resolution")
    legend(axes)
    return figure


@dataclass(frozen=True)
class _Look:
    """How a series is drawn."""

    name: str
    label: str
    colour: str
    marker: str
    line: object
    layer: int
    oneshot: bool


def _title(sources: Sequence[Streams]) -> str:
    return ", ".join(dict.fromkeys(source.name or source.file for source in sources))


def _settings(row: Row) -> tuple[str, ...]:
    return tuple(repr(getattr(row, key)) for key in KEYS)


def _series(
    source: Streams, sources: Sequence[Streams], along: str
) -> Iterator[tuple[_Look, list[Row]]]:
    """Yield the rows of a source that differ in one setting alone, and how to draw them."""
    apart = [key for key in varied(sources) if key not in (along, "variant")]
    everything = [row for each in sources for row in each.rows]
    variants = list(dict.fromkeys(r.variant for r in everything if r.variant != "oneshot"))
    others = list(dict.fromkeys(tuple(repr(getattr(r, k)) for k in apart) for r in everything))
    both = len({each.kind for each in sources}) > 1
    series: dict[tuple[str, int, tuple[str, ...]], list[Row]] = {}
    for row in source.rows:
        other = tuple(repr(getattr(row, key)) for key in apart)
        series.setdefault((row.variant, row.layer, other), []).append(row)
    for (variant, layer, other), rows in series.items():
        oneshot = variant == "oneshot"
        parts = ["one-shot" if oneshot else f"resolution {layer}"]
        parts += [variant] if len(variants) > 1 and not oneshot else []
        parts += [_SAID[key].format(getattr(rows[0], key)) for key in apart]
        name = ", ".join(parts)
        kind = ", measured" if source.kind == "measured" else ", simulated"
        place = others.index(other) + (0 if oneshot else variants.index(variant))
        yield (
            _Look(
                name=name,
                label=name + kind if both else name,
                colour=ONESHOT if oneshot else COLOURS[layer % len(COLOURS)],
                marker=MARKERS[place % len(MARKERS)],
                line=LINES[place % len(LINES)],
                layer=layer,
                oneshot=oneshot,
            ),
            rows,
        )


def _curve(
    axes: Axes,
    source: Streams,
    look: _Look,
    x: Floats,
    y: Floats,
    interval: tuple[object, object] | None,
) -> None:
    """Draw a series: points with intervals if it was measured, a line with a band if simulated."""
    low, high = (np.nan_to_num(np.asarray(side)) for side in interval or (0 * y, 0 * y))
    if source.kind == "measured":
        face = "white" if look.oneshot else look.colour
        bars = np.stack([np.maximum(low, 0), np.maximum(high, 0)])
        axes.errorbar(
            *(x, y, bars if interval else None),
            fmt=look.marker,
            color=look.colour,
            markerfacecolor=face,
            capsize=2,
            elinewidth=1,
            label=look.label,
            zorder=3,
        )
        return
    # Where lines meet, as one-shot and the last resolution do, the coarser one lies on a wider one.
    width, weight, above = 1.5 + 0.6 * min(look.layer, 3), 1.0, 2 + 1 / (1 + look.layer)
    if look.oneshot:
        width, weight, above = 6.0, 0.35, 1.5
    line: dict[str, Any] = {"ls": look.line, "lw": width, "alpha": weight, "zorder": above}
    line["marker"] = look.marker if len(x) == 1 else ""
    axes.plot(x, y, color=look.colour, label=look.label, **line)
    if interval:
        axes.fill_between(x, y - low, y + high, color=look.colour, alpha=0.15, lw=0, zorder=1)


def _few(count: int, most: int) -> NDArray[np.int64]:
    """Return some of the numbers 0..count-1, evenly spread, first and last among them."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(np.int64))


def _say_bound(axes: Axes) -> None:
    axes.plot([], [], color="#555555", ls=_DASHED, lw=1.0, label=BOUND)


def _first_kind(sources: Sequence[Streams]) -> list[Streams]:
    """Return the sources that bounds are drawn for: those simulated, else the first measured."""
    return [source for source in sources if source.kind != "measured"] or list(sources[:1])


def _unit(sources: Sequence[Streams]) -> tuple[str, float]:
    return best_unit(smallest(r.delay.value for source in sources for r in source.rows))


def _finite(values: Iterable[float]) -> Floats:
    found = np.array(list(values), np.float64)
    return np.where(np.isfinite(found), found, np.nan)
