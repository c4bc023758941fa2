"""One product on the cluster: dispatch, nonblocking collection, purge, decoding, resolutions."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcrefine.cluster.backoff import Backoff
from hpcrefine.cluster.collect import Collector, Reply
from hpcrefine.cluster.dispatch import Dispatch
from hpcrefine.cluster.shared import Sharing
from hpcrefine.resolution.bounds import Bound
from hpcrefine.resolution.refine import Refiner
from hpcrefine.schedule.plan import Plan

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
    worker: int
    sent: float
    received: float
    compute: float
    refine: float
    status: str


class Product(Iterator[Resolution]):
    """A product in flight: an iterator of resolutions that may be left early.

    Collection advances while the caller asks for the next resolution. Leaving a ``for`` loop over
    it or a ``with`` block around it, or closing it, purges what is left; workers finish the task
    they are at.

    Parameters
    ----------
    comm : MPI.Comm
        Communicator of the pool.
    job : int
        Number of the job.
    plan : Plan
        Who computes what.
    bounds : tuple of Bound
        Error bound of each layer.
    refiner : Refiner or None
        Turns integers into resolutions; None for a one-shot product in float64.
    start : float
        ``MPI.Wtime()`` at the job's start.
    sharing : Sharing
        What lies in memory shared with workers.
    held : int
        Number of the planes of A that the workers hold; 0 if they are sent.

    Attributes
    ----------
    delivered : list of float
        When each layer was handed out, in seconds since the job's start.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        job: int,
        plan: Plan,
        bounds: tuple[Bound, ...],
        refiner: Refiner | None,
        start: float,
        sharing: Sharing,
        held: int = 0,
    ) -> None:
        self.plan, self.job, self.start = plan, job, start
        self.bounds, self._refiner, self._sharing = bounds, refiner, sharing
        self._dispatch = Dispatch(comm, job, plan, sharing, refiner, held)
        dtype = np.dtype(np.float64) if refiner is None else None
        self._collector = Collector(comm, plan, self._dispatch.tasks, sharing, dtype)
        self._prepared = self._clock()
        counts = {rank: len(mine) for rank, mine in self._dispatch.tasks.items()}
        self._received = {rank: np.full(count, np.nan) for rank, count in counts.items()}
        self._status = {rank: [""] * count for rank, count in counts.items()}
        self._finished: list[set[int]] = [set() for _ in plan.units]
        self._landed: list[set[int]] = [set() for _ in plan.units]
        self._recovered = [False] * len(plan.units)
        self._values = dict(enumerate(sharing.values))
        self._refined_there = {
            block
            for task, owner in enumerate(plan.owners)
            if (block := plan.code.block(task)) is not None and sharing.refines(owner + 1)
        }
        self._units_of = [
            [u for u in plan.units if u.layer == at] for at in range(len(plan.layers))
        ]
        self._depth = [0] * plan.code.tasks
        self._refined = [0] * len(plan.layers)
        self._next = 0
        self.delivered: list[float] = []
        self._open = self._in_flight = True
        self._log: dict[tuple[int, int], TaskLog] | None = None

    def send_digit(self, left: NDArray[Any] | None, right: NDArray[Any]) -> None:
        """Send the next digit plane of each operand, most significant first."""
        self._dispatch.send_digit(left, right)

    def __iter__(self) -> Iterator[Resolution]:
        """Yield the resolutions; a loop that is left early closes the product at once."""
        try:
            while self._to_come:
                yield self._deliver()
        finally:
            self.close()

    def __next__(self) -> Resolution:
        """Collect until the next layer is there.

        Raises
        ------
        StopIteration
            After the last resolution, or once closed.
        DecodeError
            If decoded results fail their check.
        """
        if not self._to_come:
            self.close()
            raise StopIteration
        return self._deliver()

    @property
    def _to_come(self) -> bool:
        return self._open and self._next < len(self.plan.layers)

    def _deliver(self) -> Resolution:
        layer = self._next
        backoff = Backoff()
        while self._refined[layer] < self.plan.code.tasks:
            self._collect(backoff)
        self._next += 1
        last = self._next == len(self.plan.layers)
        value = self._values.pop(layer) if last else self._values[layer].view()
        value.flags.writeable = last
        self._values.pop(layer - 1, None)
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up what has not been delivered; the workers drop its tasks."""
        if self._open:
            self._open = False
            owing = [r for unit in self.plan.units for r in self._collector.awaited(unit.index)]
            self._dispatch.purge(-1, sorted(set(owing)))

    def settle(self) -> None:
        """Close, and wait until nothing of this product is in flight; complete the log."""
        self.close()
        if not self._in_flight:
            return
        backoff = Backoff()
        while self._collector.outstanding:
            self._collect(backoff)
        self._collector.settle()
        self._dispatch.settle()
        self._values.clear()
        self._sharing.release()
        self._in_flight = False

    @property
    def log(self) -> dict[tuple[int, int], TaskLog]:
        """What became of each (unit, coded task); durations are known once settled."""
        if self._log is not None:
            return self._log
        found = {}
        for rank, mine in self._dispatch.tasks.items():
            columns = (
                self._received[rank].tolist(),
                self._collector.seconds[rank].tolist(),
                self._status[rank],
            )
            for (unit, task), received, seconds, status in zip(mine, *columns, strict=True):
                found[unit, task] = TaskLog(
                    self.plan.units[unit].layer,
                    *(unit, task, rank),
                    *(self._prepared, received, *seconds, status),
                )
        if not self._in_flight:
            self._log = found
        return found

    def fates(self, layer: int) -> dict[str, int]:
        """Count the tasks of a layer that were used, late, purged and lost."""
        units = {unit.index for unit in self._units_of[layer]}
        count = Counter(
            status
            for rank, mine in self._dispatch.tasks.items()
            for (unit, _), status in zip(mine, self._status[rank], strict=True)
            if unit in units
        )
        return {name: count[name] for name in ("used", "late", "purged", "lost")}

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
        last, worker = -np.inf, 0
        for rank, mine in self._dispatch.tasks.items():
            for (unit, _), received, status in zip(
                mine, self._received[rank].tolist(), self._status[rank], strict=True
            ):
                needed = status == "used" and self.plan.units[unit].layer <= layer
                if needed and received > last:
                    last, worker = received, rank
        until = self._received[worker] <= last
        compute, refine = np.nansum(self._collector.seconds[worker][until], axis=0).tolist()
        return {
            "prepare": self._prepared,
            "transfer": last - self._prepared - compute - refine,
            "compute": compute,
            "refine": refine,
            "decode": self.delivered[layer] - last,
        }

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
        if any(not block.size for store in self._collector.stores for block in store.blocks):
            raise RuntimeError("the integers were not kept: multiply with keep_integers=True")
        sums: dict[int, NDArray[np.int64]] = {}
        for unit in self._units_of[layer]:
            blocks = self._collector.stores[unit.index].blocks
            for group, significance in enumerate(unit.significances):
                part = np.concatenate([block[group] for block in blocks]).astype(np.int64)
                sums[significance] = sums[significance] + part if significance in sums else part
        return sums

    def _clock(self) -> float:
        return MPI.Wtime() - self.start

    def _collect(self, backoff: Backoff) -> None:
        """Take a reply of each worker that has one here, or pause."""
        arrived = False
        for reply in self._collector.poll():
            self._take(reply)
            arrived = True
        if arrived:
            backoff.reset()
        else:
            backoff.wait()

    def _take(self, reply: Reply) -> None:
        tasks, statuses = self._dispatch.tasks[reply.rank], self._status[reply.rank]
        self._received[reply.rank][reply.places] = self._clock()
        for place, done in zip(reply.places, reply.done, strict=True):
            unit, task = tasks[place]
            if not done:
                statuses[place] = "purged"
            elif self._recovered[unit] or not self._open:
                statuses[place] = "late"
            else:
                statuses[place] = "used"
                self._use(unit, task)

    def _use(self, unit: int, task: int) -> None:
        """Count a result in; once enough are there, decode the rest and purge."""
        code, store = self.plan.code, self._collector.stores[unit]
        self._finished[unit].add(task)
        block = code.block(task)
        if block is not None:
            self._land(unit, block)
        if not code.recoverable(self._finished[unit]):
            return
        self._recovered[unit] = True
        self._dispatch.purge(unit, self._collector.awaited(unit))
        missing = [b for b in range(code.tasks) if b not in self._landed[unit]]
        for b in missing:  # a late result may still land in its own place
            store.blocks[b] = np.empty_like(store.blocks[b])
        coded = {t: store.combined[t] for t in self._finished[unit] if t in store.combined}
        code.decode(store.blocks, missing, coded)
        for b in missing:
            self._land(unit, b)

    def _land(self, unit: int, block: int) -> None:
        """Note that a block of a unit is known; refine its rows as far as they go."""
        self._landed[unit].add(block)
        while self._depth[block] < len(self.plan.layers):
            layer = self._depth[block]
            if not all(block in self._landed[u.index] for u in self._units_of[layer]):
                return
            if block not in self._refined_there:
                self._refine(layer, block)
            self._depth[block] += 1
            self._refined[layer] += 1

    def _refine(self, layer: int, block: int) -> None:
        rows = self.plan.blocks.slices[block]
        if layer not in self._values:
            shape = self.plan.shape[0], self.plan.shape[2]
            self._values[layer] = self._sharing.empty(shape, np.float64)
        out = self._values[layer]
        previous = self._values.get(layer - 1)
        for unit in self._units_of[layer]:
            integers = self._collector.stores[unit.index].blocks[block]
            if self._refiner is None:
                out[rows] = integers[0]
            else:
                self._refiner.add(rows, integers, unit.significances, previous, out)
            previous = out
