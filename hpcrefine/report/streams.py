"""From the record of streams to a table: a row per stream and layer, beside what none can beat."""

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hpcrefine.analysis.statistics import Mean, known, share_interval
from hpcrefine.analysis.verdict import worst_verdict
from hpcrefine.record.reader import Record
from hpcrefine.report.run import Run, describe, run_starts
from hpcrefine.report.tables import VARIANTS
from hpcrefine.schedule.theory import delay_bound, utilisation

#: Columns of a record that the table is made from: streams may have millions of jobs.
COLUMNS = {
    "workers": ("rank", "threads", "kernel", "session"),
    "jobs": (
        *("variant", "split", "redundancy", "deadline", "stragglers", "rate", "repeat", "warmup"),
        *("n", "k", "p", "arrival", "start", "end", "status", "verdict"),
    ),
    "layers": (*("layer", "minijobs", "ready", "delay", "prepare", "decode", "met_deadline"),),
    "events": ("time", "rank", "kind", "detail"),
    "estimates": ("worker", "tasks", "mean"),
}
#: What tells streams from each other.
KEYS = ("variant", "split", "redundancy", "deadline", "stragglers")
Settings = tuple[str, str, float, float, int]
#: These come first, any others after them; they are compared with the first that is there.
SPLITS = ("uniform", "optimal", "dynamic")


@dataclass(frozen=True)
class Row:
    """One layer of the streams that have the same settings, warm-ups apart.

    Attributes
    ----------
    variant, split : str
        Label of the code, or ``"oneshot"``; load split.
    redundancy : float
        Omega.
    deadline : float
        In seconds; NaN without.
    stragglers : int
        Workers slowed down on purpose.
    layer : int
        0 is the coarsest.
    jobs : int
        Jobs of these streams; those that released the layer are ``delay.count``.
    delay : Mean
        Time from a job's arrival to the layer, in seconds, over the jobs that released it.
    median, p90, p99 : float
        Of the same delays, by nearest rank; NaN if there are none.
    success, success_low, success_high : float
        Share of all jobs that released the layer in time, with its 95 % confidence interval.
    bound : float
        What no scheme's mean delay is below, in seconds: M/D/1, all workers pooled. NaN where the
        speed of the workers is unknown, infinite where the queue is unstable.
    utilisation : float
        rho, the share of time in which workers are needed; unstable from 1 on.
    waiting : float
        Mean time from arrival to start, in seconds.
    service : float
        Mean time from start to end, in seconds.
    overhead : float
        Mean seconds that a job costs the master: operands quantised and placed, and the decoding
        of the last layer released. NaN where not measured.
    ratio : float
        Mean delay over that of the same streams with the base split; NaN without such.
    verdict : str
        The jobs' worst.
    """

    variant: str
    split: str
    redundancy: float
    deadline: float
    stragglers: int
    layer: int
    jobs: int
    delay: Mean
    median: float
    p90: float
    p99: float
    success: float
    success_low: float
    success_high: float
    bound: float
    utilisation: float
    waiting: float
    service: float
    overhead: float
    ratio: float
    verdict: str


