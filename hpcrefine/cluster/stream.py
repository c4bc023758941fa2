"""A stream of products: jobs arrive, wait in one queue, and are served in order.

While one job is computed, the operands of the next are quantised in a thread and sent; its tasks
begin once the job before has ended. What is still under way of an ended job ends by itself and
disturbs nobody: its results are dropped.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from typing import Self

import numpy as np
from mpi4py import MPI

from hpcrefine.cluster.backoff import Backoff
from hpcrefine.cluster.crew import collect
from hpcrefine.cluster.master import Product, Resolution
from hpcrefine.cluster.roster import Roster
from hpcrefine.cluster.supply import Supply
from hpcrefine.codes import DecodeError
from hpcrefine.errors import InputError, LostError
from hpcrefine.schedule.terms import Terms

_LEISURE = 0.01  # seconds


class StreamedJob(Iterator[Resolution]):
    """One job of a stream: an iterator of resolutions that may be left early.

    Attributes
    ----------
    position : int
        Its place in the stream, from 0.
    arrival, start, end : float
        Seconds since the stream began; start and end are NaN before.
    status : {"waiting", "running", "done", "stopped", "lost"}
        Stopped: by its deadline, or by a caller who has left it.
    loss : str
        Why it was lost.
    product : Product or None
        What is computed; None if its time was over, or no worker left, before that began.
    delays : list of float
        When each resolution was released, in seconds since the arrival.
    """

    def __init__(self, position: int, arrival: float, clock: Callable[[], float]) -> None:
        self.position, self.arrival, self._clock = position, arrival, clock
        self.start = self.end = np.nan
        self.status, self.loss = "waiting", ""
        self.product: Product | None = None
        self.delays: list[float] = []

    def __next__(self) -> Resolution:
        """Wait for the next resolution.

        Raises
        ------
        StopIteration
            After the last one, or at the deadline.
        DecodeError, LostError
            As :meth:`Product.__next__`; the stream goes on with the next job.
        """
        if self.status != "running" or self.product is None:
            raise StopIteration
        try:
            resolution = next(self.product)
        except StopIteration:
            self.close()
            raise
        except (DecodeError, LostError) as error:
            self.lose(str(error))
            raise
        self.delays.append(self.start + resolution.seconds - self.arrival)
        if resolution.last:
            self._end("done")
        return resolution

    def __iter__(self) -> Iterator[Resolution]:
        """Yield the resolutions; a loop that is left early closes the job at once."""
        try:
            while self.status == "running":
                try:
                    yield next(self)
                except StopIteration:
                    return
        finally:
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self, start: float, origin: float) -> None:
        """Begin, in a stream that began at ``MPI.Wtime() = origin``; its times count from start."""
        self.start, self.status = start, "running"
        if self.product is not None:
            self.product.begin(origin + start)

    def pass_over(self, start: float, end: float) -> None:
        """End it without having begun: its time was over before."""
        self.start, self.end, self.status = start, end, "stopped"
        if self.product is not None:
            self.product.close()

    def close(self) -> None:
        """End it with what has been released; the workers drop its tasks."""
        if self.status in ("waiting", "running"):
            self._end("stopped")

    def lose(self, why: str) -> None:
        """End it without what is missing."""
        self.loss = why
        self._end("lost")

    def _end(self, status: str) -> None:
        self.status, self.end = status, self._clock()
        if np.isnan(self.start):
            self.start = self.end
        if status == "done":  # the caller has had the last resolution since
            self.end = self.arrival + self.delays[-1]
        if self.product is not None:
            self.product.close()


class Stream(Iterator[StreamedJob]):
    """Jobs in the order of their arrival, each to be iterated over in its turn.

    Made by :meth:`Pool.stream`. Used as a context it ends, when that is left, the job that is
    running and forgets those to come.

    Parameters
    ----------
    terms : Terms
        Arrivals and deadlines.
    supply : Supply
        Operands.
    roster : Roster
        Who is there; and what the run is asked: then no job begins, and the present one may be cut.
    learn : callable
        Takes note of a settled product.

    Attributes
    ----------
    settled : callable
        Told of each job of which nothing is in flight any more.
    pastime : callable
        Called when there is time to spare: no job waits, and none arrives for some 10 ms.
    """

    def __init__(
        self, terms: Terms, supply: Supply, roster: Roster, learn: Callable[[Product], None]
    ) -> None:
        self.terms = terms
        self._supply, self._roster, self._learn = supply, roster, learn
        self.pastime: Callable[[], None] = lambda: None
        self.origin = MPI.Wtime()
        self._jobs = deque(
            StreamedJob(position, arrival, self.clock)
            for position, arrival in enumerate(terms.arrivals.tolist())
        )
        self._current: StreamedJob | None = None
        self._refused: InputError | None = None
        self._free = 0.0
        self._under_way: list[StreamedJob] = []
        self.settled: Callable[[StreamedJob], None] = lambda job: None

    def clock(self) -> float:
        """Return seconds since the stream began."""
        return MPI.Wtime() - self.origin

    def __next__(self) -> StreamedJob:
        """Wait for the next job's turn.

        Raises
        ------
        StopIteration
            After the last job, or once asked to end.
        InputError
            If its operands are wrong.
        """
        self._leave()
        if not self._jobs or not self._reaches(self._jobs[0]):
            self.close()
            raise StopIteration
        job = self._jobs.popleft()
        self._current = job
        return job

    def settle(self) -> None:
        """Wait until nothing is in flight; jobs to come are forgotten."""
        self.close()
        while self._under_way:
            self._settle(self._under_way.pop(0))

    def close(self) -> None:
        """End the job that is running, and forget those to come."""
        self._leave()
        if self._jobs and self._jobs[0].product is not None:
            self._jobs[0].close()
            self._under_way.append(self._jobs[0])
        self._jobs.clear()
        self._supply.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _leave(self) -> None:
        """End the current job; the workers are free from then on."""
        job, self._current = self._current, None
        if job is not None:
            job.close()
            self._under_way.append(job)
            self._free = max(self._free, job.end)

    def _reaches(self, job: StreamedJob) -> bool:
        """Wait for a job's turn; say whether it came before the stream was asked to end."""
        try:
            return self._await(job)
        except LostError as error:
            job.lose(str(error))
            return True

    def _await(self, job: StreamedJob) -> bool:
        """Wait for a job's arrival and operands, and begin it, unless asked to end before."""
        backoff = Backoff()
        while not self._roster.ending.asked and (now := self.clock()) < job.arrival:
            if job.arrival - now > _LEISURE:
                self.pastime()
            self._attend(backoff, job.arrival - now)
        start = max(self._free, job.arrival)
        end = self.terms.end(job.position, start)
        backoff.reset()
        while not self._roster.ending.asked and job.product is None and self.clock() <= end:
            if self._refused is not None:
                raise self._refused
            self._attend(backoff)
        if self._roster.ending.asked:
            return False
        if self.clock() > end:  # it has waited for too long
            if job.product is None:
                self._supply.skip()
            job.pass_over(min(start, end), end)
            return True
        self._roster.require()
        if job.product is not None:
            job.begin(start, self.origin)
            job.product.attend = self._attend
            job.product.expired = lambda: self.clock() > end or self._roster.ending.cuts()
        return True

    def _prepare(self, job: StreamedJob, backoff: Backoff) -> None:
        """See to the operands of the next job, and send them once they are prepared."""
        if self._refused is not None:
            return
        try:
            launch = self._supply.ready()
        except InputError as error:  # not the fault of the job that is being served
            self._refused = error
            return
        if launch is not None:
            job.product = launch(job.position)
            backoff.reset()

    def _attend(self, backoff: Backoff, most: float | None = None) -> None:
        """Take what has arrived for any job; see to the operands of the next."""
        if self._jobs and self._jobs[0].product is None and self.clock() >= self._jobs[0].arrival:
            self._prepare(self._jobs[0], backoff)
        running = [] if self._current is None else [self._current]
        jobs = [*self._under_way, *running, *itertools.islice(self._jobs, 1)]
        collect([job.product.crew for job in jobs if job.product is not None], backoff, most)
        for job in list(self._under_way):
            if job.product is None or job.product.ended:
                self._under_way.remove(job)
                self._settle(job)

    def _settle(self, job: StreamedJob) -> None:
        if job.product is not None:
            job.product.settle()
            self._learn(job.product)
        self.settled(job)
