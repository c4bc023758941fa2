"""The record of a stream: each job once it is settled; its verdict when the stream is over.

Checking a result takes longer than computing it, so that it would disturb the jobs that follow.
Some rows of each resolution are kept instead, and compared afterwards.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hpcrefine.codes import DecodeError
from hpcrefine.errors import LostError
from hpcrefine.experiment.conditions import Conditions
from hpcrefine.experiment.rows import (
    Row,
    estimate_rows,
    job_row,
    layer_row,
    missing_layer_row,
    skipped_layer_rows,
    task_rows,
)
from hpcrefine.experiment.turns import Turn
from hpcrefine.experiment.verify import Exact, make_reference
from hpcrefine.job import Job
from hpcrefine.record.writer import RecordWriter
from hpcrefine.resolution.bounds import exact_in_float64
from hpcrefine.resolution.digits import Array, quantise

if TYPE_CHECKING:
    from hpcrefine.cluster.master import Resolution
    from hpcrefine.cluster.stream import Stream, StreamedJob
    from hpcrefine.schedule.plan import Plan

_MOST_UNWRITTEN = 64  # settled jobs that may wait for a moment in which writing disturbs nobody


@dataclass(frozen=True)
class Setting:
    """What all jobs of a stream have in common in the record.

    Attributes
    ----------
    turn : Turn
        What was run.
    first : int
        Id of the stream's first job.
    shape : (int, int, int)
        n, k, p.
    plan : Plan
        How a job is planned: for those that were never begun.
    rate : float
        Arrivals a second.
    origin : float
        The stream's beginning, in seconds since the run's start.
    rows : ndarray of int64
        Rows of the product that are checked; none if none are.
    """

    turn: Turn
    first: int
    shape: tuple[int, int, int]
    plan: "Plan"
    rate: float
    origin: float
    rows: NDArray[np.int64]


class StreamLog:
    """Follows a stream and writes it down.

    Parameters
    ----------
    job : Job
        The job file.
    setting : Setting
        What the jobs have in common.
    stream : Stream
        The stream, from its beginning.
    conditions : Conditions
        Knows what befell the workers.
    dead : callable
        Counts the workers that are gone.
    writer : RecordWriter
        The record.
    """

    def __init__(
        self,
        job: Job,
        setting: Setting,
        stream: "Stream",
        conditions: Conditions,
        dead: Callable[[], int],
        writer: RecordWriter,
    ) -> None:
        self._job, self._setting, self._stream = job, setting, stream
        self._conditions, self._dead, self._writer = conditions, dead, writer
        self._released: dict[int, list[Resolution]] = {}  # of values some rows
        self._written: dict[int, tuple[Row, list[Row]]] = {}
        self._unwritten: deque[StreamedJob] = deque()
        stream.settled = self._unwritten.append
        stream.pastime = lambda: self.write(1)

    def follow(self, step: Callable[[int], None]) -> str:
        """Take all jobs to their ends; return why the last lost one was lost, or nothing.

        Parameters
        ----------
        step : callable
            Told after each job how many are over.
        """
        loss = ""
        for job in self._stream:
            if len(self._unwritten) > _MOST_UNWRITTEN:
                self.write()
            released = self._released[job.position] = []
            try:
                for resolution in job:
                    part = resolution.value[self._setting.rows]
                    released.append(replace(resolution, value=part))
            except (LostError, DecodeError):
                pass  # it says so itself
            loss = job.loss or loss
            step(job.position + 1)
        return loss

    def write(self, most: int | None = None) -> None:
        """Write jobs that are settled, at most so many."""
        while self._unwritten and most != 0:
            self._write(self._unwritten.popleft())
            most = None if most is None else most - 1

    def check(self, pairs: Iterable[tuple[Array, Array]]) -> None:
        """Compare what was kept with exact products, and write the verdicts.

        Parameters
        ----------
        pairs : iterable of (ndarray, ndarray)
            The operands of the jobs, from the first on.
        """
        last = max(self._written, default=-1)
        for position, (a, b) in zip(range(last + 1), pairs, strict=False):
            released = self._released.pop(position, [])
            if released and position in self._written and len(self._setting.rows):
                job, layers = self._written[position]
                verdict, errors = self._verdict(released, a, b)
                for resolution, error in zip(released, errors, strict=True):
                    layers[resolution.layer]["error_measured"] = error
                self._writer.amend(job | {"verdict": verdict}, layers)

    def _write(self, job: "StreamedJob") -> None:
        setting, product = self._setting, job.product
        number, since = setting.first + job.position, setting.origin
        if number in self._writer.finished:  # of a run before, which had not written all up to it
            return
        if job.position not in self._released:  # the stream ended before its turn
            return
        row = job_row(
            number,
            setting.turn,
            setting.shape,
            product,
            (since + job.arrival, since + job.start, since + job.end),
            rate=setting.rate,
            status=job.status,
            verdict="unchecked",
            dead=self._dead(),
        )
        layers, tasks, estimates = skipped_layer_rows(number, setting.plan), [], []
        if product is not None:
            released = {each.layer: each for each in self._released[job.position]}
            waited = job.start - job.arrival
            layers = [
                layer_row(number, product, released[at], np.nan, waited)
                if at in released
                else missing_layer_row(number, product, at)
                for at in range(len(product.plan.layers))
            ]
            tasks = task_rows(number, product) if self._job.record.tasks else []
            estimates = estimate_rows(number, product) if product.layered else []
        events = self._conditions.news(number, self._stream.origin - setting.origin)
        self._writer.append(row, layers, tasks, events, estimates)
        self._written[job.position] = row, layers

    def _verdict(self, released: "list[Resolution]", a: Array, b: Array) -> tuple[str, list[float]]:
        """Judge some rows of the resolutions of a job; return their errors too."""
        resolution, rows = self._job.resolution, self._setting.rows
        digits, bits, scale = resolution.digits, resolution.digit_bits, resolution.scale
        left = quantise(a, digits, bits, axis=1, scale=scale)
        right = quantise(b, digits, bits, axis=0, scale=scale)
        part = left.rows(rows)
        norms = float(part.residuals[0].max() * right.residuals[0].max())
        smallest = float(np.nanmin([r.error_bound for r in released])) if self._layered else 0.0
        reference = make_reference(a[rows], b, smallest, norms)
        errors = [reference.error(each.value) for each in released]
        if not self._layered:
            return "within rounding" if errors[0] <= 2 * reference.rounding else "wrong", errors
        if any(error > r.error_bound for error, r in zip(errors, released, strict=True)):
            return "wrong", errors
        if not exact_in_float64(left, right):
            return "unchecked", errors  # values alone do not prove the integers
        layers = self._setting.plan.layers[: len(released)]
        exact = Exact(part, right, layers, "full", self._job.verify.limit)
        pairs = zip(released, exact.values(), strict=True)
        right_all = all(np.array_equal(r.value, value) for r, value in pairs)
        whole = len(rows) == len(a)
        return ("exact" if whole else "exact (sampled)") if right_all else "wrong", errors

    @property
    def _layered(self) -> bool:
        return self._setting.turn.code is not None


def write_lost(setting: Setting, positions: Iterable[int], dead: int, writer: RecordWriter) -> None:
    """Write jobs that could not even arrive, since no worker is left.

    Parameters
    ----------
    setting : Setting
        What they have in common; its origin is when they were lost.
    positions : iterable of int
        Which jobs of the stream.
    dead : int
        Workers that are gone.
    writer : RecordWriter
        The record.
    """
    for position in positions:
        number, when = setting.first + position, (setting.origin,) * 3
        row = job_row(
            number,
            setting.turn,
            setting.shape,
            None,
            when,
            rate=setting.rate,
            status="lost",
            verdict="unchecked",
            dead=dead,
        )
        if number not in writer.finished:
            writer.append(row, skipped_layer_rows(number, setting.plan), [])