@dataclass(frozen=True)
class Group:
    """The jobs that count of streams with the same settings.

    Attributes
    ----------
    settings : tuple
        The values of :data:`KEYS`.
    jobs : ndarray, shape (J,)
        Their rows, in the order of the record.
    layers : ndarray, shape (J, L)
        The rows of each job's layers; where it has none, NaN times and ``job`` = -1.
    estimates : ndarray, shape (E,)
        Rows of the estimates that their splits were made from.
    """

    settings: Settings
    jobs: NDArray[np.void]
    layers: NDArray[np.void]
    estimates: NDArray[np.void]

    @functools.cached_property
    def speed(self) -> float:
        """Digit products a second of all workers together, mean over jobs; NaN if unknown."""
        _, job = np.unique(self.estimates["job"], return_inverse=True)
        with np.errstate(divide="ignore"):
            sums = np.bincount(job, 1 / self.estimates["mean"])
        there = sums[np.isfinite(sums)]
        return float(there.mean()) if len(there) else np.nan

    @property
    def rate(self) -> float:
        """Mean arrivals a second."""
        return float(self.jobs["rate"].mean())

    @property
    def products(self) -> NDArray[np.float64]:
        """Digit products up to each layer, shape (L,); NaN where the product is not one of digits.

        Of the first job that has all layers in the record.
        """
        whole = self.layers[np.argmax((self.layers["job"] >= 0).all(axis=1))]
        total = np.cumsum(whole["minijobs"], dtype=np.float64)
        return np.where(total > 0, total, np.nan)

    @property
    def utilisation(self) -> float:
        """Share of time in which pooled workers are needed; NaN where the speed is unknown."""
        return utilisation(self.rate, float(self.products[-1]), self.speed)

    @property
    def bounds(self) -> list[float]:
        """What no mean delay of a layer is below, in seconds; NaN where the speed is unknown."""
        whole = float(self.products[-1])
        return [delay_bound(self.rate, whole, self.speed, p) for p in self.products.tolist()]


@dataclass(frozen=True)
class Streams(Run):
    """A record's streams.

    Attributes
    ----------
    base : str
        Split that ratios are taken to; empty where there is only one.
    rows : tuple of Row
        Layered first, then one-shot, then other variants; uniform first, then optimal, then other
        splits; redundancies, deadlines, stragglers and layers ascending.
    """

    base: str
    rows: tuple[Row, ...]


def has_streams(record: Record) -> bool:
    """Whether a record is one of streams."""
    return bool(np.any(~np.isnan(record.jobs["rate"])))


def summarise(record: Record) -> Streams:
    """Reduce a record of streams to its table.

    Parameters
    ----------
    record : Record
        With :data:`COLUMNS` at least.

    Returns
    -------
    Streams
        Without rows where no job counts.
    """
    groups = list(group(record))
    measured = record.attributes["kind"] == "measured"
    rows = [row for each in groups for row in _rows(each, measured)]
    splits = list(dict.fromkeys(row.split for row in rows))
    base = "" if len(splits) < 2 else next((s for s in SPLITS if s in splits), splits[0])
    return Streams(**vars(describe(record)), base=base, rows=tuple(_with_ratios(rows, base)))


def group(record: Record) -> Iterator[Group]:
    """Yield the jobs that count, those of streams with the same settings together."""
    jobs, layers, estimates = record.jobs, record.layers, record.estimates
    labels, settings = _label(jobs)
    places = _places(jobs["job"], layers["job"])
    layer_labels = labels[places]
    estimate_labels = labels[_places(jobs["job"], estimates["job"])]
    number = np.empty(len(jobs), np.int64)  # of a job among its like
    for label in _in_order(settings):
        (mine,) = np.nonzero(labels == label)
        number[mine] = np.arange(len(mine))
        (rows,) = np.nonzero(layer_labels == label)
        if len(rows):
            table = _table(layers[rows], number[places[rows]], len(mine))
            known_by_then = estimates[estimate_labels == label]
            yield Group(settings[label], jobs[mine], table, known_by_then)


def _label(jobs: NDArray[np.void]) -> tuple[NDArray[np.int64], list[Settings]]:
    """Return the number of each job's settings, -1 for warm-ups; and the settings."""
    columns = [jobs[name] for name in (*KEYS, "warmup")]
    starts = run_starts(*columns)
    numbers: dict[str, int] = {}  # by their text, since a NaN is unlike itself
    settings: list[Settings] = []
    labels = []
    for start in starts.tolist():
        variant, split, redundancy, deadline, stragglers, warmup = (
            c[start].item() for c in columns
        )
        found = (variant, split, redundancy, deadline, stragglers)
        if not warmup and repr(found) not in numbers:
            numbers[repr(found)] = len(settings)
            settings.append(found)
        labels.append(-1 if warmup else numbers[repr(found)])
    spread = np.repeat(np.array(labels, np.int64), np.diff(starts, append=len(jobs)))
    return spread, settings


