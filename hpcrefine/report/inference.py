"""From the record of inference to a table: a row per variant and upgrade, and one per variant."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcrefine.analysis.statistics import Summary, known
from hpcrefine.analysis.verdict import worst_verdict
from hpcrefine.record.reader import Record
from hpcrefine.report import predictions
from hpcrefine.report.predictions import Predicted, predicted
from hpcrefine.report.run import Run, describe

#: Columns of a record that the table is made from.
COLUMNS = {
    "workers": ("rank", "threads", "kernel", "session"),
    "jobs": (*("variant", "stragglers", "deadline", "warmup", "n", "k", "p", "status", "verdict"),),
    "upgrades": (
        *("upgrade", "samples", "decided", "ready", "accuracy", "agreement", "gray"),
        *("operations", "share", "met_deadline"),
        *("tasks_used", "tasks_late", "tasks_purged", "tasks_lost"),
    ),
    "events": ("time", "rank", "kind", "detail"),
    "predictions": predictions.COLUMNS["predictions"],
}
#: These come first, any others after them in the order in which they appear.
VARIANTS = ("adaptive", "all", "oneshot")
_MEANS = (
    *("samples", "decided", "accuracy", "agreement", "gray", "share"),
    *("tasks_used", "tasks_late", "tasks_purged", "tasks_lost"),
)


@dataclass(frozen=True)
class Row:
    """One upgrade of one variant with as many stragglers, over the jobs that are no warm-ups.

    Attributes
    ----------
    variant : str
        ``"adaptive"``, ``"all"``, ``"oneshot"``, or another label.
    stragglers : int
        Workers slowed down on purpose; -1 in records that do not say.
    upgrade : int
        0 is the coarsest; one-shot has upgrade 0 alone.
    jobs : int
        Jobs of the variant with these stragglers; those that released it are ``ready.count``.
    samples, decided : float
        Samples that entered the upgrade, and those decided after it; means over the jobs, as all
        that follow unless they say otherwise.
    accuracy : float
        Share of all samples whose latest decision is their label; NaN where unknown.
    points : float
        100 times its difference from one-shot's; NaN without one-shot.
    agreement : float
        Share of all samples whose latest decision is the one after all upgrades; NaN where unknown.
    gray : float
        Share of all samples that are undecided.
    ready : Summary
        Time to the result since the job's start, in seconds.
    ratio : float
        Its median over that of one-shot; NaN without one-shot.
    operations : float
        Multiply-adds of the upgrade for a sample that enters it.
    operations_so_far : float
        Multiply-adds up to here over all samples.
    share : float
        These over one-shot's.
    auc : float
        Area under the ROC of the latest scores; NaN if not a single score.
    error_median, error_p99, error_max : float
        Of the samples' deviations from the scores after all upgrades; NaN where unknown.
    met_deadline : float
        Share of the jobs with a deadline that met it with this upgrade; NaN without deadlines.
    tasks_used, tasks_late, tasks_purged, tasks_lost : float
        Tasks.
    verdict : str
        The worst of the jobs' verdicts.
    """

    variant: str
    stragglers: int
    upgrade: int
    jobs: int
    samples: float
    decided: float
    accuracy: float
    points: float
    agreement: float
    gray: float
    ready: Summary
    ratio: float
    operations: float
    operations_so_far: float
    share: float
    auc: float
    error_median: float
    error_p99: float
    error_max: float
    met_deadline: float
    tasks_used: float
    tasks_late: float
    tasks_purged: float
    tasks_lost: float
    verdict: str


@dataclass(frozen=True)
class Total:
    """What the jobs of a variant came to with the last upgrade that each released.

    Attributes
    ----------
    variant : str
    stragglers, jobs : int
    accuracy, points, agreement, ratio, share : float
        As in :class:`Row`.
    last : Summary
        Time to that upgrade since the job's start, in seconds.
    operations : float
        Multiply-adds per sample, mean over all.
    """

    variant: str
    stragglers: int
    jobs: int
    accuracy: float
    points: float
    agreement: float
    last: Summary
    ratio: float
    operations: float
    share: float


@dataclass(frozen=True)
class Inference(Run):
    """A record's inference.

    Attributes
    ----------
    baseline : float
        Median time of one-shot in seconds, with the fewest stragglers that it met; NaN without one.
    baseline_accuracy : float
        Its accuracy; NaN if unknown.
    baseline_operations : float
        Its multiply-adds per sample; NaN if unknown.
    rows : tuple of Row
        Variants in the order of :data:`VARIANTS`, then others; fewest stragglers first, upgrades
        coarse to fine.
    totals : tuple of Total
        In the same order.
    """

    baseline: float
    baseline_accuracy: float
    baseline_operations: float
    rows: tuple[Row, ...]
    totals: tuple[Total, ...]


@dataclass(frozen=True)
class _Base:
    """One-shot, as far as it is known."""

    seconds: float = np.nan
    accuracy: float = np.nan

    def compare(self, accuracy: float, seconds: float) -> dict[str, float]:
        ratio = seconds / self.seconds if self.seconds else np.nan
        return {"points": 100 * (accuracy - self.accuracy), "ratio": ratio}


@dataclass(frozen=True)
class _Group:
    """Jobs of one variant with as many stragglers, and their upgrades."""

    jobs: NDArray[np.void]
    upgrades: NDArray[np.void]

    @property
    def label(self) -> tuple[str, int]:
        return str(self.jobs["variant"][0]), int(self.jobs["stragglers"][0])

    def last(self) -> NDArray[np.void]:
        """Return the last upgrade of each job that released one."""
        there = self.upgrades[~np.isnan(self.upgrades["ready"])]
        there = there[np.lexsort((there["upgrade"], there["job"]))]
        ends = np.flatnonzero(np.diff(there["job"], append=-1))
        return np.asarray(there[ends])

    def operations_up_to(self, upgrade: int) -> float:
        """Return the mean multiply-adds per sample, over the jobs."""
        counted = self.upgrades[self.upgrades["upgrade"] <= upgrade]
        samples = self.jobs["n"][np.isin(self.jobs["job"], counted["job"])].sum()
        return float(counted["operations"].sum() / samples) if samples else np.nan


def has_inference(record: Record) -> bool:
    """Whether a record is one of inference."""
    return len(record.upgrades) > 0


def summarise(record: Record) -> Inference:
    """Reduce a record of inference to its table.

    Parameters
    ----------
    record : Record
        With :data:`COLUMNS` at least.

    Returns
    -------
    Inference
        Without rows where no job counts.
    """
    groups = list(_groups(record))
    base = _base(groups)
    seen = {each.variant: each for each in predicted(record)}
    rows = tuple(row for group in groups for row in _rows(group, base, seen))
    return Inference(
        **vars(describe(record)),
        baseline=base.seconds,
        baseline_accuracy=base.accuracy,
        baseline_operations=next((r.operations_so_far / r.share for r in rows if r.share), np.nan),
        rows=rows,
        totals=tuple(_total(group, base) for group in groups),
    )


def _groups(record: Record) -> Iterator[_Group]:
    counted = record.jobs[~record.jobs["warmup"]]
    for variant in dict.fromkeys((*VARIANTS, *map(str, counted["variant"]))):
        mine = counted[counted["variant"] == variant]
        for stragglers in np.unique(mine["stragglers"]):
            jobs = mine[mine["stragglers"] == stragglers]
            upgrades = record.upgrades[np.isin(record.upgrades["job"], jobs["job"])]
            if len(upgrades):
                yield _Group(jobs, upgrades)


def _base(groups: list[_Group]) -> _Base:
    oneshot = next((group for group in groups if group.label[0] == "oneshot"), None)
    if oneshot is None:
        return _Base()
    last = oneshot.last()
    return _Base(Summary.of(last["ready"]).median, _mean(last["accuracy"]))


def _rows(group: _Group, base: _Base, seen: dict[str, Predicted]) -> Iterator[Row]:
    variant, stragglers = group.label
    for upgrade in np.unique(group.upgrades["upgrade"]).tolist():
        upgrades = group.upgrades[group.upgrades["upgrade"] == upgrade]
        ready = Summary.of(known(upgrades["ready"]))
        means = {name: _mean(upgrades[name].astype(np.float64)) for name in _MEANS}
        reached = np.isin(group.jobs["job"], upgrades["job"])
        entered = upgrades["samples"].sum()
        yield Row(
            variant=variant,
            stragglers=stragglers,
            upgrade=upgrade,
            jobs=len(group.jobs),
            ready=ready,
            operations=float(upgrades["operations"].sum() / entered) if entered else np.nan,
            operations_so_far=group.operations_up_to(upgrade),
            met_deadline=_met_deadline(group.jobs, upgrades),
            verdict=worst_verdict(group.jobs["verdict"][reached]),
            **means,
            **base.compare(means["accuracy"], ready.median),
            **_of_samples(seen.get(variant), upgrade),
        )


def _of_samples(found: Predicted | None, upgrade: int) -> dict[str, float]:
    names = ("auc", "error_median", "error_p99", "error_max")
    if found is None or upgrade >= len(found.scores):
        return dict.fromkeys(names, np.nan)
    values = (found.auc(upgrade), *found.error_quantiles(upgrade))
    return dict(zip(names, values, strict=True))


def _met_deadline(jobs: NDArray[np.void], upgrades: NDArray[np.void]) -> float:
    timed = jobs["job"][~np.isnan(jobs["deadline"])]
    met = np.count_nonzero(upgrades["met_deadline"] & np.isin(upgrades["job"], timed))
    return met / len(timed) if len(timed) else np.nan


def _total(group: _Group, base: _Base) -> Total:
    variant, stragglers = group.label
    last = group.last()
    seconds = Summary.of(last["ready"])
    accuracy = _mean(last["accuracy"])
    return Total(
        variant=variant,
        stragglers=stragglers,
        jobs=len(group.jobs),
        accuracy=accuracy,
        agreement=_mean(last["agreement"]),
        last=seconds,
        operations=group.operations_up_to(int(group.upgrades["upgrade"].max())),
        share=_mean(last["share"]),
        **base.compare(accuracy, seconds.median),
    )


def _mean(values: NDArray[np.float64]) -> float:
    there = known(values)
    return float(there.mean()) if len(there) else np.nan
