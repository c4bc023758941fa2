"""One round of a product, as a worker sees it.

A round goes: plan in, planes in, tasks in order, one reply each, a report. Where memory is shared
with the master, planes are read and results written where they belong, and the replies only say
so; if nothing can come of a block but what one worker makes of it, the worker also refines it,
while it is in cache, so that the master need not touch the product at all.
"""

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcrefine.cluster.arena import Attachments
from hpcrefine.cluster.backoff import wait_all
from hpcrefine.cluster.faults import Misbehaviour
from hpcrefine.cluster.messages import message, receive_table
from hpcrefine.cluster.planes import Arrivals, BlockPlanes
from hpcrefine.cluster.protocol import (
    ALL,
    BLOCK,
    MASTER,
    MINIJOB,
    MOST_DONE,
    TASK,
    Tag,
    round_tag,
)
from hpcrefine.cluster.shared import Shared
from hpcrefine.kernels import Kernel
from hpcrefine.kernels.task import compute_task

_RESULTS_IN_FLIGHT = 3
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


class Purged:
    """The tasks of a product that are not wanted any more."""

    def __init__(self) -> None:
        self._tasks: set[tuple[int, int]] = set()

    def add(self, unit: int, task: int) -> None:
        """Drop a task of a unit; all tasks, all units, if negative."""
        self._tasks.add((max(unit, ALL), max(task, ALL)))

    @property
    def everything(self) -> bool:
        """Whether nothing of the product is wanted."""
        return (ALL, ALL) in self._tasks

    def holds(self, unit: int, tasks: Sequence[int]) -> bool:
        """Say whether none of these tasks of a unit is wanted."""
        if not self._tasks:
            return False
        if not self._tasks.isdisjoint({(ALL, ALL), (unit, ALL)}):
            return True
        return all((unit, task) in self._tasks for task in tasks)


