"""From a record to a table: one row per variant, stragglers and layer, warm-ups apart."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcrefine.analysis.statistics import Summary, known
from hpcrefine.analysis.verdict import worst_verdict
from hpcrefine.record.reader import Record
from hpcrefine.record.schema import PHASES
from hpcrefine.report.run import Run, describe

#: These come first, any others after them in the order in which they appear.
VARIANTS = ("layered", "oneshot")


@dataclass(frozen=True)
class Row:
    """One layer of one variant with as many stragglers, over the jobs that are no warm-ups.

    Attributes
    ----------
    variant : str
        ``"layered"``, ``"oneshot"``, or another label.
    stragglers : int
        Workers slowed down on purpose; -1 in records that do not say.
    layer : int
        0 is the coarsest; one-shot has layer 0 alone.
    jobs : int
        Jobs of the variant with these stragglers; those that delivered the layer are
        ``ready.count``.
    digit_products, share : float
        Means over the jobs: digit products of the layer; operations up to here over one-shot's.
    ready, delay : Summary
        Time to the result since the job's start and since its arrival, in seconds.
    speed : float
        The table's baseline over the median of `ready`; NaN without a baseline.
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
    stragglers: int
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
class Table(Run):
    """A record's rows, with what is to be known of its run.

    Attributes
    ----------
    baseline : float
        Median time of one-shot in seconds, with the fewest stragglers that it met; NaN without one.
    rows : tuple of Row
        Layered first, coarse to fine, then one-shot, then other variants; each variant's with the
        fewest stragglers first.
    """

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
    rows = tuple(_rows(record, counted, baseline))
    return Table(**vars(describe(record)), baseline=baseline, rows=rows)


def _rows(record: Record, counted: NDArray[np.void], baseline: float) -> list[Row]:
    rows: list[Row] = []
    for variant in dict.fromkeys((*VARIANTS, *map(str, counted["variant"]))):
        of_variant = counted[counted["variant"] == variant]
        for stragglers in np.unique(of_variant["stragglers"]):
            jobs = of_variant[of_variant["stragglers"] == stragglers]
            layers = record.layers[np.isin(record.layers["job"], jobs["job"])]
            rows += [
                _row(jobs, layers[layers["layer"] == layer], baseline)
                for layer in np.unique(layers["layer"])
            ]
    return rows


def _row(jobs: NDArray[np.void], layers: NDArray[np.void], baseline: float) -> Row:
    """Reduce one layer: `jobs` of one group, `layers` with at most one row for each of them."""
    reached = jobs[np.isin(jobs["job"], layers["job"])]
    ready = Summary.of(known(layers["ready"]))
    with_deadline = jobs["job"][~np.isnan(jobs["deadline"])]
    met = np.count_nonzero(layers["met_deadline"] & np.isin(layers["job"], with_deadline))
    means = {
        name: float(layers[name].mean())
        for name in ("share", "digit_products", *(n for n in _names(layers) if n[:6] == "tasks_"))
    }
    largest = {
        name: float(known(layers[name]).max()) if len(known(layers[name])) else np.nan
        for name in ("error_bound", "relative_bound", "error_measured")
    }
    phases = {name: Summary.of(known(layers[name])).median for name in PHASES}
    return Row(
        phases=phases,
        variant=str(jobs["variant"][0]),
        stragglers=int(jobs["stragglers"][0]),
        layer=int(layers["layer"][0]),
        jobs=len(jobs),
        ready=ready,
        delay=Summary.of(known(layers["delay"])),
        speed=baseline / ready.median if ready.median > 0 else np.nan,
        met_deadline=met / len(with_deadline) if len(with_deadline) else np.nan,
        verdict=worst_verdict(reached["verdict"]),
        **means,
        **largest,
    )


def _baseline(record: Record, counted: NDArray[np.void]) -> float:
    oneshot = counted[counted["variant"] == "oneshot"]
    if len(oneshot) == 0:
        return np.nan
    jobs = oneshot["job"][oneshot["stragglers"] == oneshot["stragglers"].min()]
    return Summary.of(known(record.layers["ready"][np.isin(record.layers["job"], jobs)])).median


def _names(rows: NDArray[np.void]) -> tuple[str, ...]:
    return rows.dtype.names or ()
