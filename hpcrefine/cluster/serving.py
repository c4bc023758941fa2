"""One product, as a worker sees it.

A job goes: plan in, planes in, tasks in order, one reply each, a report. Where memory is shared
with the master, planes are read and results written where they belong, and the replies only say
so; if the code has no redundancy, the worker also refines its blocks, while they are in cache, so
that the master need not touch the product at all.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcrefine.cluster.arena import Attachments
from hpcrefine.cluster.backoff import Backoff, wait_all
from hpcrefine.cluster.messages import message, receive_table
from hpcrefine.cluster.planes import Arrivals, LeftPlanes
from hpcrefine.cluster.protocol import BLOCK, MASTER, MINIJOB, TASK, Tag
from hpcrefine.cluster.shared import Shared
from hpcrefine.kernels import Kernel
from hpcrefine.kernels.task import compute_task

_RESULTS_IN_FLIGHT = 3
_POLLING_SHARE = 0.02  # of the time of a task, for what is still on its way
_DONE = np.ones(1, np.uint8)
_PURGED = np.empty(0, np.uint8)


class Scratch:
    """Memory that is used again and again: fresh pages cost time."""

    def __init__(self) -> None:
        self._buffer = np.empty(0, np.uint8)

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array of any content; the next call overwrites it."""
        nbytes = math.prod(shape) * dtype.itemsize
        if self._buffer.nbytes < nbytes:
            self._buffer = np.empty(nbytes, np.uint8)
        return self._buffer[:nbytes].view(dtype).reshape(shape)


