"""One product on the cluster: nonblocking collection, purge, repair, resolutions."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcrefine.cluster.backoff import Backoff
from hpcrefine.cluster.crew import Crew, Work, collect
from hpcrefine.cluster.released import Released
from hpcrefine.resolution.bounds import Bound

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Resolution:
    """The product as far as it is known.

    Attributes
    ----------
    layer : int
        Layers 0..layer are in it.
    value : ndarray of float64, shape (n, p)
        The product at this resolution. It stays as it is; all but the last are read-only, since
        the next resolutions build on them.
    error_bound : float
        No entry is further than this from the product of the operands as given (for a one-shot
        product: NaN, nothing is guaranteed).
    relative_bound : float
        The same, relative to ``max_i |a_i|_2 * max_j |b_j|_2``.
    seconds : float
        Time since the job's start, on this rank's clock.
    share : float
        Operations spent so far, as a share of the one-shot product's.
    last : bool
        Whether this is the last resolution.
    """

    layer: int
    value: Floats
    error_bound: float
    relative_bound: float
    seconds: float
    share: float
    last: bool


@dataclass
class TaskLog:
    """What became of a dispatched task; times in seconds since the job's start."""

    layer: int
    unit: int
    task: int
    attempt: int
    worker: int
    sent: float
    received: float
    compute: float
    refine: float
    status: str


