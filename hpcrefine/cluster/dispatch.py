"""Sending a job to the workers: header, plan, planes, most significant digit first."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcrefine.cluster.backoff import wait_all
from hpcrefine.cluster.messages import message
from hpcrefine.cluster.protocol import BLOCK, MINIJOB, TASK, Command, Tag, as_bytes, header
from hpcrefine.schedule.plan import Plan


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
    floating : bool
        Planes are float64 (one-shot) instead of int8 digits.

    Attributes
    ----------
    tasks : dict of int to list of (int, int)
        For each worker's rank, its (unit, coded task) pairs in the order of computation.
    """

    def __init__(self, comm: MPI.Comm, job: int, plan: Plan, *, floating: bool) -> None:
        self._comm, self._plan, self._job = comm, plan, job
        self._requests: list[MPI.Request] = []
        self._buffers: list[NDArray[Any]] = []
        self._blocks: dict[int, list[int]] = {}
        for task, owner in enumerate(plan.owners):
            self._blocks.setdefault(owner + 1, []).append(task)
        self.tasks = {
            rank: [(unit.index, task) for unit in plan.units for task in mine]
            for rank, mine in self._blocks.items()
        }
        for rank, mine in self._blocks.items():
            self._announce(rank, mine, floating)

    def _announce(self, rank: int, mine: list[int], floating: bool) -> None:
        plan, code = self._plan, self._plan.code
        blocks = np.array([(plan.rows(task), code.limbs(task)) for task in mine], BLOCK)
        cells = [(unit.index, i, j) for unit in plan.units for i, j in unit.minijobs]
        tasks = np.array(
            [
                (unit, mine.index(task), plan.result_dtype(plan.units[unit], task).itemsize)
                for unit, task in self.tasks[rank]
            ],
            TASK,
        )
        announcement = header(
            Command.JOB,
            job=self._job,
            digits=plan.digits,
            digit_peak=plan.digit_peak,
            floating=floating,
            inner=plan.shape[1],
            columns=plan.shape[2],
            blocks=len(blocks),
            minijobs=len(cells),
            tasks=len(tasks),
        )
        self._send(as_bytes(announcement), rank, Tag.COMMAND)
        for table in (blocks, np.array(cells, MINIJOB), tasks):
            self._send(as_bytes(table), rank, Tag.PLAN)

    def send_digit(self, left: NDArray[Any], right: NDArray[Any]) -> None:
        """Send one digit plane of each operand; plain blocks leave before any is encoded.

        Parameters
        ----------
        left : ndarray, shape (n, k)
            Digit plane of A, C-contiguous, unchanged until the job is settled.
        right : ndarray, shape (k, p)
            Digit plane of B, likewise.
        """
        plan, code = self._plan, self._plan.code
        combined: list[tuple[int, int]] = []
        for rank, mine in self._blocks.items():
            self._send(right, rank, Tag.PLANE)
            for task in mine:
                block = code.block(task)
                if block is None:
                    combined.append((rank, task))
                else:
                    self._send(left[plan.blocks.slices[block]], rank, Tag.PLANE)
        for rank, task in combined:
            self._send(code.encode(left, task), rank, Tag.PLANE)

    def purge(self, unit: int, ranks: Sequence[int]) -> None:
        """Tell workers to drop the tasks of a unit (all if negative) not yet begun."""
        order = as_bytes(header(Command.PURGE, job=self._job, unit=unit))
        for rank in ranks:
            self._send(order, rank, Tag.COMMAND)

    def settle(self) -> None:
        """Wait until everything has left and let go of the buffers."""
        wait_all(self._requests)
        self._requests, self._buffers = [], []

    def _send(self, buffer: NDArray[Any], rank: int, tag: Tag) -> None:
        self._buffers.append(buffer)
        self._requests.append(self._comm.Isend(message(buffer), rank, tag))
