"""The workers at one product: who does what, what came of it, and who takes over."""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mpi4py import MPI
from numpy.typing import NDArray

from hpcrefine.cluster.assembly import Assembly
from hpcrefine.cluster.backoff import Backoff
from hpcrefine.cluster.dispatch import Dispatch, Operands, Outbox
from hpcrefine.cluster.ledger import Ledger
from hpcrefine.cluster.protocol import ALL, Command
from hpcrefine.cluster.roster import Roster
from hpcrefine.cluster.rounds import Assignment, Round
from hpcrefine.cluster.shared import Sharing
from hpcrefine.cluster.watch import Watch
from hpcrefine.codes import DecodeError
from hpcrefine.codes.freivalds import Freivalds
from hpcrefine.errors import LostError
from hpcrefine.schedule.estimates import Estimates
from hpcrefine.schedule.plan import Plan
from hpcrefine.schedule.reissue import repairs, to_copy


@dataclass(frozen=True)
class Work:
    """A product to be computed.

    Attributes
    ----------
    comm : MPI.Comm
        Communicator of the pool.
    roster : Roster
        Who is there.
    job : int
        Number of the product.
    plan : Plan
        Who computes what.
    ranks : sequence of int
        The plan's workers.
    operands : Operands
        Of what.
    sharing : Sharing
        What lies in memory shared with workers.
    held : int
        Number of the planes of A that the workers hold; 0 if they are sent.
    checker : Freivalds or None
        Tells wrong results from right ones; None: all are trusted.
    position : int
        Place of the product in its stream.
    estimates : Estimates or None
        What was known of the workers when it was planned.
    """

    comm: MPI.Comm
    roster: Roster
    job: int
    plan: Plan
    ranks: Sequence[int]
    operands: Operands
    sharing: Sharing
    held: int = 0
    checker: Freivalds | None = None
    position: int = 0
    estimates: Estimates | None = None


