"""From a record to ratios: each contender's results over each base, with 95 % intervals.

Medians stand for times, and the interval of a ratio of medians comes from the bootstrap
(percentile method): the repeats are drawn anew together for both, since contenders of one repeat
ran close to each other and share what the machine was doing then.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bench.case import Case
from hpcrefine.analysis.statistics import SMALLEST, Summary
from hpcrefine.record.reader import Record

_DRAWS = 9999
_PREFIXES = ((" T", 1e12), (" G", 1e9), (" M", 1e6), (" k", 1e3))
Times = NDArray[np.float64]


@dataclass(frozen=True)
class Ratio:
    """A ratio of medians with its 95 % interval (NaN for fewer than 6 times)."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, times: Times, base: Times) -> Self:
        """Divide the medians of two samples whose entries belong together by place."""
        count, middle = min(len(times), len(base)), float(np.median(base))
        value = float(np.median(times)) / middle if middle else math.nan
        if count < SMALLEST or not base.all():
            return cls(value, math.nan, math.nan)
        drawn = np.random.default_rng(0).integers(0, count, (_DRAWS, count))
        ratios = np.median(times[drawn], axis=1) / np.median(base[drawn], axis=1)
        low, high = np.quantile(ratios, (0.025, 0.975))
        return cls(value, float(low), float(high))


@dataclass(frozen=True)
class Row:
    """One result of one contender against one base.

    Attributes
    ----------
    contender, label : str
        Whose result; what people call it.
    layer : int
        Number of the result.
    time : Summary
        Of its times, in seconds.
    rate : float
        Work per second, in the case's units.
    error : float
        Largest measured error; NaN without one.
    base : str
        The contender divided by; the contender itself in a base's own row.
    ratio : Ratio
        Time per unit of work over the base's.
    limit : float
        The target; NaN without one.
    verdict : str
        ``"wrong"`` if any run was, else the last run's.
    """

    contender: str
    label: str
    layer: int
    time: Summary
    rate: float
    error: float
    base: str
    ratio: Ratio
    limit: float
    verdict: str

    @property
    def met(self) -> str:
        """Whether the target is met; empty without one."""
        if math.isnan(self.limit):
            return ""
        return "yes" if self.ratio.value <= self.limit else "NO"


@dataclass(frozen=True)
class Comparison:
    """A case with what was measured."""

    case: Case
    record: Record
    rows: tuple[Row, ...]

    @property
    def wrong(self) -> bool:
        """Whether any run, warm-ups included, gave a wrong result."""
        return "wrong" in self.record.jobs["verdict"]


def compare(record: Record) -> Comparison:
    """Reduce the record of a case."""
    case = Case.from_toml(record.attributes["job"])
    return Comparison(case, record, tuple(_rows(case, record)))


def _rows(case: Case, record: Record) -> list[Row]:
    jobs = record.jobs[~record.jobs["warmup"]]
    names = sorted(set(map(str, jobs["variant"])), key=lambda name: (name not in case.bases, name))
    limits = {(t.contender, t.layer, t.base): t.limit for t in case.targets}
    times: dict[tuple[str, int], Times] = {}
    errors: dict[tuple[str, int], float] = {}
    work: dict[str, float] = {}
    for name in names:
        mine = jobs[jobs["variant"] == name]
        work[name] = math.prod(float(mine[axis][0]) for axis in ("n", "k", "p"))
        layers = record.layers[np.isin(record.layers["job"], mine["job"])]
        for layer in map(int, np.unique(layers["layer"])):
            of_layer = layers[layers["layer"] == layer]
            times[name, layer] = of_layer["ready"]
            known = of_layer["error_measured"][~np.isnan(of_layer["error_measured"])]
            errors[name, layer] = float(known.max()) if len(known) else math.nan
    last = {name: max(layer for n, layer in times if n == name) for name in names}
    found = []
    for (name, layer), seconds in times.items():
        bases = sorted((b for b in case.bases if b in last), key=lambda base: base != name)
        verdicts = [str(verdict) for verdict in jobs["verdict"][jobs["variant"] == name]]
        labels = case.labels.get(name, ())
        for base in bases:
            against = times[base, last[base]]
            found.append(
                Row(
                    contender=name,
                    label=labels[layer] if layer < len(labels) else "",
                    layer=layer,
                    time=Summary.of(seconds),
                    rate=_per_second(work[name], seconds) if case.counts else math.nan,
                    error=errors[name, layer],
                    base=base,
                    ratio=Ratio.of(seconds / work[name], against / work[base]),
                    limit=limits.get((name, layer, base), math.nan),
                    verdict="wrong" if "wrong" in verdicts else verdicts[-1],
                )
            )
    return found


def _per_second(work: float, seconds: Times) -> float:
    middle = float(np.median(seconds))
    return work / middle if middle else math.nan


HEADINGS = (
    *("contender", "result", "median [s]", "95 % interval", "per s", "error"),
    *("ratio", "95 % interval", "base", "target", "met", "verdict"),
)


def cells(row: Row) -> tuple[str, ...]:
    """Write a row as text, a cell for each of the headings."""
    return (
        row.contender,
        row.label or str(row.layer),
        _number(row.time.median),
        _interval(row.time.low, row.time.high),
        _si(row.rate),
        _number(row.error, ".1e"),
        _number(row.ratio.value),
        _interval(row.ratio.low, row.ratio.high),
        row.base,
        _number(row.limit),
        row.met,
        row.verdict,
    )


def markdown(rows: list[tuple[str, ...]]) -> str:
    """Write a Markdown table, heading first, columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def text(comparison: Comparison) -> str:
    """Write a comparison: title, table, figures."""
    case, record = comparison.case, comparison.record
    lines = [f"## {case.name}", "", case.note]
    rates = f"; rates count {case.counts}" if case.counts else ""
    lines += [f"{case.repeats} runs each, in random order{rates}.", ""]
    lines.append(markdown([HEADINGS, *map(cells, comparison.rows)]))
    figures = [(n, v) for n, v in record.environment.items() if n.startswith("bench_")]
    lines += ["", *(f"- {n.removeprefix('bench_')}: {v:.4g}" for n, v in figures)] * bool(figures)
    return "\n".join(lines) + "\n"


def _number(value: float, form: str = ".3g") -> str:
    return "" if math.isnan(value) else format(value, form)


def _si(value: float) -> str:
    if math.isnan(value):
        return ""
    prefix, scale = next(((p, s) for p, s in _PREFIXES if value >= s), ("", 1.0))
    return f"{value / scale:.3g}{prefix}"


def _interval(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"{low:.3g} .. {high:.3g}"