class Serving:
    """Serves one product.

    Parameters
    ----------
    comm : MPI.Comm
        Communicator of the pool.
    header : HEADER
        The command that began it.
    kernel : Kernel or None
        Multiplies digit planes.
    memory : Attachments or None
        The master's segments.
    held : LeftPlanes or None
        Planes of A that are here already.
    scratch : Scratch
        For integers that nobody keeps.
    take_command : callable
        Takes one command if there is one, and says whether there was.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        header: np.void,
        kernel: Kernel | None,
        memory: Attachments | None,
        held: LeftPlanes | None,
        scratch: "Scratch",
        take_command: Callable[[], bool],
    ) -> None:
        self.number = int(header["job"])
        self._comm, self._header, self._take_command = comm, header, take_command
        self._floating = bool(header["floating"])
        self._kernel = None if self._floating else kernel
        self._blocks = receive_table(comm, BLOCK, header["blocks"])
        minijobs = receive_table(comm, MINIJOB, header["minijobs"])
        self._tasks = receive_table(comm, TASK, header["tasks"])
        self._minijobs: dict[int, list[tuple[int, int]]] = {}
        for unit, i, j in minijobs.tolist():
            self._minijobs.setdefault(unit, []).append((i, j))
        self._first_unit: dict[int, int] = {}
        for task in self._tasks:
            self._first_unit.setdefault(int(task["layer"]), int(task["unit"]))
        self._shared = Shared(comm, header, memory, held=held is not None)
        self._planes = self._arrivals(held)
        self._purged: set[int] = set()
        self._all_purged = False
        self._last_seconds = 0.0
        self._scratch = scratch
        self._replies: list[tuple[MPI.Request, NDArray[Any]]] = []

    def purge(self, unit: int) -> None:
        """Drop the tasks of a unit, or of all if it is negative."""
        self._all_purged |= unit < 0
        self._purged.add(unit)

    def run(self) -> None:
        """Reply to every task, then report."""
        seconds = np.full((len(self._tasks), 2), np.nan)
        for index, task in enumerate(self._tasks):
            self._wait_for_planes(task)
            if self._all_purged or int(task["unit"]) in self._purged:
                self._reply(_PURGED)
                continue
            start = MPI.Wtime()
            result = self._compute(task)
            computed = MPI.Wtime()
            self._refine(task, result)
            refined = MPI.Wtime()
            seconds[index] = computed - start, refined - computed
            self._last_seconds = refined - start
            in_place = int(self._blocks["start"][task["block"]]) >= 0 and self._shared.any
            self._reply(_DONE if in_place else result)
        Backoff().until(self._finish)
        wait_all([request for request, _ in self._replies])
        wait_all([self._comm.Isend(seconds, MASTER, Tag.REPORT)])

    def _arrivals(self, held: LeftPlanes | None) -> Arrivals:
        header, shared = self._header, self._shared
        digits, columns = int(header["digits"]), int(header["columns"])
        inner, dtype = int(header["inner"]), np.dtype(np.float64 if self._floating else np.int8)
        if held is None:
            held_already, left = False, LeftPlanes(self._blocks, inner, dtype, shared.left)
        else:
            held_already, left = True, held
        if shared.right is None:
            right = [np.empty((inner, columns), dtype) for _ in range(digits)]
        else:
            right = list(shared.right)
        return Arrivals(self._comm, digits, left, held=held_already, right=right, shared=shared.any)

    def _wait_for_planes(self, task: np.void) -> None:
        """Take what has arrived; wait until the task has its planes or is dropped.

        Large messages move only while both ends call MPI, so a little time between tasks goes to
        the planes that later tasks need.
        """
        needed = 1 + max(max(cell) for cell in self._minijobs[int(task["unit"])])
        deadline = MPI.Wtime() + _POLLING_SHARE * self._last_seconds
        while self._poll() < int(self._header["digits"]) and MPI.Wtime() < deadline:
            pass
        Backoff().until(
            lambda: self._poll() >= needed or self._all_purged or int(task["unit"]) in self._purged
        )

    def _poll(self) -> int:
        """Take commands and planes; return how many digits are here."""
        while self._take_command():
            pass
        return self._planes.progress()

    def _finish(self) -> bool:
        return self._poll() == int(self._header["digits"])

    def _compute(self, task: np.void) -> NDArray[Any]:
        block, cells = int(task["block"]), self._minijobs[int(task["unit"])]
        if self._floating:
            a, b = self._planes.left.limbs(0, block, None)[0], self._planes.right(0, None)
            rows = self._rows(block)
            return np.matmul(a, b, out=self._shared.values[0][rows] if self._shared.any else None)
        if self._kernel is None:
            raise RuntimeError("a job came before a kernel was configured")
        digits = range(1 + max(map(max, cells)))
        left = [self._planes.left.limbs(i, block, self._kernel) for i in digits]
        right = [self._planes.right(j, self._kernel) for j in digits]
        out = self._place(task, len({i + j for i, j in cells}))
        compute_task(
            self._kernel, left, right, cells, out, 1 << (int(self._header["digit_bits"]) - 1)
        )
        return out

    def _rows(self, block: int) -> slice:
        start = int(self._blocks["start"][block])
        return slice(start, start + int(self._blocks["rows"][block]))

    def _place(self, task: np.void, groups: int) -> NDArray[Any]:
        """Return where the integers of a task go."""
        rows = self._rows(int(task["block"]))
        shape = groups, rows.stop - rows.start, int(self._header["columns"])
        dtype = np.dtype(f"i{task['itemsize']}")
        if rows.start >= 0 and self._shared.stores:
            store = self._shared.stores[int(task["unit"])].view(dtype)
            first = groups * rows.start * shape[2]
            return store[first : first + groups * shape[1] * shape[2]].reshape(shape)
        if self._shared.refiner is None:
            return np.empty(shape, dtype)
        return self._scratch.array(shape, dtype)

    def _refine(self, task: np.void, integers: NDArray[Any]) -> None:
        """Write the next resolution of the task's block, if that is our business."""
        if self._shared.refiner is None:
            return
        unit, layer = int(task["unit"]), int(task["layer"])
        value = self._shared.values[layer]
        before: NDArray[np.float64] | None = value
        if unit == self._first_unit[layer]:
            before = self._shared.values[layer - 1] if layer else None
        significances = sorted({i + j for i, j in self._minijobs[unit]})
        rows = self._rows(int(task["block"]))
        self._shared.refiner.add(rows, integers, significances, before, value)

    def _reply(self, result: NDArray[Any]) -> None:
        if len(self._replies) >= _RESULTS_IN_FLIGHT:
            oldest, _ = self._replies.pop(0)
            wait_all([oldest])
        self._replies.append((self._comm.Isend(message(result), MASTER, Tag.RESULT), result))