def _in_order(settings: list[Settings]) -> list[int]:
    """Return the numbers of settings as their rows come."""
    variants = list(dict.fromkeys([*VARIANTS, *(variant for variant, *_ in settings)]))
    splits = list(dict.fromkeys([*SPLITS, *(split for _, split, *_ in settings)]))

    def place(number: int) -> tuple[float, ...]:
        variant, split, redundancy, deadline, stragglers = settings[number]
        ascending = (np.nan_to_num(redundancy), np.nan_to_num(deadline), stragglers)
        return (variants.index(variant), splits.index(split), *ascending)

    return sorted(range(len(settings)), key=place)


def _places(ids: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where ids stand; all that are wanted do."""
    order = np.argsort(ids, kind="stable")
    return np.asarray(order[np.searchsorted(ids, wanted, sorter=order)], np.int64)


def _table(rows: NDArray[np.void], job: NDArray[np.int64], jobs: int) -> NDArray[np.void]:
    """Lay out rows of layers, shape (jobs, layers)."""
    empty = np.zeros((), rows.dtype)
    empty["job"] = -1
    for name in rows.dtype.names or ():
        if rows.dtype[name].kind == "f":
            empty[name] = np.nan
    table = np.full((jobs, int(rows["layer"].max()) + 1), empty)
    table[job, rows["layer"]] = rows
    return table


def _rows(streams: Group, measured: bool) -> Iterator[Row]:
    jobs, layers = streams.jobs, streams.layers
    released = ~np.isnan(layers["ready"])
    waiting = float((jobs["start"] - jobs["arrival"]).mean())
    service = float((jobs["end"] - jobs["start"]).mean())
    overhead = _overhead(layers, released) if measured else np.nan
    verdict = worst_verdict(np.unique(jobs["verdict"][released.any(axis=1)]))
    for layer, bound in enumerate(streams.bounds):
        delays = known(layers["delay"][:, layer])
        hits = int(np.count_nonzero(layers["met_deadline"][:, layer]))
        low, high = share_interval(hits, len(jobs))
        median, p90, p99 = _quantiles(delays)
        yield Row(
            *streams.settings,
            layer=layer,
            jobs=len(jobs),
            delay=Mean.of(delays),
            median=median,
            p90=p90,
            p99=p99,
            success=hits / len(jobs),
            success_low=low,
            success_high=high,
            bound=bound,
            utilisation=streams.utilisation,
            waiting=waiting,
            service=service,
            overhead=overhead,
            ratio=np.nan,
            verdict=verdict,
        )


def _quantiles(delays: NDArray[np.float64]) -> list[float]:
    if len(delays) == 0:
        return [np.nan] * 3
    found: list[float] = np.quantile(delays, (0.5, 0.9, 0.99), method="inverted_cdf").tolist()
    return found


def _overhead(layers: NDArray[np.void], released: NDArray[np.bool_]) -> float:
    last = layers.shape[1] - 1 - np.argmax(released[:, ::-1], axis=1)
    ends = layers[np.arange(len(layers)), last][released.any(axis=1)]
    spent = known(ends["prepare"] + ends["decode"])
    return float(spent.mean()) if len(spent) else np.nan


def _with_ratios(rows: list[Row], base: str) -> Iterable[Row]:
    def alike(row: Row) -> str:
        return repr((row.variant, row.redundancy, row.deadline, row.stragglers, row.layer))

    bases = {alike(row): row.delay.value for row in rows if row.split == base}
    return (replace(row, ratio=row.delay.value / bases.get(alike(row), np.nan)) for row in rows)
