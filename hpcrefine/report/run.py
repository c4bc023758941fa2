"""What is to be known of a run before its table is read: where, how much, what went wrong."""

import tomllib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcrefine.record.reader import Record


@dataclass(frozen=True)
class Event:
    """Something that happened to a worker.

    Attributes
    ----------
    job : int
        Job during or before which it happened.
    time : float
        Seconds since the run's start.
    rank : int
        The worker.
    kind : str
        ``"died"``, ``"silent"``, ``"lied"`` or ``"dropped"``.
    detail : str
        One line for people; may be empty.
    """

    job: int
    time: float
    rank: int
    kind: str
    detail: str


@dataclass(frozen=True)
class Run:
    """A record's run.

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
        Workers, the master (rank 0) not counted; the most of any session.
    sessions : tuple of int
        Workers at the first start and after each resume.
    kernel : str
        Kernel or kernels of the digit products.
    threads : int
        Threads per kernel, the largest of the workers'.
    shape : str
        ``"n x k x p"``, or several of these.
    finished : int
        Finished jobs, warm-ups and all.
    warmups : int
        Warm-ups among these, left out of tables.
    stopped, lost : int
        Counted jobs that were stopped early or lost.
    events : tuple of Event
        In the order of the record, those of warm-ups too.
    """

    file: str
    name: str
    kind: str
    complete: bool
    workers: int
    sessions: tuple[int, ...]
    kernel: str
    threads: int
    shape: str
    finished: int
    warmups: int
    stopped: int
    lost: int
    events: tuple[Event, ...]


def describe(record: Record) -> Run:
    """Describe the run of a record, complete or not."""
    counted, status = ~record.jobs["warmup"], record.jobs["status"]
    sessions = record.sessions
    return Run(
        file=str(record.path),
        name=_job_name(record.attributes["job"]),
        kind=record.attributes["kind"],
        complete=record.complete,
        workers=max(sessions),
        sessions=sessions,
        kernel=_kernels(record),
        threads=int(record.workers["threads"].max(initial=0)),
        shape=_shapes(record.jobs),
        finished=len(record.jobs),
        warmups=int(np.count_nonzero(~counted)),
        stopped=int(np.count_nonzero(counted & (status == "stopped"))),
        lost=int(np.count_nonzero(counted & (status == "lost"))),
        events=tuple(_event(event) for event in record.events),
    )


def _event(row: np.void) -> Event:
    return Event(**dict(zip(row.dtype.names or (), row.item(), strict=True)))


def _shapes(jobs: NDArray[np.void]) -> str:
    first = run_starts(jobs["n"], jobs["k"], jobs["p"])
    shapes = np.unique(jobs[["n", "k", "p"]][first])
    return ", ".join(f"{n} x {k} x {p}" for n, k, p in shapes if n)  # simulations may have none


def run_starts(*columns: NDArray[Any]) -> NDArray[np.intp]:
    """Return where rows differ from the one before in any column, the first row included.

    Most of the many jobs of a stream are like the one before.
    """
    changes = np.zeros(len(columns[0]), bool)
    changes[:1] = True
    for values in columns:
        same = values[1:] == values[:-1]
        if values.dtype.kind == "f":
            same |= np.isnan(values[1:]) & np.isnan(values[:-1])
        changes[1:] |= ~same
    return np.flatnonzero(changes)


def _kernels(record: Record) -> str:
    kernels = [str(kernel) for kernel in np.unique(record.workers["kernel"]) if kernel]
    used = ", ".join(kernels) or str(record.environment.get("kernel", ""))
    return "" if used == "none" else used  # simulations multiply nothing


def _job_name(text: str) -> str:
    try:
        section = tomllib.loads(text).get("job", {})
    except tomllib.TOMLDecodeError:
        return ""
    return str(section.get("name", "")) if isinstance(section, dict) else ""
