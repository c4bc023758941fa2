"""A left operand that stays at the workers: for streams of products with the same A."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from mpi4py import MPI

from hpcrefine.cluster.dispatch import (
    STANDS,
    Outbox,
    block_table,
    blocks_of,
    send_combined,
    send_plain,
)
from hpcrefine.cluster.protocol import Command, Tag, as_bytes, header
from hpcrefine.cluster.request import Cut, Wanted, check_shapes
from hpcrefine.cluster.shared import Sharing
from hpcrefine.codes import Code
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
    code : Code
        How it was coded.
    """

    def __init__(self, pool: "Pool", number: int, left: Quantised, cut: Cut, code: Code) -> None:
        self.number, self.left, self.cut, self.code = number, left, cut, code
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
        wanted = Wanted(layers, truncate, tolerance, relative_tolerance, unit, keep_integers)
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


def hold(comm: MPI.Comm, number: int, plan: Plan, left: Quantised, sharing: Sharing) -> None:
    """Send the planes of A to the workers, to be kept; returns when they have left."""
    outbox, blocks = Outbox(comm), blocks_of(plan)
    for rank, tasks in blocks.items():
        shared = sharing.table() if sharing.arrays_for(rank) else np.empty(0, np.uint8)
        command = header(
            Command.HOLD,
            held=number,
            digits=left.digits,
            rows=left.shape[0],
            inner=left.shape[1],
            blocks=len(tasks),
            segments=len(shared),
        )
        outbox.send(as_bytes(command), rank, Tag.COMMAND)
        outbox.send(as_bytes(block_table(plan, tasks)), rank, Tag.PLAN)
        if len(shared):
            outbox.send(as_bytes(shared), rank, Tag.PLAN)
    for plane in left.planes:
        for rank, tasks in blocks.items():
            if sharing.arrays_for(rank):
                outbox.send(STANDS, rank, Tag.PLANE)
            else:
                send_plain(outbox, plan, rank, tasks, plane)
        send_combined(outbox, plan, blocks, plane)
    outbox.flush()