class Product(Released[Resolution]):
    """A product in flight: an iterator of resolutions that may be left early.

    Parameters
    ----------
    work : Work
        What is computed, of what, by whom.
    bounds : tuple of Bound
        Error bound of each layer.
    start : float
        ``MPI.Wtime()`` at the job's start.
    gated : bool
        Whether the workers wait for :meth:`begin`.

    Attributes
    ----------
    ranks : tuple of int
        The plan's workers.
    layered : bool
        Whether it is made of digits; else it is one product in float64.
    estimates : Estimates or None
        What was known of the workers when it was planned.
    attend : callable
        Takes what has arrived, or pauses; called while a resolution is waited for.
    expired : callable
        Says whether the product's time is over: then what is not delivered is given up.
    delivered : list of float
        When each layer was handed out, in seconds since the job's start.
    """

    def __init__(
        self, work: Work, bounds: tuple[Bound, ...], start: float, *, gated: bool = False
    ) -> None:
        self.plan, self.job, self.start, self.bounds = work.plan, work.job, start, bounds
        self.ranks, self.estimates = tuple(work.ranks), work.estimates
        self.layered = work.operands.refiner is not None
        self.crew = Crew(work)
        self._prepared = self._clock()
        self.crew.begin(gated=gated)
        self.attend: Callable[[Backoff], None] = lambda backoff: collect([self.crew], backoff)
        self.expired: Callable[[], bool] = lambda: False
        self._next = 0
        self.delivered: list[float] = []
        self._in_flight = True
        self._log: dict[tuple[int, int, int], TaskLog] | None = None

    def begin(self, start: float) -> None:
        """Let the workers of a gated product begin; what was done before costs no time of it.

        Parameters
        ----------
        start : float
            ``MPI.Wtime()`` from which on its times count.
        """
        self._prepared = max(0.0, self.start + self._prepared - start)
        self.start = start
        self.crew.start()

    @property
    def _to_come(self) -> bool:
        return self.crew.open and self._next < len(self.plan.layers)

    def _deliver(self) -> Resolution | None:
        layer, assembly = self._next, self.crew.assembly
        backoff = Backoff()
        try:
            while not (expired := self.expired()) and not assembly.complete(layer):
                self.attend(backoff)
        except BaseException:
            self.close()
            raise
        if expired:
            return None
        self._next += 1
        last = self._next == len(self.plan.layers)
        value = assembly.hand_out(layer, last=last)
        bound = self.bounds[layer]
        self.delivered.append(self._clock())
        return Resolution(
            layer,
            value,
            bound.absolute,
            bound.relative,
            self.delivered[layer],
            self.plan.layers[layer].share,
            last,
        )

    def close(self) -> None:
        """Give up what has not been delivered; the workers drop its tasks."""
        self.crew.dismiss()

    @property
    def ended(self) -> bool:
        """Whether it is closed and nothing of it is in flight."""
        return self.crew.ended

    def settle(self) -> None:
        """Close, and wait until nothing of this product is in flight; complete the log."""
        self.close()
        if self._in_flight:
            self.crew.settle()
            self._in_flight = False

    @property
    def log(self) -> dict[tuple[int, int, int], TaskLog]:
        """What became of each (unit, coded task, attempt); durations are known once settled."""
        if self._log is not None:
            return self._log
        found = {}
        for each in self.crew.rounds:
            columns = (each.received - self.start).tolist(), each.seconds.tolist(), each.status
            for given, received, seconds, status in zip(each.assignments, *columns, strict=True):
                found[given.unit, given.task, given.attempt] = TaskLog(
                    self.plan.units[given.unit].layer,
                    *(given.unit, given.task, given.attempt, each.rank),
                    *(each.sent - self.start, received, *seconds, status),
                )
        if not self._in_flight:
            self._log = found
        return found

    def times(self, most: int) -> Iterator[tuple[int, float]]:
        """Yield worker and seconds per digit product of computed tasks; it must be settled.

        Parameters
        ----------
        most : int
            How many of the last tasks of each round are looked at.
        """
        for each in self.crew.rounds:
            spent = each.seconds[-most:].sum(axis=1).tolist()
            for given, seconds in zip(each.assignments[-most:], spent, strict=True):
                if not math.isnan(seconds):
                    cells = len(self.plan.units[given.unit].minijobs)
                    yield each.rank, seconds / (cells * self.plan.task_cost(given.task))

    def fates(self, layer: int) -> dict[str, int]:
        """Count the tasks of a layer that were used, late, purged and lost (or found wrong)."""
        count = Counter(entry.status for entry in self.log.values() if entry.layer == layer)
        count["lost"] += count["rejected"]
        return {name: count[name] for name in ("used", "late", "purged", "lost")}

    def computed(self, layer: int) -> float:
        """Return the digit products of full size that workers computed, in vain or not."""
        return sum(
            self.plan.task_cost(entry.task) * len(self.plan.units[entry.unit].minijobs)
            for entry in self.log.values()
            if entry.layer == layer and entry.status in ("used", "late", "rejected")
        )

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes sent and received by messages."""
        received = sum(each.received_bytes for each in self.crew.rounds)
        return self.crew.outbox.nbytes, received

    def phases(self, layer: int) -> dict[str, float]:
        """Say where the time of a delivered layer went; the product must be settled.

        The last result that the layer needed came from one worker: its products and refining up
        to there count, and what remains of the time until that result is transfer.

        Returns
        -------
        dict of str to float
            Seconds of ``prepare``, ``transfer``, ``compute``, ``refine`` and ``decode``; they add
            up to the layer's ``seconds``.
        """
        used = [e for e in self.log.values() if e.status == "used" and e.layer <= layer]
        last = max(used, key=lambda entry: entry.received)
        until = [
            (e.compute, e.refine)
            for e in self.log.values()
            if e.worker == last.worker and e.received <= last.received
        ]
        compute, refine = np.nansum(until, axis=0).tolist()
        return {
            "prepare": self._prepared,
            "transfer": last.received - self._prepared - compute - refine,
            "compute": compute,
            "refine": refine,
            "decode": self.delivered[layer] - last.received,
        }

    def efforts(self, layer: int) -> dict[str, float]:
        """Return the master's seconds of ``decoding`` and of ``checking`` results of a layer."""
        crew = self.crew
        return {"decoding": crew.assembly.decoding[layer], "checking": crew.checking[layer]}

    def integers(self, layer: int) -> dict[int, NDArray[np.int64]]:
        """Return the integers of a delivered layer, before any scaling.

        Returns
        -------
        dict of int to ndarray of int64, shape (n, p)
            For each significance i + j of the layer, the sum of its digit products.

        Raises
        ------
        RuntimeError
            If they were not kept.
        """
        return self.crew.assembly.integers(layer)

    def _clock(self) -> float:
        return MPI.Wtime() - self.start
