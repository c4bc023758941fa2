"""Sending rounds to the workers: header, plan, planes, most significant digit first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcrefine.cluster.messages import message
from hpcrefine.cluster.protocol import (
    BLOCK,
    MINIJOB,
    SEGMENT,
    TASK,
    Command,
    Tag,
    as_bytes,
    header,
    round_tag,
)
from hpcrefine.cluster.roster import Roster
from hpcrefine.cluster.rounds import Round
from hpcrefine.cluster.shared import Sharing
from hpcrefine.codes.base import Combination, encode, growth
from hpcrefine.resolution.refine import Refiner
from hpcrefine.schedule.plan import Operand, Plan

Planes = NDArray[Any]


class Outbox:
    """Messages on their way, with the buffers that must outlive them.

    Attributes
    ----------
    nbytes : int
        Bytes sent so far.
    """

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._pending: list[tuple[int, Any, NDArray[Any]]] = []
        self.nbytes = 0

    def send(self, buffer: NDArray[Any], rank: int, tag: int) -> None:
        """Begin to send a C-contiguous array, unchanged until flushed."""
        request = self._roster.send(message(buffer), rank, tag)
        if request is not None:
            self._pending.append((rank, request, buffer))
            self.nbytes += buffer.nbytes

    def command(self, command: Command, ranks: Sequence[int], **fields: Any) -> None:
        """Send a command that is a header and nothing else."""
        order = as_bytes(header(command, **fields))
        for rank in ranks:
            self.send(order, rank, Tag.COMMAND)

    def flush(self) -> None:
        """Wait until everything has left, but what was for workers that are gone."""
        pending, self._pending = self._pending, []
        self._roster.complete(pending)


class Side:
    """One operand on its way: which blocks of it a worker gets, and how.

    Parameters
    ----------
    operand : Operand
        How the code cuts it.
    combinations : sequence of Combination
        What the worker's tasks need of it, in their order.
    shared : bool
        Whether the worker finds whole rows of it in shared memory.
    """

    def __init__(
        self, operand: Operand, combinations: Sequence[Combination], *, shared: bool
    ) -> None:
        self._operand = operand
        shared = shared and operand.columns.count == 1
        places = {c: operand.place(c) for c in dict.fromkeys(combinations)}
        self._plain = {c: place for c, place in places.items() if place is not None}
        self._combined = [c for c, place in places.items() if place is None]
        self._blocks = {c: number for number, c in enumerate((*self._plain, *self._combined))}
        self._sent = {} if shared else self._plain

    def number(self, combination: Combination) -> int:
        """Return a combination's place in the table."""
        return self._blocks[combination]

    def table(self) -> NDArray[np.void]:
        """Return the BLOCK rows: plain blocks, then combinations."""
        rows = [
            (-1 if c in self._sent else a.start, 1, a.stop - a.start, b.stop - b.start)
            for c, (a, b) in self._plain.items()
        ]
        return np.array(rows + [(-1, *self._operand.shape(c)) for c in self._combined], BLOCK)

    def send_plain(self, outbox: Outbox, rank: int, tag: int, plane: Planes) -> None:
        """Send a digit plane of the plain blocks that the worker does not find."""
        for place in self._sent.values():
            outbox.send(np.ascontiguousarray(plane[place]), rank, tag)

    def send_combined(self, outbox: Outbox, rank: int, tag: int, plane: Planes) -> None:
        """Send a digit plane of the combinations."""
        for combination in self._combined:
            made = encode(plane, self._operand.rows, self._operand.columns, combination)
            outbox.send(made, rank, tag)


@dataclass(frozen=True)
class Operands:
    """Digit planes of a product's operands, or its float64 operands.

    Attributes
    ----------
    left, right : ndarray, shapes (digits, n, k) and (digits, k, p)
        C-contiguous, unchanged until the product is settled.
    refiner : Refiner or None
        Turns integers into resolutions; None: float64.
    """

    left: Planes
    right: Planes
    refiner: Refiner | None


