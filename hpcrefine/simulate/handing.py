"""One job whose tasks are handed out while it goes on: event by event."""

import heapq
import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from hpcrefine.schedule.reissue import to_copy
from hpcrefine.simulate.completion import is_a_matter_of_counting
from hpcrefine.simulate.outcome import Course
from hpcrefine.simulate.workers import Times
from hpcrefine.simulate.workload import Workload

Floats = NDArray[np.float64]
Item = tuple[int, int]  # unit, task

_AHEAD = 64  # times that are drawn together


class Drawn:
    """Times of single tasks, drawn some at a time.

    Parameters
    ----------
    times : Times
        How long tasks take.
    rng : Generator
        Where from.
    """

    def __init__(self, times: Times, rng: np.random.Generator) -> None:
        self._times, self._rng = times, rng
        self._ahead: dict[tuple[int, int, float], list[float]] = {}

    def __call__(self, worker: int, unit: int, size: float) -> float:
        """Return the seconds that a worker takes for a task of a unit, of a size."""
        ahead = self._ahead.setdefault((worker, unit, size), [])
        if not ahead:
            who, sizes = np.array([worker]), np.array([size])
            ahead += self._times.draw(self._rng, unit, who, sizes, _AHEAD)[:, 0].tolist()
        return ahead.pop()


class Handing:
    """One job: what each worker has, what waits, and what came of it.

    Parameters
    ----------
    workload : Workload
        The product. With a dynamic split a worker holds as many tasks as are prefetched, and gets
        the next one of all for each that it has done; else it holds what it owns from the first.
    factors : ndarray of float, shape (P,)
        How many times as long each worker takes.
    times : Drawn
        What tasks take.
    purge : float
        Seconds until workers know that tasks are purged.
    """

    def __init__(
        self, workload: Workload, factors: Floats, times: Drawn, purge: float = 0.0
    ) -> None:
        self._purge = purge
        self._workload, self._times, self._factors = workload, times, factors.tolist()
        workers = len(factors)
        plan = workload.plan
        self._code, self._dynamic = plan.code, plan.split.dynamic
        self._prefetch = plan.split.prefetch
        units, coded = len(plan.units), plan.code.coded
        self._cells = [len(unit.minijobs) for unit in plan.units]
        self._counting = is_a_matter_of_counting(plan.code)
        self._recovered = [math.inf] * units
        self._finished: list[set[int]] = [set() for _ in range(units)]
        self._known: list[set[int]] = [set() for _ in range(units)]  # blocks
        self._owed: list[set[int]] = [set() for _ in range(units)]
        self._given: dict[Item, set[int]] = {}
        self._beyond = [coded] * units
        self._begun = [0] * units
        self._touched: list[set[int]] = [set() for _ in range(units)]
        self._computed = [0.0] * units
        self._done: list[tuple[int, float]] = []
        self._held: list[deque[Item]] = [deque() for _ in range(workers)]
        self._waiting: deque[Item] = deque()
        items = [(unit, task) for unit in range(units) for task in range(coded)]
        if self._dynamic:
            self._waiting.extend(items)
            for _ in range(self._prefetch):
                for worker in range(workers):
                    self._hand_out(worker)
        else:
            for unit, task in items:
                self._give(plan.owners[task], (unit, task))

    def run(self, begin: Floats, cut: float) -> Course:
        """Simulate the job, see :meth:`hpcrefine.simulate.shares.Shares.run`."""
        free = begin.copy()
        events: list[tuple[float, int, Item | None]] = [
            (time, worker, None) for worker, time in enumerate(begin.tolist())
        ]
        heapq.heapify(events)
        open_units, end = len(self._recovered), cut
        while events:
            time, worker, item = heapq.heappop(events)
            free[worker] = time
            if item is not None and time <= end and self._take(time, item):
                open_units -= 1
                if open_units == 0:
                    end = time
            if time >= end:
                self._waiting.clear()
            if time >= end + self._purge:
                continue  # what has begun is finished
            following = self._next(worker, time, ended=time >= end)
            if following is not None:
                heapq.heappush(events, (time + self._begin(worker, following), worker, following))
        begun, coded = np.array(self._begun), self._code.coded
        touched = [sum(task < coded for task in tasks) for tasks in self._touched]
        used = np.array([len(finished) for finished in self._finished])
        workers, seconds = zip(*self._done, strict=True) if self._done else ((), ())
        return Course(
            recovered=np.array(self._recovered),
            used=used,
            late=begun - used,
            purged=coded - np.array(touched),
            computed=np.array(self._computed),
            free=free,
            workers=np.array(workers, np.int64),
            seconds=np.array(seconds, np.float64),
        )

    def _take(self, time: float, item: Item) -> bool:
        """Take a result; say whether its unit is recovered by it."""
        unit, task = item
        self._owed[unit].discard(task)
        if not self._wanted(item):
            return False
        self._finished[unit].add(task)
        block = self._code.block(task)
        if block is not None:
            self._known[unit].add(block)
        finished = self._finished[unit]
        if self._counting:
            recovered = len(finished) >= self._code.threshold
        else:
            recovered = self._code.recoverable(finished)
        if recovered:
            self._recovered[unit] = time
        return recovered

    def _wanted(self, item: Item) -> bool:
        unit, task = item
        if self._recovered[unit] < math.inf or task in self._finished[unit]:
            return False
        return self._code.block(task) not in self._known[unit]

    def _dropped(self, item: Item, time: float) -> bool:
        """Say whether a worker knows that a task of its own is not wanted."""
        if self._recovered[item[0]] < math.inf:
            return self._recovered[item[0]] + self._purge <= time
        return not self._wanted(item)

    def _next(self, worker: int, time: float, *, ended: bool) -> Item | None:
        """Return what a worker that is free does next."""
        held = self._held[worker]
        while held and self._dropped(held[0], time):
            held.popleft()
        if not held and not self._hand_out(worker) and not ended:
            extra = self._extra(worker)
            if extra is not None:
                self._give(worker, extra)
        if not held:
            return None
        item = held.popleft()
        while len(held) + 1 < self._prefetch and self._hand_out(worker):
            pass
        return item

    def _hand_out(self, worker: int) -> bool:
        """Give a worker the next task that waits; say whether there was one."""
        while self._waiting:
            item = self._waiting.popleft()
            if self._wanted(item):
                self._give(worker, item)
                return True
        return False

    def _give(self, worker: int, item: Item) -> None:
        self._held[worker].append(item)
        self._owed[item[0]].add(item[1])
        self._given.setdefault(item, set()).add(worker)

    def _extra(self, worker: int) -> Item | None:
        """Return the next task of a rateless code, or a copy of what another one has."""
        if not (self._code.rateless or self._code.reissues):
            return None
        for unit, when in enumerate(self._recovered):
            if when < math.inf:
                continue
            if self._code.rateless:
                self._beyond[unit] += 1
                return unit, self._beyond[unit] - 1
            unfinished = sorted(task for task in self._owed[unit] if self._wanted((unit, task)))
            attempts = {task: len(self._given[unit, task]) for task in unfinished}
            tried = {task for task in unfinished if worker in self._given[unit, task]}
            task = to_copy(unfinished, attempts, tried)
            if task is not None:
                return unit, task
        return None

    def _begin(self, worker: int, item: Item) -> float:
        """Begin a task; return the seconds that it takes."""
        unit, task = item
        size = self._workload.cost(task) * self._cells[unit]
        takes: float = self._times(worker, unit, size) * self._factors[worker]
        self._begun[unit] += 1
        self._touched[unit].add(task)
        self._computed[unit] += size
        self._done.append((worker, takes / size))
        return takes
