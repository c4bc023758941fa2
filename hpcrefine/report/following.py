"""From the estimates of a record to how the load split followed its workers."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcrefine.analysis.statistics import known
from hpcrefine.record.reader import Record
from hpcrefine.report.run import Run, describe
from hpcrefine.report.streams import Group, group

#: Jobs of each stream that are shown.
SHOWN = 6
#: A worker whose mean has changed as much is one that the split had to follow.
CHANGE = 1.5
#: Its share has followed once it is so near to what it ends with, or within one task of it.
NEAR = 0.1


@dataclass(frozen=True)
class Row:
    """What one worker was given for one job of a stream.

    Attributes
    ----------
    variant, split : str
    redundancy, deadline : float
    stragglers : int
        The stream's settings, see :class:`hpcrefine.report.streams.Row`.
    repeat : int
        Which of the streams with these settings.
    worker : int
        Its rank.
    job : int
        Place in the stream, from 0.
    tasks : int
        Coded tasks of a unit that it was given (kappa), by the last estimate up to this job.
    mean : float
        Its estimated time of a digit product, in seconds; NaN if unknown.
    """

    variant: str
    split: str
    redundancy: float
    deadline: float
    stragglers: int
    repeat: int
    worker: int
    job: int
    tasks: int
    mean: float


@dataclass(frozen=True)
class Change:
    """A worker whose speed changed for good, and its share after it.

    Attributes
    ----------
    variant, split : str
    redundancy, deadline : float
    stragglers, repeat, worker : int
        As in :class:`Row`.
    job : int
        First job of the change: as the job file has it (``slows``), else the first from which on
        its mean was nearer to the last one than to the first.
    before, after : float
        Its mean in the beginning and in the end, in seconds.
    tasks_before, tasks_after : float
        Its tasks in the beginning and in the end.
    jobs : int
        After how many jobs its tasks were within 10 %, or one task, of those in the end.
    """

    variant: str
    split: str
    redundancy: float
    deadline: float
    stragglers: int
    repeat: int
    worker: int
    job: int
    before: float
    after: float
    tasks_before: float
    tasks_after: float
    jobs: int


@dataclass(frozen=True)
class Splits(Run):
    """How the split of a record's streams followed the workers.

    Attributes
    ----------
    rows : tuple of Row
        By stream, worker and job.
    changes : tuple of Change
        By stream and worker.
    """

    rows: tuple[Row, ...]
    changes: tuple[Change, ...]


def follow(record: Record) -> Splits:
    """Reduce the estimates of a record's streams to a few jobs.

    Parameters
    ----------
    record : Record
        With :data:`hpcrefine.report.streams.COLUMNS` at least.
    """
    rows: list[Row] = []
    changes: list[Change] = []
    slows = _slows(record.attributes["job"])
    for streams in group(record):
        for place, rank, estimates, jobs in _series(streams):
            shown = np.unique(np.linspace(0, jobs - 1, SHOWN).astype(int))
            at = np.searchsorted(place, shown, side="right") - 1
            settings = (*streams.settings, *rank)
            rows += [
                Row(*settings, job, int(row["tasks"]), float(row["mean"]))
                for job, row in zip(shown.tolist(), estimates[at], strict=True)
            ]
            found = _changes(place, estimates, slows.get(rank[1], []))
            changes += [Change(*settings, *change) for change in found]
    return Splits(**vars(describe(record)), rows=tuple(rows), changes=tuple(changes))


def _series(
    streams: Group,
) -> Iterator[tuple[NDArray[np.int64], tuple[int, int], NDArray[np.void], int]]:
    """Yield for each worker of each stream the places of jobs, repeat and rank, and estimates."""
    for repeat in np.unique(streams.jobs["repeat"]).tolist():
        ids = np.sort(streams.jobs["job"][streams.jobs["repeat"] == repeat])
        estimates = streams.estimates[np.isin(streams.estimates["job"], ids)]
        estimates = estimates[np.lexsort((estimates["job"], estimates["worker"]))]
        ranks, starts = np.unique(estimates["worker"], return_index=True)
        for rank, rows in zip(ranks.tolist(), np.split(estimates, starts[1:]), strict=False):
            yield np.searchsorted(ids, rows["job"]), (repeat, rank), rows, len(ids)


def _slows(text: str) -> dict[int, list[int]]:
    """Return from which jobs on a job file slows down which ranks."""
    try:
        workers = tomllib.loads(text).get("faults", {}).get("worker", [])
        named = [one for one in workers if "rank" in one]
        return {one["rank"]: [job for job, _ in one.get("slows", [])] for one in named}
    except (AttributeError, TypeError, ValueError):
        return {}  # a text that some other program wrote


def _changes(
    place: NDArray[np.int64], estimates: NDArray[np.void], slows: list[int]
) -> Iterator[tuple[int, float, float, float, float, int]]:
    """Compare the last tenth of a worker's estimates with the second: the first is for learning."""
    tenth = len(place) // 10
    if tenth == 0:
        return
    early, late = slice(tenth, 2 * tenth), slice(-tenth, None)
    means, tasks = estimates["mean"], estimates["tasks"]
    if not (len(known(means[early])) and len(known(means[late]))):
        return
    before, after = (float(np.median(known(means[part]))) for part in (early, late))
    tasks_before, tasks_after = (float(np.median(tasks[part])) for part in (early, late))
    if max(before, after) <= CHANGE * min(before, after) or tasks_before == tasks_after:
        return
    beyond = (means - np.sqrt(before * after)) * (after - before) > 0
    seen = len(beyond) - int(np.argmin(beyond[::-1]))  # since then for good
    job = max((slow for slow in slows if slow <= place[seen]), default=int(place[seen]))
    onset = int(np.searchsorted(place, job))
    near = np.abs(tasks[onset:] - tasks_after) <= max(NEAR * tasks_after, 1.0)
    settled = onset + int(np.argmax(near))
    yield job, before, after, tasks_before, tasks_after, int(place[settled]) - job
