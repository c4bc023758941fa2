"""Sending a job to the workers: header, plan, planes, most significant digit first."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcrefine.cluster.backoff import wait_all
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
)
from hpcrefine.cluster.shared import Sharing
from hpcrefine.resolution.refine import Refiner
from hpcrefine.schedule.plan import Plan

STANDS = np.ones(1, np.uint8)


class Outbox:
    """Messages on their way, with the buffers that must outlive them."""

    def __init__(self, comm: MPI.Comm) -> None:
        self._comm = comm
        self._requests: list[MPI.Request] = []
        self._buffers: list[NDArray[Any]] = []

    def send(self, buffer: NDArray[Any], rank: int, tag: Tag) -> None:
        """Begin to send a C-contiguous array, unchanged until flushed."""
        self._buffers.append(buffer)
        self._requests.append(self._comm.Isend(message(buffer), rank, tag))

    def flush(self) -> None:
        """Wait until everything has left."""
        wait_all(self._requests)
        self._requests, self._buffers = [], []


def blocks_of(plan: Plan) -> dict[int, list[int]]:
    """Return the coded tasks of each worker's rank."""
    blocks: dict[int, list[int]] = {}
    for task, owner in enumerate(plan.owners):
        blocks.setdefault(owner + 1, []).append(task)
    return blocks


def block_table(plan: Plan, tasks: Sequence[int]) -> NDArray[np.void]:
    """Return the BLOCK rows of coded tasks."""
    rows = []
    for task in tasks:
        block = plan.code.block(task)
        start = -1 if block is None else plan.blocks.slices[block].start
        rows.append((start, plan.rows(task), plan.code.limbs(task)))
    return np.array(rows, BLOCK)


def send_plain(
    outbox: Outbox, plan: Plan, rank: int, tasks: Sequence[int], plane: NDArray[Any]
) -> None:
    """Send a worker its plain blocks of a plane of A."""
    for task in tasks:
        block = plan.code.block(task)
        if block is not None:
            outbox.send(plane[plan.blocks.slices[block]], rank, Tag.PLANE)


def send_combined(
    outbox: Outbox, plan: Plan, blocks: Mapping[int, Sequence[int]], plane: NDArray[Any]
) -> None:
    """Encode the combinations of a plane of A and send them to their workers."""
    for rank, tasks in blocks.items():
        for task in tasks:
            if plan.code.block(task) is None:
                outbox.send(plan.code.encode(plane, task), rank, Tag.PLANE)


class Dispatch:
    """Everything on its way to the workers for one job.

    Parameters
    ----------
    comm : MPI.Comm
        Communicator of the pool.
    job : int
        Number of the job.
    plan : Plan
        Who computes what.
    sharing : Sharing
        Which workers share memory with us, and what lies there.
    refiner : Refiner or None
        Turns integers into resolutions; None: planes are float64 (one-shot).
    held : int
        Number of the planes of A that the workers hold; 0 if they are sent.

    Attributes
    ----------
    tasks : dict of int to list of (int, int)
        For each worker's rank, its (unit, coded task) pairs in the order of computation.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        job: int,
        plan: Plan,
        sharing: Sharing,
        refiner: Refiner | None,
        held: int = 0,
    ) -> None:
        self._comm, self._plan, self._job = comm, plan, job
        self._sharing, self._refiner, self._held = sharing, refiner, held
        self._outbox = Outbox(comm)
        self._blocks = blocks_of(plan)
        self.tasks = {
            rank: [(unit.index, task) for unit in plan.units for task in mine]
            for rank, mine in self._blocks.items()
        }
        for rank, mine in self._blocks.items():
            self._announce(rank, mine)

    def _announce(self, rank: int, mine: list[int]) -> None:
        plan, arrays = self._plan, self._sharing.arrays_for(rank)
        cells = [(unit.index, i, j) for unit in plan.units for i, j in unit.minijobs]
        tasks: list[tuple[int, int, int, int]] = []
        for unit in plan.units:
            plain = plan.result_dtype(unit, 0).itemsize
            for place, task in enumerate(mine):
                combined = plan.code.block(task) is None
                size = plan.result_dtype(unit, task).itemsize if combined else plain
                tasks.append((unit.index, unit.layer, place, size))
        tables = [block_table(plan, mine), np.array(cells, MINIJOB), np.array(tasks, TASK)]
        segments = np.empty(0, SEGMENT) if arrays is None else self._sharing.table()
        refines = arrays is not None and bool(arrays.values)
        announcement = header(
            Command.JOB,
            job=self._job,
            digits=plan.digits,
            digit_bits=plan.digit_bits,
            top=self._refiner.top if self._refiner else 0,
            floating=self._refiner is None,
            rows=plan.shape[0],
            inner=plan.shape[1],
            columns=plan.shape[2],
            blocks=len(mine),
            minijobs=len(cells),
            tasks=len(tasks),
            segments=len(segments),
            values=len(arrays.values) if arrays else 0,
            held=self._held,
        )
        self._outbox.send(as_bytes(announcement), rank, Tag.COMMAND)
        if len(segments):
            tables.append(segments)
        if refines and self._refiner is not None:
            tables.append(np.concatenate([self._refiner.rows, self._refiner.columns]))
        for table in tables:
            self._outbox.send(as_bytes(table), rank, Tag.PLAN)

    def send_digit(self, left: NDArray[Any] | None, right: NDArray[Any]) -> None:
        """Send one digit plane of each operand; plain blocks leave before any is encoded.

        Parameters
        ----------
        left : ndarray, shape (n, k), or None
            Digit plane of A, C-contiguous, unchanged until the job is settled; None if held.
        right : ndarray, shape (k, p)
            Digit plane of B, likewise.
        """
        for rank in self._blocks:
            shared = self._sharing.arrays_for(rank) is not None
            self._outbox.send(STANDS if shared else right, rank, Tag.PLANE)
            if left is not None and not shared:
                send_plain(self._outbox, self._plan, rank, self._blocks[rank], left)
        if left is not None:
            send_combined(self._outbox, self._plan, self._blocks, left)

    def purge(self, unit: int, ranks: Sequence[int]) -> None:
        """Tell workers to drop the tasks of a unit (all if negative) not yet begun."""
        order = as_bytes(header(Command.PURGE, job=self._job, unit=unit))
        for rank in ranks:
            self._outbox.send(order, rank, Tag.COMMAND)

    def settle(self) -> None:
        """Wait until everything has left and let go of the buffers."""
        self._outbox.flush()
