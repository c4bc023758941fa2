"""A job file with a stream, run on a pool: one stream for each turn."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpcrefine.ending import Ending
from hpcrefine.errors import InputError, LostError
from hpcrefine.experiment.conditions import Conditions
from hpcrefine.experiment.measuring import options
from hpcrefine.experiment.streamlog import Setting, StreamLog, write_lost
from hpcrefine.experiment.turns import STREAM_WARMUPS, Turn, arrivals, generators, turns
from hpcrefine.experiment.verify import spread
from hpcrefine.inputs import operands
from hpcrefine.job import Job
from hpcrefine.record.writer import RecordWriter
from hpcrefine.resolution.digits import Array
from hpcrefine.schedule.arrivals import mean_rate

if TYPE_CHECKING:
    from hpcrefine.cluster.pool import Pool
    from hpcrefine.cluster.resident import Resident
    from hpcrefine.schedule.plan import Plan

_MOST_ROWS = 64  # of each resolution are kept to be checked ...
_MOST_BYTES = 1 << 29  # ... fewer if all would take more than this
_OF_RESIDENTS = ("digits", "digit_bits", "scale", "code", "tasks", "redundancy", "split", "survive")


class Streaming:
    """Runs streams of jobs.

    Parameters
    ----------
    job : Job
        What is run; it has a stream.
    pool : Pool
        On rank 0, its kernel loaded.
    a, b : ndarray, shapes (n, k) and (k, p)
        Operands, of which jobs take theirs (:func:`hpcrefine.inputs.operands.of_stream`).
    elapsed : float
        Seconds of the run before its first job here.
    ending : Ending, optional
        What the run is asked; default: nothing.

    Raises
    ------
    InputError
        If the job has no stream, asks for faults of more workers than there are, or names the rates
        of another number of workers.
    """

    def __init__(
        self,
        job: Job,
        pool: "Pool",
        a: Array,
        b: Array,
        elapsed: float = 0.0,
        ending: Ending | None = None,
    ) -> None:
        if job.stream is None:
            raise InputError(f"{job.path}: found no [stream], expected one")
        self._job, self._stream, self._pool, self._a, self._b = job, job.stream, pool, a, b
        self._elapsed, self._ending = elapsed, ending or Ending()
        self._origin: float | None = None
        self._conditions = Conditions(job, pool)
        self._shape = (*a.shape, self._stream.columns or b.shape[1])
        operations = 2.0 * self._shape[0] * self._shape[1] * self._shape[2]
        with self._named():
            self._prior = job.workers.seconds(
                pool.workers, operations / job.resolution.digits**2, generators(job)[4].spawn(1)[0]
            )
        self._plans: dict[tuple[Any, ...], Plan] = {}
        each = 8 * self._shape[2] * 2 * job.resolution.digits * self.length
        count = 0 if job.verify.exact == "off" else min(_MOST_ROWS, _MOST_BYTES // each)
        self._rows = spread(len(a), min(len(a), max(1, count)))[:count]

    @property
    def length(self) -> int:
        """Jobs of a turn."""
        return self._stream.length

    def dry_run(self) -> None:
        """Let mistakes in operands or options come up before a record is begun."""
        pair = next(operands.of_stream(self._job, self._a, self._b, 0))
        for kind, turn in {_kind(turn): turn for turn in turns(self._job)}.items():
            self._conditions.guard(turn.code)
            with self._named(), self._left(turn) as left:
                asked = self._options(turn, left)
                if turn.code is None:
                    product = self._pool.oneshot(*pair, **asked)
                else:
                    product = (
                        left.matmul(pair[1], **asked) if left else self._pool.matmul(*pair, **asked)
                    )
                with product:
                    self._plans[kind] = product.plan
                self._pool.settle()

    def run(self, first: int, turn: Turn, writer: RecordWriter, step: Callable[[int], None]) -> str:
        """Run a turn, as far as it is not in the record, and write it there; or until asked to end.

        Parameters
        ----------
        first : int
            Id of its first job.
        turn : Turn
            The stream.
        writer : RecordWriter
            The record.
        step : callable
            Told after each job how many are over.

        Returns
        -------
        str
            Why the last job that was lost was; empty if none was.
        """
        times, begin = self._times(turn), self.next_job(first, turn, writer)
        if begin is None or self._ending.asked:
            return ""
        self._conditions.inject(turn.stragglers)
        self._conditions.guard(turn.code)
        self._pool.estimate(self._job.schedule.forgetting, self._prior)
        rate = mean_rate(times) if self._stream.rate is None else self._stream.rate
        plan, now = self._plans[_kind(turn)], self._pool.clock()
        if self._origin is None:
            self._origin = now - self._elapsed
        setting = Setting(
            turn, first + begin, self._shape, plan, rate, now - self._origin, self._rows
        )
        times = times[begin:] - (times[begin] if begin else 0.0)
        try:
            return self._follow(setting, times, begin, writer, step)
        except LostError as error:  # before the stream has begun
            write_lost(setting, range(len(times)), self._dead(), writer)
            return str(error)

    def next_job(self, first: int, turn: Turn, writer: RecordWriter) -> int | None:
        """Return the first job of a turn, from 0, that is not in the record; None if all are.

        Parameters are those of :meth:`run`.
        """
        jobs, finished = range(len(self._times(turn))), writer.finished
        return next((job for job in jobs if first + job not in finished), None)

    def _times(self, turn: Turn) -> NDArray[np.float64]:
        return arrivals(self._job, turn.repeat)[: STREAM_WARMUPS if turn.warmup else None]

    def _follow(
        self,
        setting: Setting,
        times: NDArray[np.float64],
        begin: int,
        writer: RecordWriter,
        step: Callable[[int], None],
    ) -> str:
        turn = setting.turn
        with self._named(), self._left(turn) as left:
            pairs = operands.of_stream(self._job, self._a, self._b, begin)
            stream = self._pool.stream(
                pairs if left is None else (b for _, b in pairs),
                times,
                a=left,
                deadline=turn.deadline,
                policy=self._stream.policy,
                oneshot=turn.code is None,
                **self._options(turn, left),
            )
            origin = stream.origin - (self._origin or 0.0)
            log = StreamLog(
                self._job,
                replace(setting, origin=origin),
                stream,
                self._conditions,
                self._dead,
                writer,
            )
            loss = log.follow(step)
            self._pool.settle()
            log.write()
        log.check(operands.of_stream(self._job, self._a, self._b, begin))
        return loss

    def _dead(self) -> int:
        return self._pool.workers - len(self._pool.roster.usable)

    @contextlib.contextmanager
    def _left(self, turn: Turn) -> "Iterator[Resident | None]":
        """Hold A at the workers, if it stays the same for all jobs."""
        if turn.code is None or self._stream.new == "both":
            yield None
            return
        asked = options(self._job, turn, turn.code)
        with self._pool.resident(self._a, **{key: asked[key] for key in _OF_RESIDENTS}) as left:
            yield left

    def _options(self, turn: Turn, left: "Resident | None") -> dict[str, Any]:
        """Return what is asked of each product."""
        if turn.code is None:
            return {"tasks": self._job.code.tasks}
        asked = options(self._job, turn, turn.code)
        held = () if left is None else _OF_RESIDENTS
        return {key: value for key, value in asked.items() if key not in held}

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except InputError as error:
            raise InputError(f"{self._job.path}: {error}") from None


def _kind(turn: Turn) -> tuple[Any, ...]:
    """Return what the plans of a turn depend on."""
    return turn.code, turn.split, turn.whole