class Dispatch:
    """Sends the rounds of one product.

    Parameters
    ----------
    roster : Roster
        Who is there.
    plan : Plan
        What is computed.
    operands : Operands
        Of what.
    sharing : Sharing
        Which workers share memory with us, and what lies there.
    held : int
        Number of the planes of A that workers hold, if any do.
    position : int
        Place of the product in its stream.

    Attributes
    ----------
    outbox : Outbox
        What is on its way.
    """

    def __init__(
        self,
        roster: Roster,
        plan: Plan,
        operands: Operands,
        sharing: Sharing,
        held: int = 0,
        position: int = 0,
    ) -> None:
        self._plan, self._operands, self._sharing = plan, operands, sharing
        self._held, self._position = held, position
        self._have_right: set[int] = set()
        self.outbox = Outbox(roster)

    def hand_out(
        self, rounds: Sequence[Round], held: Mapping[int, Sequence[int]], *, gated: bool
    ) -> None:
        """Send rounds to their workers: all plans, then plane by plane, encoded ones last.

        Parameters
        ----------
        rounds : sequence of Round
            What each worker gets.
        held : mapping of int to sequence of int
            For each worker that holds planes of A, the tasks these are of; others are sent them.
        gated : bool
            Whether the tasks wait for START.
        """
        sides = [self._announce(each, held.get(each.rank), gated) for each in rounds]
        for digit in range(self._plan.digits):
            right_plane, left_plane = self._operands.right[digit], self._operands.left[digit]
            to = [(self.outbox, each.rank, round_tag(Tag.PLANE, each.number)) for each in rounds]
            for way, (left, right) in zip(to, sides, strict=True):
                if right is not None:
                    right.send_plain(*way, right_plane)
                    right.send_combined(*way, right_plane)
                if left is not None:
                    left.send_plain(*way, left_plane)
            for way, (left, _) in zip(to, sides, strict=True):
                if left is not None:
                    left.send_combined(*way, left_plane)

    def _announce(
        self, each: Round, held: Sequence[int] | None, gated: bool
    ) -> tuple[Side | None, Side | None]:
        plan, code, rank = self._plan, self._plan.code, each.rank
        shared = self._sharing.arrays_for(rank) is not None
        tasks = [a.task for a in each.assignments]
        lefts = [code.left(t) for t in (tasks if held is None else held)]
        left = Side(plan.left, lefts, shared=shared)
        right = Side(plan.right, [code.right(t) for t in tasks], shared=shared)
        again = rank in self._have_right and code.grid.inner == code.grid.columns == 1
        self._have_right.add(rank)
        units = {a.unit for a in each.assignments}
        cells = [(u.index, i, j) for u in plan.units if u.index in units for i, j in u.minijobs]
        tables = [
            np.empty(0, BLOCK) if held is not None else left.table(),
            np.empty(0, BLOCK) if again else right.table(),
            np.array(cells, MINIJOB),
            self._task_table(each, left, right),
        ]
        in_place = any(a.place is None for a in each.assignments)
        segments = np.empty(0, SEGMENT)
        if shared:
            segments = self._sharing.table(left=held is None, results=in_place)
        values = len(self._sharing.values) if in_place else 0
        refiner = self._operands.refiner
        announcement = header(
            Command.JOB,
            job=each.job,
            round=each.number,
            gated=gated,
            position=self._position,
            digits=plan.digits,
            digit_bits=plan.digit_bits,
            top=refiner.top if refiner else 0,
            floating=refiner is None,
            rows=plan.shape[0],
            inner=plan.shape[1],
            columns=plan.shape[2],
            left=len(tables[0]),
            right=len(tables[1]),
            minijobs=len(cells),
            tasks=len(tasks),
            segments=len(segments),
            values=values,
            held=0 if held is None else self._held,
        )
        self.outbox.send(as_bytes(announcement), rank, Tag.COMMAND)
        tables.append(segments)
        if values and refiner is not None:
            tables.append(np.concatenate([refiner.rows, refiner.columns]))
        for table in tables:
            if len(table):
                self.outbox.send(as_bytes(table), rank, round_tag(Tag.PLAN, each.number))
        return None if held is not None else left, None if again else right

    def _task_table(self, each: Round, left: Side, right: Side) -> NDArray[np.void]:
        plan, code = self._plan, self._plan.code
        blocks, growths = {}, {}
        for task in dict.fromkeys(given.task for given in each.assignments):
            a, b = code.left(task), code.right(task)
            blocks[task] = left.number(a), right.number(b)
            growths[task] = growth(a) * growth(b)
        sizes = {
            (unit.index, grown): plan.dtype(unit, grown).itemsize
            for unit in plan.units
            for grown in set(growths.values())
        }
        layers = [unit.layer for unit in plan.units]
        rows = [
            (unit, layers[unit], task, *blocks[task], sizes[unit, growths[task]], place is None)
            for unit, task, _, place in each.assignments
        ]
        return np.array(rows, TASK)
