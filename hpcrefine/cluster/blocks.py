"""Samples of an inference in blocks, handed out to workers: who has what, and who takes over.

The blocks of the first upgrade go to whoever is ready for one. What a block leaves undecided stays
at its worker, which joins such remains to the blocks of its next upgrade; with a worker that is
gone they are lost, and others begin anew with the samples themselves. A worker that keeps as much
as it may first brings what it has to the end.
"""

import bisect
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcrefine.cluster.backoff import Backoff
from hpcrefine.cluster.crew import collect
from hpcrefine.cluster.dispatch import Outbox
from hpcrefine.cluster.protocol import ALL, SAMPLES, Command, Tag, as_bytes, header, round_tag
from hpcrefine.cluster.roster import Roster
from hpcrefine.cluster.rounds import Assignment, Round
from hpcrefine.cluster.watch import Watch

if TYPE_CHECKING:
    from hpcrefine.inference.rules import Rule

Indices = NDArray[np.int64]

_PREFETCH = 2  # blocks that a worker has at a time


@dataclass(frozen=True)
class Block:
    """Samples that are brought to an upgrade together.

    Attributes
    ----------
    upgrade, number : int
        What they are brought to; which block of that upgrade.
    samples : ndarray of int64
        Which of all.
    sources : tuple of int
        Numbers of the blocks, of the upgrade before, whose remains at the worker are joined to it;
        none: it is made of the samples themselves.
    """

    upgrade: int
    number: int
    samples: Indices
    sources: tuple[int, ...] = ()


class Remains(NamedTuple):
    """What a worker has of a block: its number, and which samples go on."""

    number: int
    samples: Indices


class Gained(NamedTuple):
    """What an upgrade tells of some samples: scores (samples, classes), and who is decided."""

    samples: Indices
    scores: NDArray[np.float32]
    decided: NDArray[np.bool_]


@dataclass(frozen=True)
class Batch:
    """Samples to be inferred.

    Attributes
    ----------
    comm : MPI.Comm
        Communicator of the pool.
    roster : Roster
        Who is there.
    job : int
        Number of the inference.
    held : int
        Number of the network at the workers.
    upgrades, classes : int
        Of the network.
    samples : ndarray, shape (n, ...)
        C-contiguous, unchanged until all is settled.
    rule : Rule
        Says who is decided.
    block : int
        Samples in a block, at most.
    kept : int
        Samples of which a worker keeps what it knows, about, at most.
    """

    comm: MPI.Comm
    roster: Roster
    job: int
    held: int
    upgrades: int
    classes: int
    samples: NDArray[Any]
    rule: "Rule"
    block: int
    kept: int


