"""From records to one table of codes: a row per variant, code, stragglers and dead workers."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hpcrefine.analysis.statistics import Summary, known
from hpcrefine.analysis.verdict import worst_verdict
from hpcrefine.record.reader import Record
from hpcrefine.report.run import Run, describe

#: Variant that the others of a group are compared with, where it is there.
BASE = "uncoded"

# What a job's layers come down to: how, from which value on, over which column.
_OVER_LAYERS = {
    "first": (np.fmin, np.nan, "ready"),
    "last": (np.fmax, np.nan, "ready"),
    "minijobs": (np.add, 0.0, "minijobs"),
    "computed": (np.add, 0.0, "computed"),
    "decoding": (np.add, 0.0, "decoding"),
    "checking": (np.add, 0.0, "checking"),
    "tasks_lost": (np.add, 0.0, "tasks_lost"),
}
# What would be that of another job, had the job not been lost.
_OF_WHOLE_JOBS = ("last", "computed", "decoding", "checking")
_OF_JOBS = ("stragglers", "dead", "variant", "scheme", "warmup", "status", "verdict")
_BYTES = ("sent_bytes", "received_bytes")


@dataclass(frozen=True)
class Row:
    """Jobs of one variant and code under the same conditions, warm-ups apart.

    Attributes
    ----------
    stragglers, dead : int
        Workers slowed down on purpose, and dead by the end of the job; -1 in records that do not
        say.
    variant, scheme : str
        The jobs' label and the name of their code.
    jobs, lost : int
        Jobs, and those among them that were lost.
    first, last : Summary
        Time to the first resolution and to the last, in seconds since the job's start. A lost job
        has no last one; the last of a job stopped early is the last that it gave.
    ratio : float
        Median of `last` over that of the group's base; NaN where either is unknown.
    redundant_work : float
        Digit products computed over those wanted, minus 1, mean over the jobs not lost; NaN where
        it is not known.
    sent_bytes, received_bytes : float
        Means per job, by messages; NaN where not known.
    decoding, checking : float
        Median seconds per job not lost; NaN where not known.
    tasks_lost : float
        Mean per job.
    verdict : str
        The worst verdict of the jobs that gave a resolution.
    """

    stragglers: int
    dead: int
    variant: str
    scheme: str
    jobs: int
    lost: int
    first: Summary
    last: Summary
    ratio: float
    redundant_work: float
    sent_bytes: float
    received_bytes: float
    decoding: float
    checking: float
    tasks_lost: float
    verdict: str


@dataclass(frozen=True)
class Base:
    """What the ratios of a group, jobs with as many stragglers and dead, are taken to.

    Attributes
    ----------
    stragglers, dead : int
        The group.
    variant, scheme : str
        The row.
    seconds : float
        Median time to its last resolution.
    """

    stragglers: int
    dead: int
    variant: str
    scheme: str
    seconds: float


@dataclass(frozen=True)
class Codes:
    """Codes side by side.

    Attributes
    ----------
    runs : tuple of Run
        The records.
    rows : tuple of Row
        By stragglers, dead, and the order in which variants appear.
    bases : tuple of Base
        One for each group in which some job has a last resolution.
    """

    runs: tuple[Run, ...]
    rows: tuple[Row, ...]
    bases: tuple[Base, ...]


def compare(records: Iterable[Record]) -> Codes:
    """Reduce records to one table.

    Parameters
    ----------
    records : iterable of Record
        Complete or not; jobs of the same kind are taken together, whatever record they are in.

    Returns
    -------
    Codes
        Without rows where no job counts.
    """
    runs, parts = [], []
    for record in records:
        runs.append(describe(record))
        parts.append(_per_job(record))
    jobs = np.concatenate(parts)
    # Warm-ups come in the order of the job file, others in random order.
    codes = tuple(dict.fromkeys(jobs[["variant", "scheme"]].tolist()))
    counted = jobs[~jobs["warmup"]]
    rows: list[Row] = []
    bases: list[Base] = []
    for stragglers, dead in sorted(set(counted[["stragglers", "dead"]].tolist())):
        group = counted[(counted["stragglers"] == stragglers) & (counted["dead"] == dead)]
        compared, base = _compare_group(group, codes)
        rows += compared
        bases += [] if base is None else [base]
    return Codes(tuple(runs), tuple(rows), tuple(bases))


def _per_job(record: Record) -> NDArray[np.void]:
    """Reduce each job's layers; shape (jobs,), warm-ups and all."""
    jobs, layers = record.jobs, record.layers
    kinds = [(name, jobs.dtype[name]) for name in (*_OF_JOBS, *_BYTES)]
    reduced = np.empty(len(jobs), [*kinds, *((name, "f8") for name in _OVER_LAYERS)])
    for name, _ in kinds:
        reduced[name] = jobs[name]
    order = np.argsort(jobs["job"])
    place = order[np.searchsorted(jobs["job"], layers["job"], sorter=order)]
    for name, (reduction, start, column) in _OVER_LAYERS.items():
        values = np.full(len(jobs), start)
        reduction.at(values, place, layers[column])
        reduced[name] = values
    for name in _OF_WHOLE_JOBS:
        reduced[name][jobs["status"] == "lost"] = np.nan
    return reduced


def _compare_group(
    group: NDArray[np.void], codes: Iterable[tuple[str, str]]
) -> tuple[list[Row], Base | None]:
    each = (group[(group["variant"] == v) & (group["scheme"] == s)] for v, s in codes)
    rows = [_row(jobs) for jobs in each if len(jobs)]
    timed = [row for row in rows if row.last.count]
    if not timed:
        return rows, None
    base = next((row for row in timed if row.variant == BASE), timed[0])
    seconds = base.last.median
    return (
        [replace(row, ratio=row.last.median / seconds if seconds else np.nan) for row in rows],
        Base(base.stragglers, base.dead, base.variant, base.scheme, seconds),
    )


def _row(jobs: NDArray[np.void]) -> Row:
    """Reduce the jobs of a row; its ratio is still to come."""
    stragglers, dead, variant, scheme = jobs[["stragglers", "dead", "variant", "scheme"]][0].item()
    layered = jobs[jobs["minijobs"] > 0]
    return Row(
        stragglers=stragglers,
        dead=dead,
        variant=variant,
        scheme=scheme,
        jobs=len(jobs),
        lost=int(np.count_nonzero(jobs["status"] == "lost")),
        first=Summary.of(known(jobs["first"])),
        last=Summary.of(known(jobs["last"])),
        ratio=np.nan,
        redundant_work=_mean(layered["computed"] / layered["minijobs"] - 1),
        sent_bytes=_mean(jobs["sent_bytes"]),
        received_bytes=_mean(jobs["received_bytes"]),
        decoding=Summary.of(known(jobs["decoding"])).median,
        checking=Summary.of(known(jobs["checking"])).median,
        tasks_lost=_mean(jobs["tasks_lost"]),
        verdict=worst_verdict(jobs["verdict"][~np.isnan(jobs["first"])]),
    )


def _mean(values: NDArray[np.float64]) -> float:
    there = known(values)
    return float(there.mean()) if len(there) else np.nan
