"""Which workers can be counted on: who died, went silent or lied, and when.

Every worker owes the master one message until it leaves (LEAVE). The receive posted for it fails
when the worker dies, if the MPI library can go on without dead ranks (ULFM: Open MPI 5 started with
``--with-ft ulfm``); else the launcher ends the whole run. A worker that lives but does not answer
in time is treated as dead and made sure to be: what has been given up must not write any more.
"""

import contextlib
import math
import os
import signal
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mpi4py import MPI

from hpcrefine.cluster.backoff import Backoff
from hpcrefine.cluster.protocol import Tag
from hpcrefine.ending import Ending
from hpcrefine.errors import LostError
from hpcrefine.launch import host, outlives_ranks

_LEAVING = 60.0  # seconds for which a worker may take its leave, where no timeout is set
_HURRY = 10.0  # seconds for which a worker may owe an answer once the run has no time left


@dataclass(frozen=True)
class Event:
    """What befell a worker.

    Attributes
    ----------
    time : float
        ``MPI.Wtime()`` when the master learnt of it.
    rank : int
        The worker.
    kind : {"died", "silent", "lied", "dropped"}
        What happened.
    detail : str
        For people.
    """

    time: float
    rank: int
    kind: str
    detail: str


class Roster:
    """The workers of a pool, as the master knows them.

    Parameters
    ----------
    comm : MPI.Comm
        Communicator of the pool.

    Attributes
    ----------
    timeout : float or None
        Seconds after which a worker that owes an answer is given up.
    lies : int
        So many results found wrong, and a worker is used no more.
    ending : Ending
        What the run is asked: without time left, nobody is waited for as long as usual.
    events : list of Event
        What befell the workers, in the order of events.
    """

    def __init__(self, comm: MPI.Comm) -> None:
        self._comm, self._host = comm, host()
        self.timeout: float | None = None
        self.lies = 3
        self.ending = Ending()
        self.events: list[Event] = []
        self._left: dict[int, MPI.Request] = {}
        self._gone: set[int] = set()
        self._dropped: set[int] = set()
        self._unheard: set[int] = set()
        self._lied: dict[int, int] = {}
        self._processes: dict[int, tuple[str, int]] = {}
        self._kept: list[Any] = []
        self._rounds: Counter[int] = Counter()
        self._buffer = np.empty(0, np.uint8)

    def watch(self) -> None:
        """Begin to listen for workers that leave."""
        self._left = {
            rank: self._comm.Irecv(self._buffer, rank, Tag.LEAVE)
            for rank in range(1, self._comm.size)
        }

    def introduce(self, rank: int, host: str, pid: int) -> None:
        """Note where a worker runs."""
        self._processes[rank] = host, pid

    @property
    def living(self) -> list[int]:
        """Workers that answer."""
        return [rank for rank in range(1, self._comm.size) if rank not in self._gone]

    @property
    def usable(self) -> list[int]:
        """Workers that are given tasks."""
        return [rank for rank in self.living if rank not in self._dropped]

    def trusts(self, rank: int) -> bool:
        """Say whether results of a worker are still taken."""
        return rank not in self._dropped

    def gone(self, rank: int) -> bool:
        """Say whether a worker answers no more."""
        return rank in self._gone

    def next_round(self, rank: int) -> int:
        """Return a number for the next round of tasks of a worker."""
        self._rounds[rank] += 1
        return self._rounds[rank] - 1

    def require(self) -> None:
        """Raise LostError if no worker is left.

        Raises
        ------
        LostError
            The message says what became of them.
        """
        if self._comm.size > 1 and not self.usable:
            raise LostError(f"no worker is left: {self.describe()}")

    def describe(self) -> str:
        """Say in one line what befell the workers."""
        told = [f"rank {e.rank} {e.kind}" for e in self.events if e.kind != "lied"]
        return ", ".join(told) or "there never was one"

    def poll(self) -> None:
        """Find out who has died."""
        for rank in list(self._left):
            if rank not in self._gone:
                self.test(rank, self._left[rank])

    def test(self, rank: int, request: MPI.Request, status: MPI.Status | None = None) -> bool:
        """Test a request that concerns a worker; a failure tells that it died.

        Returns
        -------
        bool
            Whether it is complete. It is not, and never will be, if the worker is gone.
        """
        if rank in self._gone:
            return False  # a request that failed once looks like an empty message from then on
        try:
            return bool(request.Test(status))
        except MPI.Exception as error:
            if not outlives_ranks() or error.Get_error_class() != MPI.ERR_PROC_FAILED:
                raise
            self._lose(rank, "died", "its connection broke")
            return False

    def send(self, buffer: Any, rank: int, tag: int) -> MPI.Request | None:
        """Begin a send to a worker; None if it is gone."""
        if rank in self._gone:
            return None
        try:
            return self._comm.Isend(buffer, rank, tag)
        except MPI.Exception as error:
            if not outlives_ranks() or error.Get_error_class() != MPI.ERR_PROC_FAILED:
                raise
            self._lose(rank, "died", "its connection broke")
            return None

    def complete(
        self,
        requests: Iterable[tuple[int, MPI.Request, Any]],
        statuses: Sequence[MPI.Status] | None = None,
    ) -> list[bool]:
        """Wait for requests without busy-waiting; those of workers that are gone are left.

        Parameters
        ----------
        requests : iterable of (rank, request, buffer)
            What is awaited; buffers of requests that never complete are kept for good.
        statuses : sequence of MPI.Status, optional
            One for each request.

        Returns
        -------
        list of bool
            Which of them completed.
        """
        done, backoff = [], Backoff()
        for number, (rank, request, buffer) in enumerate(requests):
            status = None if statuses is None else statuses[number]
            backoff.reset()
            since = MPI.Wtime()
            while not (complete := self.test(rank, request, status)) and rank not in self._gone:
                backoff.wait()
                self.poll()
                self.suspect(rank, since)
            if not complete:
                self.keep(rank, (request, buffer))
            done.append(complete)
        return done

    def suspect(self, rank: int, since: float) -> None:
        """Give a worker up that has owed an answer since then, if that is too long."""
        timeout = math.inf if self.timeout is None else self.timeout
        if self.ending.overdue:
            timeout = min(timeout, _HURRY)
        if MPI.Wtime() - since > timeout:
            self.give_up(rank, timeout)

    def give_up(self, rank: int, seconds: float) -> None:
        """Count a worker as gone that does not answer, and make sure that it is."""
        if rank in self._gone:
            return
        self._lose(rank, "silent", f"no answer for {seconds:g} s")
        node, pid = self._processes.get(rank, ("", 0))
        if node == self._host and pid:
            with contextlib.suppress(OSError):
                # Where a death would end the run, it is only stopped: it must not write any more.
                os.kill(pid, signal.SIGKILL if outlives_ranks() else signal.SIGSTOP)
        if not outlives_ranks() or node != self._host:
            self._unheard.add(rank)

    def reject(self, rank: int, what: str) -> None:
        """Note that a result of a worker was wrong; after too many it is used no more."""
        self._lied[rank] = self._lied.get(rank, 0) + 1
        self._note(rank, "lied", what)
        if self._lied[rank] >= self.lies and rank not in self._dropped:
            self._dropped.add(rank)
            self._note(rank, "dropped", f"{self._lied[rank]} wrong results")

    def keep(self, rank: int, what: Any) -> None:
        """Keep what MPI or a worker that is not surely dead may still write to."""
        self._kept.append((rank, what))

    @property
    def kept(self) -> set[int]:
        """Workers of whom something is open that will never be answered."""
        return {rank for rank, _ in self._kept}

    def part(self) -> bool:
        """Wait until every worker that was told to stop has left; say whether MPI can end."""
        waiting = [(r, request, None) for r, request in self._left.items() if r not in self._gone]
        self.timeout = _LEAVING if self.timeout is None else self.timeout
        self.complete(waiting)
        return not self._unheard

    def _lose(self, rank: int, kind: str, detail: str) -> None:
        if rank not in self._gone:
            self._gone.add(rank)
            self._note(rank, kind, detail)

    def _note(self, rank: int, kind: str, detail: str) -> None:
        self.events.append(Event(MPI.Wtime(), rank, kind, detail))
