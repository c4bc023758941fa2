"""Nonblocking collection: every result lands by Irecv straight in its place."""

from collections import Counter, deque
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcrefine.cluster.backoff import wait_all
from hpcrefine.cluster.messages import message
from hpcrefine.cluster.protocol import MOST_DONE, Tag
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


class Reply(NamedTuple):
    """Replies of a worker as they arrived.

    Attributes
    ----------
    rank : int
        The worker.
    places : list of int
        Which of its tasks, as places in its list.
    done : list of bool
        Whether each was computed; purged if not.
    """

    rank: int
    places: list[int]
    done: list[bool]


class _Worker:
    """What is to come from one worker.

    Workers reply in the order of their tasks, so receives posted in that order match by MPI's
    ordering guarantee, and only the oldest needs testing.
    """

    def __init__(
        self, comm: MPI.Comm, rank: int, sent: list[tuple[int, NDArray[Any]]], in_place: list[int]
    ) -> None:
        self._comm, self.rank = comm, rank
        self._sent = deque(
            (place, comm.Irecv(message(buffer), rank, Tag.RESULT)) for place, buffer in sent
        )
        self._in_place, self._next = in_place, 0
        self._bytes = np.empty(MOST_DONE, np.uint8)
        self._request: MPI.Request | None = None
        self._status = MPI.Status()
        self._listen()

    def poll(self) -> Reply | None:
        """Return what has arrived, without waiting."""
        places, done = [], []
        if self._request is not None and self._request.Test(self._status):
            states = self._bytes[: self._status.Get_count(MPI.BYTE)].tolist()
            places = self._in_place[self._next : self._next + len(states)]
            done = [bool(state) for state in states]
            self._next += len(states)
            self._listen()
        if self._sent and self._sent[0][1].Test(self._status):
            places = [*places, self._sent.popleft()[0]]
            done.append(self._status.Get_count(MPI.BYTE) > 0)
        return Reply(self.rank, places, done) if places else None

    def _listen(self) -> None:
        self._request = None
        if self._next < len(self._in_place):
            self._request = self._comm.Irecv(self._bytes, self.rank, Tag.DONE)


class Collector:
    """Receives one reply for each dispatched task.

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
        code = plan.code
        in_place = {
            task
            for task, owner in enumerate(plan.owners)
            if sharing.arrays_for(owner + 1) is not None and code.block(task) is not None
        }
        others = (code.block(task) for task in range(code.coded) if task not in in_place)
        by_message = {block for block in others if block is not None}
        self.stores = [
            Store(plan, unit.index, dtype, sharing.store(unit.index), by_message)
            for unit in plan.units
        ]
        self.seconds = {rank: np.full((len(mine), 2), np.nan) for rank, mine in tasks.items()}
        self._tasks = tasks
        self._owed = {rank: Counter(unit for unit, _ in mine) for rank, mine in tasks.items()}
        self._workers = []
        for rank, mine in tasks.items():
            sent = [
                (place, self.stores[unit].place(plan, task))
                for place, (unit, task) in enumerate(mine)
                if task not in in_place
            ]
            there = [place for place, (_, task) in enumerate(mine) if task in in_place]
            self._workers.append(_Worker(comm, rank, sent, there))
        self._reports = [
            comm.Irecv(seconds, rank, Tag.REPORT) for rank, seconds in self.seconds.items()
        ]

    def poll(self) -> Iterator[Reply]:
        """Yield what has arrived from each worker, without waiting."""
        for worker in self._workers:
            reply = worker.poll()
            if reply is not None:
                mine = self._tasks[reply.rank]
                self._owed[reply.rank].subtract(mine[place][0] for place in reply.places)
                yield reply

    @property
    def outstanding(self) -> bool:
        """Whether any reply is still to come."""
        return any(owed.total() for owed in self._owed.values())

    def awaited(self, unit: int) -> list[int]:
        """Return the ranks that still owe replies of a unit."""
        return [rank for rank, owed in self._owed.items() if owed[unit] > 0]

    def settle(self) -> None:
        """Wait for the reports that close the job; all replies must be in."""
        wait_all(self._reports)
        self._reports = []
