"""Nonblocking collection: the replies to one round of tasks, straight into their places."""

from collections import deque
from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcrefine.cluster.messages import message
from hpcrefine.cluster.protocol import MOST_DONE, Tag, round_tag
from hpcrefine.cluster.roster import Roster


class Assignment(NamedTuple):
    """One task as it is given to a worker.

    Attributes
    ----------
    unit, task : int
        Which coded task of which unit.
    attempt : int
        0 for the first worker that gets it, 1, 2, ... for further ones.
    place : ndarray or None
        Where its result lands when it is sent; None if the worker writes it to shared memory.
    """

    unit: int
    task: int
    attempt: int
    place: NDArray[Any] | None


class Round:
    """What one worker was given by one JOB command, and its replies.

    Workers reply in the order of their tasks, so receives posted in that order match by MPI's
    ordering guarantee, and only the oldest needs testing.

    Parameters
    ----------
    comm : MPI.Comm
        Communicator of the pool.
    roster : Roster
        Learns of workers that died.
    rank, number : int
        The worker; which of its rounds it is.
    assignments : list of Assignment
        The tasks, in the order of computation.
    job : int
        The product.

    Attributes
    ----------
    received : ndarray of float64, shape (tasks,)
        When each reply came, in seconds on this rank's clock; NaN before.
    seconds : ndarray of float64, shape (tasks, 2)
        Computing and refining, as the worker reports at the end; NaN if purged.
    status : list of str
        What became of each task; "" before.
    owed : int
        Tasks that are not answered yet.
    sent : float
        When it was sent.
    heard : float
        When the worker last replied.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        roster: Roster,
        rank: int,
        number: int,
        assignments: list[Assignment],
        job: int,
    ) -> None:
        self._comm, self._roster = comm, roster
        self.rank, self.number, self.job, self.assignments = rank, number, job, assignments
        count = len(assignments)
        self.received, self.seconds = np.full(count, np.nan), np.full((count, 2), np.nan)
        self.status = [""] * count
        self.sent = self.heard = MPI.Wtime()
        self.owed = count
        self._sent = deque(
            (at, comm.Irecv(message(a.place), rank, self._tag(Tag.RESULT)))
            for at, a in enumerate(assignments)
            if a.place is not None
        )
        self._in_place = [at for at, a in enumerate(assignments) if a.place is None]
        self._next = 0
        self._bytes = np.empty(MOST_DONE, np.uint8)
        self._request: MPI.Request | None = None
        self._status = MPI.Status()
        self._listen()
        self._report = comm.Irecv(self.seconds, rank, self._tag(Tag.REPORT))
        self._reported = False
        self.received_bytes = 0

    def poll(self) -> tuple[list[int], list[bool]]:
        """Take what has arrived, without waiting.

        Returns
        -------
        places : list of int
            Which of the tasks were answered.
        done : list of bool
            Whether each was computed; purged if not.
        """
        places, done = [], []
        if self._request is not None and self._test(self._request):
            states = self._bytes[: self._status.Get_count(MPI.BYTE)].tolist()
            places = self._in_place[self._next : self._next + len(states)]
            done = [bool(state) for state in states]
            self._next += len(states)
            self.received_bytes += len(states)
            self._listen()
        if self._sent and self._test(self._sent[0][1]):
            places = [*places, self._sent.popleft()[0]]
            count = self._status.Get_elements(MPI.BYTE)
            self.received_bytes += count
            done.append(count > 0)
        if places:
            self.heard = MPI.Wtime()
            self.received[places] = self.heard
        return places, done

    def answer(self, at: int, status: str) -> None:
        """Note that a task was answered, and what became of it."""
        self.status[at] = status
        self.owed -= 1

    @property
    def ended(self) -> bool:
        """Whether nothing of it is to come: all replies and the report are in."""
        if self._reported or self._roster.gone(self.rank):
            return not self.owed
        self._reported = not self.owed and self._test(self._report)
        return self._reported

    def settle(self) -> None:
        """Wait for the report that closes the round; all replies must be in."""
        self._roster.complete([(self.rank, self._report, self.seconds)])

    def abandon(self) -> list[Assignment]:
        """Expect nothing more of a worker that is gone; return what it had not answered."""
        lost = [at for at, status in enumerate(self.status) if not status]
        for at in lost:
            self.status[at] = "lost"
        pending = [self._request, *(request for _, request in self._sent), self._report]
        self._roster.keep(self.rank, (pending, self._bytes, self.seconds, self.assignments))
        self.seconds = self.seconds.copy()
        self._sent.clear()
        self._request, self.owed = None, 0
        return [self.assignments[at] for at in lost]

    def _test(self, request: MPI.Request) -> bool:
        return self._roster.test(self.rank, request, self._status)

    def _tag(self, tag: Tag) -> int:
        return round_tag(tag, self.number)

    def _listen(self) -> None:
        self._request = None
        if self._next < len(self._in_place):
            self._request = self._comm.Irecv(self._bytes, self.rank, self._tag(Tag.DONE))
