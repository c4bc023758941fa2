"""From a record to a table: one row per variant and layer, warm-ups apart."""

import tomllib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcrefine.record.reader import Record
from hpcrefine.record.schema import PHASES
from hpcrefine.report.statistics import Summary

#: These come first, any others after them in the order in which they appear.
VARIANTS = ("layered", "oneshot")
_WORST_FIRST = ("wrong", "unchecked", "within rounding", "exact (sampled)", "exact")


@dataclass(frozen=True)
class Row:
    """One layer of one variant, over the jobs that are no warm-ups.

    Attributes
    ----------
    variant : str
        ``"layered"``, ``"oneshot"``, or another label.
    layer : int
        0 is the coarsest; one-shot has layer 0 alone.
    jobs : int
        Jobs of the variant; those that delivered the layer are ``ready.count``.
    digit_products, share : float
        Means over the jobs: digit products of the layer; operations up to here over one-shot's.
    ready, delay : Summary
        Time to the result since the job's start and since its arrival, in seconds.
    speed : float
        Median of one-shot over the median of `ready`; NaN without a baseline.
    error_bound, relative_bound, error_measured : float
        Largest over the jobs; NaN where there is none.
    tasks_used, tasks_late, tasks_purged, tasks_lost : float
        Means over the jobs.
    phases : dict of str to float
        Median seconds of each phase of ``ready`` (:data:`hpcrefine.record.schema.PHASES`).
    met_deadline : float
        Share of the jobs with a deadline that met it with this layer; NaN without deadlines.
    verdict : str
        The worst of the jobs' verdicts.
    """

    variant: str
    layer: int
    jobs: int
    digit_products: float
    share: float
    ready: Summary
    delay: Summary
    speed: float
    error_bound: float
    relative_bound: float
    error_measured: float
    tasks_used: float
    tasks_late: float
    tasks_purged: float
    tasks_lost: float
    phases: dict[str, float]
    met_deadline: float
    verdict: str


@dataclass(frozen=True)
class Table:
    """A record's rows with what is needed to read them.

    Attributes
    ----------
    file : str
        The record.
    name : str
        The job's name; empty where the job text has none.
    kind : str
        ``"measured"`` or ``"simulated"``.
    complete : bool
        Whether the run came to its end.
    workers : int
        Workers, the master (rank 0) not counted.
    kernel : str
        Kernel or kernels of the digit products.
    threads : int
        Threads per kernel, the largest of the workers'.
    shape : str
        ``"n x k x p"``, or several of these.
    finished : int
        Finished jobs, warm-ups and all.
    warmups : int
        Warm-ups among these, left out of the rows.
    stopped, lost : int
        Counted jobs that were stopped early or lost.
    baseline : float
        Median time of one-shot in seconds; NaN without one.
    rows : tuple of Row
        Layered first, coarse to fine, then one-shot, then other variants.
    """

    file: str
    name: str
    kind: str
    complete: bool
    workers: int
    kernel: str
    threads: int
    shape: str
    finished: int
    warmups: int
    stopped: int
    lost: int
    baseline: float
    rows: tuple[Row, ...]


def summarise(record: Record) -> Table:
    """Reduce a record to its table.

    Parameters
    ----------
    record : Record
        A record, complete or not.

    Returns
    -------
    Table
        Without rows where no job counts.
    """
    counted = record.jobs[~record.jobs["warmup"]]
    baseline = _baseline(record, counted)
    return Table(
        file=str(record.path),
        name=_job_name(record.attributes["job"]),
        kind=record.attributes["kind"],
        complete=record.complete,
        workers=int(np.count_nonzero(record.workers["rank"] > 0)),
        kernel=_kernels(record),
        threads=int(record.workers["threads"].max(initial=0)),
        shape=_shapes(record.jobs),
        finished=len(record.jobs),
        warmups=len(record.jobs) - len(counted),
        stopped=int(np.count_nonzero(counted["status"] == "stopped")),
        lost=int(np.count_nonzero(counted["status"] == "lost")),
        baseline=baseline,
        rows=tuple(_rows(record, counted, baseline)),
    )


def _rows(record: Record, counted: NDArray[np.void], baseline: float) -> list[Row]:
    rows: list[Row] = []
    for variant in dict.fromkeys((*VARIANTS, *map(str, counted["variant"]))):
        jobs = counted[counted["variant"] == variant]
        of_variant = record.layers[np.isin(record.layers["job"], jobs["job"])]
        rows += [
            _row(jobs, of_variant[of_variant["layer"] == layer], baseline)
            for layer in np.unique(of_variant["layer"])
        ]
    return rows


def _row(jobs: NDArray[np.void], layers: NDArray[np.void], baseline: float) -> Row:
    """Reduce one layer: `jobs` of one variant, `layers` with at most one row for each of them."""
    reached = jobs[np.isin(jobs["job"], layers["job"])]
    ready = Summary.of(_known(layers["ready"]))
    with_deadline = jobs["job"][~np.isnan(jobs["deadline"])]
    met = np.count_nonzero(layers["met_deadline"] & np.isin(layers["job"], with_deadline))
    means = {
        name: float(layers[name].mean())
        for name in ("share", "digit_products", *(n for n in _names(layers) if n[:6] == "tasks_"))
    }
    largest = {
        name: float(_known(layers[name]).max()) if len(_known(layers[name])) else np.nan
        for name in ("error_bound", "relative_bound", "error_measured")
    }
    phases = {name: Summary.of(_known(layers[name])).median for name in PHASES}
    return Row(
        phases=phases,
        variant=str(jobs["variant"][0]),
        layer=int(layers["layer"][0]),
        jobs=len(jobs),
        ready=ready,
        delay=Summary.of(_known(layers["delay"])),
        speed=baseline / ready.median if ready.median > 0 else np.nan,
        met_deadline=met / len(with_deadline) if len(with_deadline) else np.nan,
        verdict=next((v for v in _WORST_FIRST if v in reached["verdict"]), "unchecked"),
        **means,
        **largest,
    )


def _baseline(record: Record, counted: NDArray[np.void]) -> float:
    jobs = counted["job"][counted["variant"] == "oneshot"]
    return Summary.of(_known(record.layers["ready"][np.isin(record.layers["job"], jobs)])).median


def _known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    known: NDArray[np.float64] = values[~np.isnan(values)]
    return known


def _names(rows: NDArray[np.void]) -> tuple[str, ...]:
    return rows.dtype.names or ()


def _shapes(jobs: NDArray[np.void]) -> str:
    shapes = np.unique(jobs[["n", "k", "p"]])
    return ", ".join(f"{n} x {k} x {p}" for n, k, p in shapes)


def _kernels(record: Record) -> str:
    kernels = [str(kernel) for kernel in np.unique(record.workers["kernel"]) if kernel]
    return ", ".join(kernels) or str(record.environment.get("kernel", ""))


def _job_name(text: str) -> str:
    try:
        section = tomllib.loads(text).get("job", {})
    except tomllib.TOMLDecodeError:
        return ""
    return str(section.get("name", "")) if isinstance(section, dict) else ""