class Blocks:
    """Has samples inferred by the workers, block by block.

    Parameters
    ----------
    batch : Batch
        The samples.

    Attributes
    ----------
    outbox : Outbox
        What is on its way to the workers.
    open : bool
        Whether scores are still wanted.
    rounds : list of Round
        What was handed out.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch, self._roster = batch, batch.roster
        self._rule = np.frombuffer(batch.rule.to_text().encode(), np.uint8)
        self.outbox = Outbox(batch.roster)
        self.open = True
        self.rounds: list[Round] = []
        self._watch = Watch(batch.roster)
        self._blocks: dict[tuple[int, int], Block] = {}
        self._attempts: Counter[tuple[int, int]] = Counter()
        self._numbers = [0] * batch.upgrades
        self._waiting: list[Block] = []  # for whoever is ready, lowest upgrade first
        self._remains: dict[int, dict[int, list[Remains]]] = defaultdict(dict)  # by rank, upgrade
        self._entering = [len(batch.samples)] + [0] * (batch.upgrades - 1)
        self._gained: list[list[Gained]] = [[] for _ in range(batch.upgrades)]
        self._begin(0, np.arange(len(batch.samples)))
        self.employ()

    @property
    def ended(self) -> bool:
        """Whether nothing is in flight."""
        return not self.open and all(each.ended for each in self.rounds)

    def gained(self, upgrade: int) -> Gained | None:
        """Return what an upgrade told, if all that enters it is there."""
        for earlier in range(upgrade + 1):
            known = sum(len(part.samples) for part in self._gained[earlier])
            if known < self._entering[earlier]:
                return None
        parts = self._gained[upgrade]
        return Gained(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def take(self) -> bool:
        """Take what has arrived from each worker; say whether anything had."""
        self._watch.look()
        arrived = False
        for each in self.rounds:
            if each.owed:
                for at, computed in zip(*each.poll(), strict=True):
                    arrived = True
                    each.answer(at, self._judge(each.rank, each.assignments[at], computed))
        return arrived

    def look_after(self) -> None:
        """Find out who is gone, and replace what went with them."""
        self._watch.check(self.rounds)
        lost: list[Block] = []
        for each in self.rounds:
            if each.owed and self._roster.gone(each.rank):
                lost += [self._blocks[given.unit, given.task] for given in each.abandon()]
        gone = [rank for rank in self._remains if self._roster.gone(rank)]
        stranded = [held for rank in gone for held in self._remains.pop(rank).items()]
        if not self.open:
            return
        for block in lost:
            self._wait(replace(block, sources=()))
        for upgrade, parts in stranded:
            self._begin(upgrade + 1, np.concatenate([part.samples for part in parts]))

    def employ(self) -> None:
        """Give workers that are free something to do, where there is something."""
        if not self.open:
            return
        if self._waiting:
            self._roster.require()
        owed: dict[int, list[int]] = {rank: [] for rank in self._roster.usable}
        for each in self.rounds:
            if each.owed and each.rank in owed:
                pending = zip(each.assignments, each.status, strict=True)
                owed[each.rank] += [given.unit for given, status in pending if not status]
        shares: dict[int, list[Block]] = defaultdict(list)
        for count in range(_PREFETCH):
            for rank, units in owed.items():
                if len(units) == count and (block := self._next(rank, units)):
                    shares[rank].append(block)
                    units.append(block.upgrade)
        for rank, blocks in shares.items():
            self._hand_out(rank, blocks)

    def dismiss(self) -> None:
        """Want nothing more: what has not begun is dropped, and what workers have kept."""
        if self.open:
            self.open = False
            self._waiting.clear()
            ranks = {each.rank for each in self.rounds if each.owed} | set(self._remains)
            there = sorted(rank for rank in ranks if not self._roster.gone(rank))
            self.outbox.command(Command.PURGE, there, job=self._batch.job, unit=ALL)
            self._remains.clear()

    def settle(self) -> None:
        """Wait until nothing is in flight."""
        backoff = Backoff()
        while any(each.owed for each in self.rounds):
            collect([self], backoff)
        for each in self.rounds:
            if not self._roster.gone(each.rank):
                each.settle()
        self.outbox.flush()

    def _begin(self, upgrade: int, samples: Indices) -> None:
        """Have samples brought to an upgrade from their beginning."""
        for part in np.array_split(samples, max(1, math.ceil(len(samples) / self._batch.block))):
            self._wait(self._block(upgrade, part))

    def _block(self, upgrade: int, samples: Indices, sources: Iterable[int] = ()) -> Block:
        block = Block(upgrade, self._numbers[upgrade], samples, tuple(sources))
        self._numbers[upgrade] += 1
        self._blocks[upgrade, block.number] = block
        return block

    def _wait(self, block: Block) -> None:
        bisect.insort(self._waiting, block, key=lambda each: (each.upgrade, each.number))

    def _judge(self, rank: int, given: Assignment, computed: bool) -> str:
        """Take a reply; return what becomes of the block."""
        if not computed or given.place is None:
            return "purged"
        if not self.open:
            return "late"
        upgrade, samples = given.unit, self._blocks[given.unit, given.task].samples
        decided = self._batch.rule.decided(given.place, upgrade)
        self._gained[upgrade].append(Gained(samples, given.place, decided))
        undecided = samples[~decided]
        if len(undecided):
            self._entering[upgrade + 1] += len(undecided)
            remains = self._remains[rank].setdefault(upgrade, [])
            remains.append(Remains(given.task, undecided))
        return "used"

    def _next(self, rank: int, owed: Sequence[int]) -> Block | None:
        """Return what a worker does next: the lowest upgrade that there is something of for it."""
        held = self._remains.get(rank)
        sizes = {done: sum(len(p.samples) for p in parts) for done, parts in (held or {}).items()}
        if held and sum(sizes.values()) >= self._batch.kept:
            return self._join(held, max(held))
        lowest = min(sizes, default=self._batch.upgrades)
        if self._waiting and self._waiting[0].upgrade <= lowest + 1:
            return self._waiting.pop(0)
        if not held or (lowest in owed and sizes[lowest] < self._batch.block):
            return None  # more may come to it
        return self._join(held, lowest)

    def _join(self, held: dict[int, list[Remains]], done: int) -> Block:
        """Make a block of the next upgrade of as many of a worker's remains as fit."""
        parts, room, joined = held[done], self._batch.block, []
        while parts and len(parts[0].samples) <= room:
            joined.append(parts.pop(0))
            room -= len(joined[-1].samples)
        if not parts:
            del held[done]
        samples = np.concatenate([part.samples for part in joined])
        return self._block(done + 1, samples, [part.number for part in joined])

    def _hand_out(self, rank: int, blocks: Sequence[Block]) -> None:
        given = []
        for block in blocks:
            place = np.empty((len(block.samples), self._batch.classes), np.float32)
            key = block.upgrade, block.number
            given.append(Assignment(*key, self._attempts[key], place))
            self._attempts[key] += 1
        number = self._roster.next_round(rank)
        self.rounds.append(
            Round(self._batch.comm, self._roster, rank, number, given, self._batch.job)
        )
        self._send(rank, number, blocks)

    def _send(self, rank: int, number: int, blocks: Sequence[Block]) -> None:
        samples, send = self._batch.samples, self.outbox.send
        rows = [(b.upgrade, b.number, len(b.samples), len(b.sources)) for b in blocks]
        sources = np.array([source for b in blocks for source in b.sources], np.int64)
        announcement = header(
            Command.INFER,
            job=self._batch.job,
            round=number,
            rows=len(samples),
            tasks=len(rows),
            sources=len(sources),
            held=self._batch.held,
            length=len(self._rule),
            text=samples.dtype.str.encode(),
        )
        send(as_bytes(announcement), rank, Tag.COMMAND)
        for table in (np.array(rows, SAMPLES), sources, self._rule):
            if len(table):
                send(as_bytes(table), rank, round_tag(Tag.PLAN, number))
        for block in blocks:
            if not block.sources:
                send(_rows(samples, block.samples), rank, round_tag(Tag.PLANE, number))


def _rows(array: NDArray[Any], chosen: Indices) -> NDArray[Any]:
    """Return some rows, contiguous: as they stand if they are neighbours, in ascending order."""
    first, last = int(chosen[0]), int(chosen[-1])
    if last - first + 1 == len(chosen) and (np.diff(chosen) == 1).all():
        return array[first : last + 1]
    return array[chosen]
