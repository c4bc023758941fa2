"""Nonblocking collection: every result lands by Irecv straight in its place."""

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcrefine.cluster.backoff import wait_all
from hpcrefine.cluster.messages import message
from hpcrefine.cluster.protocol import Tag
from hpcrefine.cluster.shared import Sharing
from hpcrefine.schedule.plan import Plan


class Store:
    """Results of one unit: the blocks of the product one after another, and combinations.

    Parameters
    ----------
    plan : Plan
        Who computes what.
    unit : int
        The unit.
    dtype : dtype or None
        Type of results, where it is not the plan's integer type.
    buffer : ndarray or None
        Memory of all blocks; if there is none, only those of ``blocks`` get some.
    blocks : collection of int
        Blocks whose results come as messages.

    Attributes
    ----------
    blocks : list of K arrays, shape (significances, rows of the block, columns)
        Where plain results land; empty where a worker keeps its own.
    combined : dict of int to array, shape (significances, height, columns)
        Where results of coded combinations land.
    """

    def __init__(
        self,
        plan: Plan,
        unit: int,
        dtype: np.dtype[Any] | None,
        buffer: NDArray[Any] | None,
        blocks: Collection[int],
    ) -> None:
        code, columns = plan.code, plan.shape[2]
        groups = len(plan.units[unit].significances)
        plain = dtype or plan.result_dtype(plan.units[unit], 0)
        if buffer is None and len(blocks) == code.tasks:
            buffer = np.empty(groups * plan.shape[0] * columns, plain)
        self.blocks: list[NDArray[Any]] = []
        for block, rows in enumerate(plan.blocks.slices):
            shape = groups, rows.stop - rows.start, columns
            if buffer is not None:
                part = buffer[groups * rows.start * columns : groups * rows.stop * columns]
                self.blocks.append(part.reshape(shape))
            else:
                self.blocks.append(np.empty(shape if block in blocks else 0, plain))
        self.combined = {
            task: np.empty(
                (groups, plan.rows(task), columns), plan.result_dtype(plan.units[unit], task)
            )
            for task in range(code.coded)
            if code.block(task) is None
        }

    def place(self, plan: Plan, task: int) -> NDArray[Any]:
        """Return where the result of a coded task belongs."""
        block = plan.code.block(task)
        return self.combined[task] if block is None else self.blocks[block]


@dataclass(frozen=True)
class Reply:
    """A reply as it arrived; ``purged`` says that it was empty."""

    rank: int
    unit: int
    task: int
    purged: bool


class Collector:
    """Receives one reply for each dispatched task.

    Workers reply in the order of their tasks, so receives posted in that order match by MPI's
    ordering guarantee, and only the oldest receive of each worker needs testing.

    Parameters
    ----------
    comm : MPI.Comm
        Communicator of the pool.
    plan : Plan
        Who computes what.
    tasks : dict of int to list of (int, int)
        For each worker's rank, its (unit, coded task) pairs in order.
    sharing : Sharing
        Workers that share memory answer with a byte for results that lie there.
    dtype : dtype, optional
        Type of results, where it is not the plan's integer type.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        plan: Plan,
        tasks: dict[int, list[tuple[int, int]]],
        sharing: Sharing,
        dtype: np.dtype[Any] | None = None,
    ) -> None:
        code, ranks = plan.code, {task: owner + 1 for task, owner in enumerate(plan.owners)}
        in_place = {
            task
            for task, rank in ranks.items()
            if sharing.arrays_for(rank) is not None and code.block(task) is not None
        }
        others = (code.block(task) for task in ranks if task not in in_place)
        by_message = {block for block in others if block is not None}
        self.stores = [
            Store(plan, unit.index, dtype, sharing.store(unit.index), by_message)
            for unit in plan.units
        ]
        self.seconds = {rank: np.full((len(mine), 2), np.nan) for rank, mine in tasks.items()}
        self._bytes = np.empty(sum(map(len, tasks.values())), np.uint8)
        spare = iter(self._bytes[:, None])
        self._expected: dict[int, deque[tuple[MPI.Request, int, int]]] = {}
        for rank, mine in tasks.items():
            expected: deque[tuple[MPI.Request, int, int]] = deque()
            self._expected[rank] = expected
            for unit, task in mine:
                place = next(spare) if task in in_place else self.stores[unit].place(plan, task)
                expected.append((comm.Irecv(message(place), rank, Tag.RESULT), unit, task))
        self._reports = [
            comm.Irecv(seconds, rank, Tag.REPORT) for rank, seconds in self.seconds.items()
        ]

    def poll(self) -> Iterator[Reply]:
        """Yield at most one reply of each worker, without waiting."""
        status = MPI.Status()
        for rank, expected in self._expected.items():
            if expected and expected[0][0].Test(status):
                _, unit, task = expected.popleft()
                yield Reply(rank, unit, task, purged=status.Get_count(MPI.BYTE) == 0)

    @property
    def outstanding(self) -> bool:
        """Whether any reply is still to come."""
        return any(self._expected.values())

    def awaited(self, unit: int) -> list[int]:
        """Return the ranks that still owe replies of a unit."""
        return [
            rank
            for rank, expected in self._expected.items()
            if any(other == unit for _, other, _ in expected)
        ]

    def settle(self) -> None:
        """Wait for the reports that close the job; all replies must be in."""
        wait_all(self._reports)
        self._reports = []
