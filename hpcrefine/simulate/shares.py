"""One job whose tasks have owners: unit by unit, all workers of a unit at once."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hpcrefine.schedule.plan import Plan
from hpcrefine.simulate.completion import Order, recovery
from hpcrefine.simulate.outcome import Course
from hpcrefine.simulate.workers import Times
from hpcrefine.simulate.workload import Workload

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_CHUNK_ENTRIES = 1 << 20  # times that are drawn together


def suits(plan: Plan) -> bool:
    """Say whether tasks have owners, and wait for nothing but their unit.

    Copies of a block are dropped once one of them is there, and some codes hand out more tasks to
    whoever is idle: these are for :mod:`hpcrefine.simulate.handing`.
    """
    code = plan.code
    blocks = [block for task in range(code.coded) if (block := code.block(task)) is not None]
    alone = len(set(blocks)) == len(blocks)
    return alone and not (code.reissues or code.rateless or plan.split.dynamic)


class Shares:
    """Draws jobs whose tasks have owners.

    Parameters
    ----------
    workload : Workload
        The product; its plan says the owners.
    times : Times
        How long tasks take.
    purge : float
        Seconds until workers know that tasks are purged.
    """

    def __init__(self, workload: Workload, times: Times, purge: float = 0.0) -> None:
        self._purge = purge
        self._workload, self._times = workload, times
        self._code = workload.plan.code
        self._order = Order(workload.plan.owners)
        self._costs = workload.costs[self._order.tasks]

    def draw(
        self, rng: np.random.Generator, factors: Floats, jobs: int
    ) -> Iterator[tuple[Floats, Floats]]:
        """Yield for each of so many jobs what its tasks take and when they would be done."""
        order, cells = self._order, self._workload.cells
        slow = factors[order.workers]
        chunk = max(1, _CHUNK_ENTRIES // (len(cells) * self._code.coded))
        for begin in range(0, jobs, chunk):
            several = min(chunk, jobs - begin)
            takes = np.empty((several, len(cells), self._code.coded))
            for unit, count in enumerate(cells.tolist()):
                sizes = self._costs * count
                takes[:, unit] = self._times.draw(rng, unit, order.workers, sizes, several)
            takes *= slow
            yield from zip(takes, order.finishing(takes), strict=True)

    def run(self, drawn: tuple[Floats, Floats], begin: Floats, cut: float) -> Course:
        """Simulate a job.

        Parameters
        ----------
        drawn : (ndarray, ndarray)
            From :meth:`draw`.
        begin : ndarray of float, shape (P,)
            When each worker begins.
        cut : float
            When tasks that have not begun are dropped.
        """
        order, coded = self._order, self._code.coded
        takes, finishing = drawn
        units = len(takes)
        recovered = np.full(units, np.inf)
        used, begun = np.zeros(units, np.int64), np.zeros(units, np.int64)
        done_by, started = begin[order.busy], np.empty(takes.shape, bool)
        for unit in range(units):
            done = finishing[unit] + np.repeat(done_by, order.loads)
            until, used[unit] = recovery(self._code, order.tasks, done)
            if until <= cut:
                recovered[unit] = until
            else:
                until, used[unit] = cut, np.count_nonzero(done <= cut)
            since = np.roll(done, 1)  # the very numbers: a worker stops at what it recovers
            since[order.starts] = done_by
            np.less(since, until + self._purge, out=started[unit])
            counts = np.add.reduceat(started[unit], order.starts, dtype=np.int64)
            begun[unit] = counts.sum()
            done_by = np.where(counts > 0, done[order.starts + counts - 1], done_by)
        free = begin.copy()
        free[order.busy] = done_by
        sizes = self._costs * self._workload.cells[:, None]
        which = np.nonzero(started)
        return Course(
            recovered=recovered,
            used=used,
            late=begun - used,
            purged=coded - begun,
            computed=(started * sizes).sum(axis=1),
            free=free,
            workers=order.workers[which[1]],
            seconds=takes[which] / sizes[which],
        )
