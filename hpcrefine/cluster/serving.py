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
from hpcrefine.cluster.protocol import BLOCK, MASTER, MINIJOB, MOST_DONE, TASK, Tag
from hpcrefine.cluster.shared import Shared
from hpcrefine.kernels import Kernel
from hpcrefine.kernels.task import compute_task

_RESULTS_IN_FLIGHT = 3
_POLLING_SHARE = 0.02  # of the time of a task, for what is still on its way
_PATIENCE = 2e-4  # seconds for which word of small tasks may wait for more of it
_WORTHWHILE = 1 << 25  # multiply-adds that make a kernel call of its own worthwhile
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
        self._done, self._flushed = np.empty(0, np.uint8), 0.0
        self._replies: list[tuple[MPI.Request, NDArray[Any]]] = []

    def purge(self, unit: int) -> None:
        """Drop the tasks of a unit, or of all if it is negative."""
        self._all_purged |= unit < 0
        self._purged.add(unit)

    def run(self) -> None:
        """Reply to every task, then report."""
        seconds = np.full((len(self._tasks), 2), np.nan)
        for run in self._runs():
            first = self._tasks[run.start]
            self._wait_for_planes(int(first["unit"]))
            in_place = self._in_place(int(first["block"]))
            if self._all_purged or int(first["unit"]) in self._purged:
                self._reply(run, in_place, None)
                continue
            start = MPI.Wtime()
            result = self._compute(run)
            computed = MPI.Wtime()
            self._refine(run, result)
            refined = MPI.Wtime()
            seconds[run.start : run.stop] = computed - start, refined - computed
            seconds[run.start : run.stop] /= len(run)
            self._last_seconds = refined - start
            self._reply(run, in_place, result)
        self._flush()
        Backoff().until(self._finish)
        wait_all([request for request, _ in self._replies])
        wait_all([self._comm.Isend(seconds, MASTER, Tag.REPORT)])

    def _in_place(self, block: int) -> bool:
        return self._shared.any and int(self._blocks["start"][block]) >= 0

    def _runs(self) -> list[range]:
        """Cut the tasks into runs of neighbours too small to be worth a call each.

        Only tasks of one unit whose results lie one behind the other in shared memory are joined.
        """
        units, blocks = self._tasks["unit"], self._tasks["block"]
        starts, rows = self._blocks["start"][blocks], self._blocks["rows"][blocks]
        joined = np.zeros(len(units), bool)  # to the task before
        joined[1:] = (np.diff(units) == 0) & (starts[1:] == starts[:-1] + rows[:-1])
        joined[1:] &= (starts[:-1] >= 0) & self._shared.any
        if self._shared.stores:
            groups = {
                unit: len({i + j for i, j in cells}) for unit, cells in self._minijobs.items()
            }
            joined &= np.array([groups[unit] == 1 for unit in units.tolist()], bool)
        row_work = int(self._header["inner"]) * int(self._header["columns"])
        most = max(1, _WORTHWHILE // max(1, row_work))
        runs, begin, height = [], 0, 0
        for place, (follows, more) in enumerate(zip(joined.tolist(), rows.tolist(), strict=True)):
            if place and not (follows and height + more <= most):
                runs.append(range(begin, place))
                begin, height = place, 0
            height += more
        return [*runs, range(begin, len(units))] if len(units) else []

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

    def _wait_for_planes(self, unit: int) -> None:
        """Take what has arrived; wait until the unit has its planes or is dropped.

        Large messages move only while both ends call MPI, so a little time between tasks goes to
        the planes that later tasks need.
        """
        needed = 1 + max(max(cell) for cell in self._minijobs[unit])

        def ready() -> bool:
            return self._poll() >= needed or self._all_purged or unit in self._purged

        deadline = MPI.Wtime() + _POLLING_SHARE * self._last_seconds
        while self._poll() < int(self._header["digits"]) and MPI.Wtime() < deadline:
            pass
        if not ready():
            self._flush()
            Backoff().until(ready)

    def _poll(self) -> int:
        """Take commands and planes; return how many digits are here."""
        while self._take_command():
            pass
        return self._planes.progress()

    def _finish(self) -> bool:
        return self._poll() == int(self._header["digits"])

    def _compute(self, run: range) -> NDArray[Any]:
        blocks, unit = self._blocks_of(run), int(self._tasks["unit"][run.start])
        cells, rows = self._minijobs[unit], self._rows(blocks)
        if self._floating:
            a, b = self._planes.left.limbs(0, blocks, None)[0], self._planes.right(0, None)
            return np.matmul(a, b, out=self._shared.values[0][rows] if self._shared.any else None)
        if self._kernel is None:
            raise RuntimeError("a job came before a kernel was configured")
        digits = range(1 + max(map(max, cells)))
        left = [self._planes.left.limbs(i, blocks, self._kernel) for i in digits]
        right = [self._planes.right(j, self._kernel) for j in digits]
        out = self._place(run, len({i + j for i, j in cells}))
        compute_task(
            self._kernel, left, right, cells, out, 1 << (int(self._header["digit_bits"]) - 1)
        )
        return out

    def _blocks_of(self, run: range) -> range:
        first, last = self._tasks["block"][[run.start, run.stop - 1]].tolist()
        return range(first, last + 1)

    def _rows(self, blocks: range) -> slice:
        """Return the rows of the product that neighbouring blocks cover, from 0 if combined."""
        starts, rows = self._blocks["start"], self._blocks["rows"]
        start = int(starts[blocks.start])
        return slice(start, start + int(rows[blocks.start : blocks.stop].sum()))

    def _place(self, run: range, groups: int) -> NDArray[Any]:
        """Return where the integers of a run of tasks go."""
        rows = self._rows(self._blocks_of(run))
        shape = groups, rows.stop - rows.start, int(self._header["columns"])
        dtype = np.dtype(f"i{self._tasks['itemsize'][run.start]}")
        if rows.start >= 0 and self._shared.stores:
            store = self._shared.stores[int(self._tasks["unit"][run.start])].view(dtype)
            first = groups * rows.start * shape[2]
            return store[first : first + math.prod(shape)].reshape(shape)
        if self._shared.refiner is None:
            return np.empty(shape, dtype)
        return self._scratch.array(shape, dtype)

    def _refine(self, run: range, integers: NDArray[Any]) -> None:
        """Write the next resolution of the tasks' blocks, if that is our business."""
        if self._shared.refiner is None:
            return
        unit, layer = int(self._tasks["unit"][run.start]), int(self._tasks["layer"][run.start])
        value = self._shared.values[layer]
        before: NDArray[np.float64] | None = value
        if unit == self._first_unit[layer]:
            before = self._shared.values[layer - 1] if layer else None
        significances = sorted({i + j for i, j in self._minijobs[unit]})
        rows = self._rows(self._blocks_of(run))
        self._shared.refiner.add(rows, integers, significances, before, value)

    def _reply(self, run: range, in_place: bool, result: NDArray[Any] | None) -> None:
        if not in_place:
            self._send(_PURGED if result is None else result, Tag.RESULT)
            return
        states = np.full(len(run), result is not None, np.uint8)
        self._done = np.concatenate([self._done, states])
        if len(self._done) >= MOST_DONE // 2 or MPI.Wtime() - self._flushed > _PATIENCE:
            self._flush()

    def _flush(self) -> None:
        """Send the bytes that are waiting."""
        for start in range(0, len(self._done), MOST_DONE):
            self._send(self._done[start : start + MOST_DONE], Tag.DONE)
        self._done, self._flushed = self._done[:0], MPI.Wtime()

    def _send(self, buffer: NDArray[Any], tag: Tag) -> None:
        if len(self._replies) >= _RESULTS_IN_FLIGHT:
            oldest, _ = self._replies.pop(0)
            wait_all([oldest])
        self._replies.append((self._comm.Isend(message(buffer), MASTER, tag), buffer))
