"""A left operand that stays at the workers: for streams of products with the same A."""

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from hpcrefine.cluster.dispatch import Outbox, Side
from hpcrefine.cluster.protocol import SEGMENT, Command, Tag, as_bytes
from hpcrefine.cluster.request import Cut, Wanted, check_shapes
from hpcrefine.cluster.roster import Roster
from hpcrefine.cluster.shared import Sharing
from hpcrefine.errors import InputError
from hpcrefine.resolution.digits import Array, Quantised, check_matrix
from hpcrefine.schedule.plan import Plan

if TYPE_CHECKING:
    from hpcrefine.cluster.master import Product
    from hpcrefine.cluster.pool import Pool


class Resident:
    """A left operand in digit planes, encoded, at the workers.

    Made by :meth:`Pool.resident`; used as a context it is released at the end.

    Attributes
    ----------
    number : int
        What workers know it by.
    left : Quantised
        The operand.
    cut : Cut
        How it was cut.
    plan : Plan
        How it was coded and dealt.
    ranks : tuple of int
        The plan's workers.
    """

    def __init__(
        self,
        pool: "Pool",
        number: int,
        left: Quantised,
        cut: Cut,
        plan: Plan,
        ranks: tuple[int, ...],
    ) -> None:
        self.number, self.left, self.cut, self.plan, self.ranks = number, left, cut, plan, ranks
        self._pool: Pool | None = pool

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the operand."""
        return self.left.shape

    def matmul(
        self,
        b: Array,
        *,
        layers: str = "antidiagonal",
        truncate: int | None = None,
        tolerance: float | None = None,
        relative_tolerance: float | None = None,
        unit: str = "layer",
        keep_integers: bool = False,
        verify: str = "none",
    ) -> "Product":
        """Multiply in layers of resolution; parameters are those of :meth:`Pool.matmul`.

        Raises
        ------
        InputError
            If the operand or options are wrong, or the left one was released.
        """
        if self._pool is None:
            raise InputError("a: found an operand that was released, expected one at the workers")
        check_matrix(b, "b")
        check_shapes(self.shape, b.shape)
        wanted = Wanted(
            layers, truncate, tolerance, relative_tolerance, unit, keep_integers, verify
        )
        return self._pool.multiply_resident(self, b, wanted)

    def release(self) -> None:
        """Let the workers drop it; a second call does nothing."""
        if self._pool is not None:
            self._pool.release(self.number)
            self._pool = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def hold(
    roster: Roster, ranks: Sequence[int], number: int, plan: Plan, left: Quantised, sharing: Sharing
) -> None:
    """Send the planes of A to the workers, to be kept; returns when they have left.

    Parameters
    ----------
    roster : Roster
        Who is there.
    ranks : sequence of int
        The plan's workers.
    number : int
        What the workers will know the planes by.
    plan : Plan
        Of which blocks and combinations each gets its share.
    left : Quantised
        The planes.
    sharing : Sharing
        Which workers find them in shared memory.
    """
    outbox, sides = Outbox(roster), {}
    for worker, rank in enumerate(ranks):
        tasks = plan.held_by(worker)
        if not tasks:
            continue
        shared = sharing.arrays_for(rank) is not None
        side = Side(plan.left, [plan.code.left(task) for task in tasks], shared=shared)
        sides[rank] = side
        segments = sharing.table() if shared else np.empty(0, SEGMENT)
        blocks = side.table()
        outbox.command(
            Command.HOLD,
            [rank],
            held=number,
            digits=left.digits,
            rows=left.shape[0],
            inner=left.shape[1],
            left=len(blocks),
            segments=len(segments),
        )
        for table in (blocks, segments):
            if len(table):
                outbox.send(as_bytes(table), rank, Tag.PLAN)
    for plane in left.planes:
        for rank, side in sides.items():
            side.send_plain(outbox, rank, Tag.PLANE, plane)
        for rank, side in sides.items():
            side.send_combined(outbox, rank, Tag.PLANE, plane)
    outbox.flush()