class Serving:
    """Serves one round of a product.

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
    held : BlockPlanes or None
        Planes of A that are here already.
    right : BlockPlanes or None
        Planes of B from an earlier round.
    purged : Purged
        What need not be done of the product.
    scratch : Scratch
        For integers that nobody keeps.
    faults : Misbehaviour or None
        How this worker is to fail.

    Attributes
    ----------
    job : int
        The product.
    right : BlockPlanes
        Planes of B, for later rounds.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        header: np.void,
        *,
        kernel: Kernel | None,
        memory: Attachments | None,
        held: BlockPlanes | None,
        right: BlockPlanes | None,
        purged: Purged,
        scratch: Scratch,
        faults: Misbehaviour | None,
    ) -> None:
        self._comm, self._header, self._number = comm, header, int(header["round"])
        self.job = int(header["job"])
        self._floating = bool(header["floating"])
        self._kernel = None if self._floating else kernel
        self._purged, self._scratch, self._faults = purged, scratch, faults
        self._left_blocks = self._table(BLOCK, "left")
        right_blocks = self._table(BLOCK, "right")
        minijobs = self._table(MINIJOB, "minijobs")
        self._tasks = self._table(TASK, "tasks")
        self._minijobs: dict[int, list[tuple[int, int]]] = {}
        for unit, i, j in minijobs.tolist():
            self._minijobs.setdefault(unit, []).append((i, j))
        self._first_unit: dict[int, int] = {}
        for task in self._tasks:
            self._first_unit.setdefault(int(task["layer"]), int(task["unit"]))
        self._shared = Shared(comm, header, memory, held=held is not None)
        dtype = np.dtype(np.float64 if self._floating else np.int8)
        self._left = held or BlockPlanes(self._left_blocks, dtype, self._shared.left)
        if held is not None:
            self._left_blocks = held.blocks
        self.right = right or BlockPlanes(right_blocks, dtype, self._shared.right)
        fresh = ([] if right else [self.right]) + ([] if held else [self._left])
        self._arrivals = Arrivals(comm, self._tag(Tag.PLANE), int(header["digits"]), *fresh)
        self._runs = deque(self._cut_into_runs())
        self._seconds = np.full((len(self._tasks), 2), np.nan)
        self._done, self._flushed = np.empty(0, np.uint8), 0.0
        self._replies: list[tuple[MPI.Request, NDArray[Any]]] = []

    @property
    def unit(self) -> int:
        """Unit of the next task; beyond all if there is none."""
        return int(self._tasks["unit"][self._runs[0].start]) if self._runs else 1 << 62

    def may_begin(self, started: int) -> bool:
        """Say whether its tasks may be done, or dropped, when that product was started last."""
        return self.job <= started or self._purged.everything

    def progress(self) -> bool:
        """Take planes that have arrived; say whether all have."""
        return self._arrivals.progress()

    def step(self) -> bool:
        """Do the next tasks, or drop them if they were purged; say whether that was possible."""
        if not self._runs:
            return False
        unit, run = self.unit, self._runs[0]
        if self._purged.holds(unit, self._tasks["task"][run.start : run.stop].tolist()):
            self._reply(self._runs.popleft(), None)
            return True
        needed = 1 + max(max(cell) for cell in self._minijobs[unit])
        if min(self._left.here, self.right.here) < needed:
            self._flush()
            return False
        self._do(self._runs.popleft())
        return True

    def finish(self) -> bool:
        """Take planes that have arrived; end the round, and say so, if nothing of it is left."""
        if not self._arrivals.progress() or self._runs:
            return False
        self._flush()
        wait_all([request for request, _ in self._replies])
        wait_all([self._comm.Isend(self._seconds, MASTER, self._tag(Tag.REPORT))])
        return True

    def _table(self, dtype: np.dtype[Any], count: str) -> NDArray[Any]:
        return receive_table(self._comm, dtype, self._header[count], self._number)

    def _tag(self, tag: Tag) -> int:
        return round_tag(tag, self._number)

    def _do(self, run: range) -> None:
        start = MPI.Wtime()
        result = self._compute(run)
        if self._faults is not None:
            place = int(self._tasks["unit"][run.start]), int(self._tasks["task"][run.start])
            size = self._digit_products(run)
            position = int(self._header["position"])
            result = self._faults.after(self.job, position, place, size, result, start)
        computed = MPI.Wtime()
        self._refine(run, result)
        refined = MPI.Wtime()
        self._seconds[run.start : run.stop] = computed - start, refined - computed
        self._seconds[run.start : run.stop] /= len(run)
        self._reply(run, result)

    def _digit_products(self, run: range) -> float:
        """Return the size of a task, in digit products of full size."""
        task, header = self._tasks[run.start], self._header
        _, limbs, rows, inner = self._left_blocks[task["left"]]
        _, more, _, columns = self.right.blocks[task["right"]]
        whole = int(header["rows"]) * int(header["inner"]) * int(header["columns"])
        cells = len(self._minijobs[int(task["unit"])])
        return cells * int(limbs) * int(more) * int(rows) * int(inner) * int(columns) / whole

    def _cut_into_runs(self) -> list[range]:
        """Cut the tasks into runs of neighbours too small to be worth a call each.

        Only tasks of one unit whose results lie one behind the other in shared memory are joined.
        """
        units, lefts = self._tasks["unit"], self._tasks["left"]
        starts, rows = self._left_blocks["start"][lefts], self._left_blocks["rows"][lefts]
        in_place, rights = self._tasks["in_place"], self._tasks["right"]
        joined = np.zeros(len(units), bool)  # to the task before
        joined[1:] = (np.diff(units) == 0) & (np.diff(rights) == 0) & (np.diff(lefts) == 1)
        joined[1:] &= starts[1:] == starts[:-1] + rows[:-1]
        joined[1:] &= (in_place[1:] & in_place[:-1]).astype(bool)
        joined &= self._faults is None  # faults befall tasks
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

    def _compute(self, run: range) -> NDArray[Any]:
        task, lefts = self._tasks[run.start], self._blocks_of(run)
        rights = range(int(task["right"]), int(task["right"]) + 1)
        cells = self._minijobs[int(task["unit"])]
        if self._floating:
            a, b = self._left.limbs(0, lefts, None)[0], self.right.limbs(0, rights, None)[0]
            there = self._shared.values[0][self._rows(lefts)] if task["in_place"] else None
            product: NDArray[np.float64] = np.matmul(a, b, out=there)
            return product
        if self._kernel is None:
            raise RuntimeError("a job came before a kernel was configured")
        digits = range(1 + max(map(max, cells)))
        left = [self._left.limbs(i, lefts, self._kernel) for i in digits]
        right = [self.right.limbs(j, rights, self._kernel) for j in digits]
        shape = len({i + j for i, j in cells}), left[0][0].shape[0], right[0][0].shape[1]
        out = self._place(run, shape)
        compute_task(
            self._kernel, left, right, cells, out, 1 << (int(self._header["digit_bits"]) - 1)
        )
        return out

    def _blocks_of(self, run: range) -> range:
        first, last = self._tasks["left"][[run.start, run.stop - 1]].tolist()
        return range(first, last + 1)

    def _rows(self, blocks: range) -> slice:
        """Return the rows of the product that neighbouring blocks in shared memory cover."""
        first, last = self._left_blocks[blocks.start], self._left_blocks[blocks.stop - 1]
        return slice(int(first["start"]), int(last["start"] + last["rows"]))

    def _place(self, run: range, shape: tuple[int, int, int]) -> NDArray[Any]:
        """Return where the integers of a run of tasks go."""
        task = self._tasks[run.start]
        dtype = np.dtype(f"i{task['itemsize']}")
        if not task["in_place"]:
            return np.empty(shape, dtype)
        if not self._shared.stores:
            return self._scratch.array(shape, dtype)
        store = self._shared.stores[int(task["unit"])].view(dtype)
        first = shape[0] * self._rows(self._blocks_of(run)).start * shape[2]
        return store[first : first + math.prod(shape)].reshape(shape)

    def _refine(self, run: range, integers: NDArray[Any]) -> None:
        """Write the next resolution of the tasks' blocks, if that is our business."""
        task = self._tasks[run.start]
        if self._shared.refiner is None or not task["in_place"]:
            return
        unit, layer = int(task["unit"]), int(task["layer"])
        value = self._shared.values[layer]
        before: NDArray[np.float64] | None = value
        if unit == self._first_unit[layer]:
            before = self._shared.values[layer - 1] if layer else None
        significances = sorted({i + j for i, j in self._minijobs[unit]})
        rows = self._rows(self._blocks_of(run))
        self._shared.refiner.add(rows, integers, significances, before, value)

    def _reply(self, run: range, result: NDArray[Any] | None) -> None:
        if not self._tasks["in_place"][run.start]:
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
        self._replies.append((self._comm.Isend(message(buffer), MASTER, self._tag(tag)), buffer))