class Crew:
    """Has a product computed: hands out tasks, collects, purges, hands out again.

    Parameters
    ----------
    work : Work
        The product.

    Attributes
    ----------
    assembly : Assembly
        What came of it.
    outbox : Outbox
        What is on its way to the workers.
    open : bool
        Whether results are still wanted.
    rounds : list of Round
        What was handed out.
    checking : dict of int to float
        For each layer, seconds of verifying results.
    """

    def __init__(self, work: Work) -> None:
        self._work, self._plan, self._code = work, work.plan, work.plan.code
        self._roster = work.roster
        refiners = {rank for rank in self._roster.usable if work.sharing.refines(rank)}
        refined_there = {
            task
            for task, owner in enumerate(self._plan.owners)
            if self._code.block(task) is not None and work.ranks[owner] in refiners
        }
        self.assembly = Assembly(self._plan, work.operands.refiner, work.sharing, refined_there)
        self._dispatch = Dispatch(
            work.roster, self._plan, work.operands, work.sharing, work.held, work.position
        )
        self.outbox: Outbox = self._dispatch.outbox
        self._ledger = Ledger()
        self.open = True
        self.checking: defaultdict[int, float] = defaultdict(float)
        self._gated = False
        self._waiting: deque[tuple[int, int]] = deque()  # with a dynamic split: for whoever is free
        self._watch = Watch(work.roster)
        self._again = False  # something was handed out again
        self._beyond = [self._code.coded] * len(self._plan.units)
        self._twins: dict[int, list[int]] = defaultdict(list)
        for task in range(self._code.coded):
            block = self._code.block(task)
            if block is not None:
                self._twins[block].append(task)

    @property
    def rounds(self) -> list[Round]:
        """What was handed out."""
        return self._ledger.rounds

    @property
    def ended(self) -> bool:
        """Whether nothing is in flight."""
        return not self.open and all(each.ended for each in self.rounds)

    def begin(self, *, gated: bool = False) -> None:
        """Hand out what the plan says; tasks of a gated product wait for :meth:`start`."""
        plan, self._gated = self._plan, gated
        if plan.split.dynamic:
            tasks = ((unit.index, task) for unit in plan.units for task in range(plan.code.coded))
            self._waiting.extend(tasks)
            self._feed()
            return
        shares: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for unit in plan.units:
            for task, owner in enumerate(plan.owners):
                shares[self._work.ranks[owner]].append((unit.index, task))
        there = {rank: share for rank, share in shares.items() if not self._roster.gone(rank)}
        usable = set(self._roster.usable)
        first = {rank: share for rank, share in there.items() if rank in usable}
        self._hand_out(first, again=False)
        if there.keys() != shares.keys() or not there.keys() <= usable:
            self._repair(range(len(plan.units)))

    def start(self) -> None:
        """Let the workers begin."""
        self._gated = False
        now = MPI.Wtime()
        for each in self.rounds:
            each.heard = now
        ranks = sorted({each.rank for each in self.rounds if not self._roster.gone(each.rank)})
        self.outbox.command(Command.START, ranks, job=self._work.job)

    def take(self) -> bool:
        """Take what has arrived from each worker; say whether anything had.

        Raises
        ------
        DecodeError, LostError
            Once all that has arrived is taken; nothing more is wanted then.
        """
        self._watch.look()
        arrived, failure = False, None
        for each in self.rounds:
            if each.owed:
                places, done = each.poll()
                for at, computed in zip(places, done, strict=True):
                    arrived = True
                    each.answer(at, "rejected")  # unless it turns out to be good
                    try:
                        each.status[at] = self._judge(each, each.assignments[at], computed)
                    except (DecodeError, LostError) as error:
                        failure = error
                        self.dismiss()
        if failure is not None:
            raise failure
        return arrived

    def dismiss(self) -> None:
        """Want nothing more: what has not begun is dropped."""
        if self.open:
            self.open = False
            self._waiting.clear()
            self._purge(ALL, [each.rank for each in self.rounds if each.owed])

    def settle(self) -> None:
        """Wait until nothing of the product is in flight."""
        backoff = Backoff()
        while any(each.owed for each in self.rounds):
            collect([self], backoff)
        for each in self.rounds:
            if not self._roster.gone(each.rank):
                each.settle()
        self.outbox.flush()
        self.assembly.release()
        self._work.sharing.release()

    def _hand_out(self, shares: dict[int, list[tuple[int, int]]], *, again: bool = True) -> None:
        self._again |= again
        rounds = []
        for rank, share in shares.items():
            in_place = set() if again else self._in_place(rank)
            given = []
            for unit, task in share:
                attempt = self._ledger.attempts(unit, task) if again else 0
                place = None
                if task not in in_place:
                    place = self.assembly.place(unit, task, fresh=attempt > 0)
                given.append(Assignment(unit, task, attempt, place))
            number = self._roster.next_round(rank)
            rounds.append(Round(self._work.comm, self._roster, rank, number, given, self._work.job))
        self._ledger.add(rounds)
        held: dict[int, list[int]] = {}
        if self._work.held and not again:
            places = {rank: worker for worker, rank in enumerate(self._work.ranks)}
            held = {rank: self._plan.held_by(places[rank]) for rank in shares}
        self._dispatch.hand_out(rounds, held, gated=self._gated)

    def _in_place(self, rank: int) -> set[int]:
        """Return the tasks whose results a worker writes to shared memory: plain blocks' first."""
        arrays = self._work.sharing.arrays_for(rank)
        if arrays is None or not (arrays.values or arrays.stores):
            return set()
        return {task for task in range(self._code.coded) if self._code.block(task) == task}

    def _judge(self, each: Round, given: Assignment, computed: bool) -> str:
        """Take a reply; return what becomes of the task."""
        unit, task, assembly = given.unit, given.task, self.assembly
        if not computed:
            return "purged"
        wanted = self.open and self._roster.trusts(each.rank)
        if not wanted or assembly.knows(unit, task):
            return "late"
        result = assembly.in_place(unit, task) if given.place is None else given.place
        if not self._accepts(unit, task, result):
            layer = self._plan.units[unit].layer
            self._roster.reject(each.rank, f"task {task} of layer {layer}")
            if not self._roster.trusts(each.rank):
                self._purge(ALL, [each.rank])
                self._repair(range(len(self._plan.units)))
            else:
                self._repair([unit])
            return "rejected"
        assembly.take(unit, task, result)
        if assembly.recovered[unit]:
            self._purge(unit, self._owing(unit))
            if self._waiting:
                self._waiting = deque(each for each in self._waiting if each[0] != unit)
        elif self._again or len(self._twins) < self._code.coded:
            self._purge_twins(unit, task)
        return "used"

    def _owing(self, unit: int) -> set[int]:
        """Return the workers that still owe an answer of a unit."""
        late = self._ledger.outstanding(unit).values()
        return {each.rank for rounds in late for each in rounds}

    def _accepts(self, unit: int, task: int, result: NDArray[Any]) -> bool:
        if self._work.checker is None:
            return True
        start = time.perf_counter()
        each = self._plan.units[unit]
        accepted = self._work.checker.accepts(each.minijobs, task, result)
        self.checking[each.layer] += time.perf_counter() - start
        return accepted

    def _purge(self, unit: int, ranks: Iterable[int]) -> None:
        ranks = sorted({rank for rank in ranks if not self._roster.gone(rank)})
        self.outbox.command(Command.PURGE, ranks, job=self._work.job, unit=unit)

    def _purge_twins(self, unit: int, task: int) -> None:
        """Drop what others were given to the same end as a task that is done."""
        block = self._code.block(task)
        for twin in (task,) if block is None else {task, *self._twins[block]}:
            for each in self._ledger.awaited(unit, twin):
                self.outbox.command(
                    Command.PURGE, [each.rank], job=self._work.job, unit=unit, task=twin
                )

    def look_after(self) -> None:
        """Find out who is gone, and replace what went with them."""
        self._watch.check(self.rounds, patient=self._gated)
        lost: set[int] = set()
        for each in self.rounds:
            if each.owed and self._roster.gone(each.rank):
                lost |= self._give_up(each)
        if lost and self.open:
            self._repair(sorted(lost))

    def _give_up(self, each: Round) -> set[int]:
        """Expect nothing more of a round; return the units that lack something."""
        units = set()
        for given in each.abandon():
            units.add(given.unit)
            if given.place is None and given.task in self.assembly.refined_there:
                units |= set(self.assembly.repeat(given.task))
        return units

    def _repair(self, units: Iterable[int]) -> None:
        """Hand out again what cannot be recovered from what is done or under way."""
        usable = set(self._roster.usable)
        again: list[tuple[int, int]] = []
        for unit in units:
            if self.assembly.recovered[unit]:
                continue
            outstanding = {
                task
                for task, rounds in self._ledger.outstanding(unit).items()
                if any(each.rank in usable for each in rounds)
            }
            outstanding |= {task for other, task in self._waiting if other == unit}
            finished = self.assembly.finished[unit]
            again += [(unit, task) for task in repairs(self._code, finished, outstanding)]
        if not again:
            return
        self._roster.require()
        owed = Counter(dict.fromkeys(usable, 0))
        for each in self.rounds:
            owed[each.rank] += each.owed
        shares: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for unit, task in again:
            rank = min(usable, key=lambda r: (self._ledger.tried(r, unit, task), owed[r], r))
            owed[rank] += 1
            shares[rank].append((unit, task))
        self._hand_out(shares)

    def employ(self) -> None:
        """Give workers that are free something to do, where there is something."""
        if not self.open or self._gated:
            return
        if self._waiting:
            self._feed()
        elif self._code.reissues or self._code.rateless:
            busy = {each.rank for each in self.rounds if each.owed}
            for rank in self._roster.usable:
                task = None if rank in busy else self._extra(rank)
                if task is not None:
                    self._hand_out({rank: [task]})

    def _feed(self) -> None:
        """Hand out waiting tasks, in turns, so that each worker has as many as are prefetched."""
        self._roster.require()
        owed = Counter(dict.fromkeys(self._roster.usable, 0))
        for each in self.rounds:
            if each.owed and each.rank in owed:
                owed[each.rank] += each.owed
        shares: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for count in range(min(owed.values(), default=0), self._plan.split.prefetch):
            for rank in owed:
                if self._waiting and owed[rank] == count:
                    shares[rank].append(self._waiting.popleft())
                    owed[rank] += 1
        if shares:
            self._hand_out(shares, again=False)

    def _extra(self, rank: int) -> tuple[int, int] | None:
        """Return a task for an idle worker: the next of a rateless code, or a copy."""
        for unit, recovered in enumerate(self.assembly.recovered):
            if recovered:
                continue
            if self._code.rateless:
                self._beyond[unit] += 1
                return unit, self._beyond[unit] - 1
            unfinished = list(self._ledger.outstanding(unit))
            attempts = {task: self._ledger.attempts(unit, task) for task in unfinished}
            tried = {task for task in unfinished if self._ledger.tried(rank, unit, task)}
            task = to_copy(unfinished, attempts, tried)
            if task is not None:
                return unit, task
        return None


class Collecting(Protocol):
    """Those whose results are collected: :class:`Crew` says what each of these does."""

    def take(self) -> bool: ...  # noqa: D102
    def look_after(self) -> None: ...  # noqa: D102
    def employ(self) -> None: ...  # noqa: D102


def collect(crews: Sequence[Collecting], backoff: Backoff, most: float | None = None) -> None:
    """Take what has arrived; if nothing has, look after the workers, or pause.

    Parameters
    ----------
    crews : sequence of Collecting
        Whose results are taken.
    backoff : Backoff
        How long to pause.
    most : float, optional
        Seconds that a pause may last.

    Raises
    ------
    DecodeError, LostError
        As :meth:`Crew.take`.
    """
    arrived = [crew.take() for crew in crews]
    if any(arrived):
        backoff.reset()
    else:
        for crew in crews:
            crew.look_after()
        backoff.wait(most)
    for crew in crews:
        crew.employ()
