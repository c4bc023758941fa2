"""The serving loop of a worker rank.

A job goes: plan in, planes in (the next digit's receives are posted when those of the one before
are complete, so that nothing overtakes the most significant planes), tasks in order, one reply
each.
"""

from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcrefine.cluster.backoff import Backoff, wait_all
from hpcrefine.cluster.inventory import facts
from hpcrefine.cluster.messages import message
from hpcrefine.cluster.protocol import (
    BLOCK,
    HEADER,
    MASTER,
    MINIJOB,
    TASK,
    Command,
    Tag,
    as_bytes,
)
from hpcrefine.errors import InputError
from hpcrefine.kernels import Kernel, choose_kernel
from hpcrefine.kernels.task import compute_task

_RESULTS_IN_FLIGHT = 3
_POLLING_SHARE = 0.02  # of the time of a task, for what is still on its way


class Worker:
    """Serves the master until told to stop.

    Parameters
    ----------
    comm : MPI.Comm
        Communicator of the pool; this rank is not 0.
    """

    def __init__(self, comm: MPI.Comm) -> None:
        self._comm = comm
        self._kernel: Kernel | None = None
        self._header = np.zeros(1, HEADER)
        self._command: MPI.Request | None = None
        self._job: _Job | None = None
        self._stopped = False

    def serve(self) -> None:
        """Take commands until STOP."""
        self._listen()
        backoff = Backoff()
        while not self._stopped:
            if self.take_command():
                backoff.reset()
            else:
                backoff.wait()

    def take_command(self) -> bool:
        """Take one command if there is one; say whether there was."""
        if self._command is None or not self._command.Test():
            return False
        header = self._header[0].copy()
        command = Command(int(header["command"]))
        if command is Command.STOP:
            self._stopped, self._command = True, None
            return True
        self._listen()
        if command is Command.CONFIGURE:
            self._configure(header["text"].decode())
        elif command is Command.PURGE:
            if self._job is not None and self._job.number == header["job"]:
                self._job.purge(int(header["unit"]))
        elif command is Command.JOB:
            self._job = _Job(self, self._comm, self._kernel, header)
            self._job.run()
            self._job = None
        return True

    def _listen(self) -> None:
        self._command = self._comm.Irecv(as_bytes(self._header), MASTER, Tag.COMMAND)

    def _configure(self, text: str) -> None:
        name, _, library = text.partition("\n")
        warning = error = ""
        try:
            choice = choose_kernel(name, library or None)
            self._kernel, warning = choice.kernel, choice.warning
        except InputError as problem:
            self._kernel, error = None, str(problem)
        row = facts(self._comm.rank, self._kernel, warning, error)
        wait_all([self._comm.Isend(as_bytes(row), MASTER, Tag.FACTS)])


class _Job:
    """One product, as a worker sees it."""

    def __init__(
        self, worker: Worker, comm: MPI.Comm, kernel: Kernel | None, header: np.void
    ) -> None:
        self.number = int(header["job"])
        self._worker, self._comm, self._kernel, self._header = worker, comm, kernel, header
        self._blocks = self._table(BLOCK, header["blocks"])
        self._minijobs = self._table(MINIJOB, header["minijobs"])
        self._tasks = self._table(TASK, header["tasks"])
        self._planes = _Planes(comm, header, self._blocks, kernel)
        self._purged: set[int] = set()
        self._all_purged = False
        self._last_seconds = 0.0
        self._replies: list[tuple[MPI.Request, NDArray[Any]]] = []

    def _table(self, dtype: np.dtype[np.void], rows: int) -> NDArray[np.void]:
        table = np.zeros(int(rows), dtype)
        wait_all([self._comm.Irecv(as_bytes(table), MASTER, Tag.PLAN)])
        return table

    def purge(self, unit: int) -> None:
        """Drop the tasks of a unit, or of all if it is negative."""
        self._all_purged |= unit < 0
        self._purged.add(unit)

    def run(self) -> None:
        """Reply to every task, then report."""
        seconds = np.full(len(self._tasks), np.nan)
        for index, task in enumerate(self._tasks):
            self._wait_for_planes(task)
            if self._dropped(task):
                self._reply(np.empty(0, np.uint8))
                continue
            start = MPI.Wtime()
            result = self._compute(task)
            seconds[index] = self._last_seconds = MPI.Wtime() - start
            self._reply(result)
        Backoff().until(self._finish)
        wait_all([request for request, _ in self._replies])
        wait_all([self._comm.Isend(seconds, MASTER, Tag.REPORT)])

    def _dropped(self, task: np.void) -> bool:
        return self._all_purged or int(task["unit"]) in self._purged

    def _cells(self, task: np.void) -> list[tuple[int, int]]:
        mine = self._minijobs[self._minijobs["unit"] == task["unit"]]
        return [(int(i), int(j)) for i, j in zip(mine["i"], mine["j"], strict=True)]

    def _wait_for_planes(self, task: np.void) -> None:
        digit = max(max(cell) for cell in self._cells(task))

        Backoff().until(lambda: self._poll() > digit or self._dropped(task))
        enough = MPI.Wtime() + _POLLING_SHARE * self._last_seconds
        while not self._finish() and not self._dropped(task) and MPI.Wtime() < enough:
            pass  # some MPIs handle one queued message a call: a purge may stand behind planes

    def _poll(self) -> int:
        """Take commands and planes; return how many digits are here."""
        while self._worker.take_command():
            pass
        return self._planes.progress()

    def _finish(self) -> bool:
        return self._poll() == int(self._header["digits"])

    def _compute(self, task: np.void) -> NDArray[Any]:
        rows = int(self._blocks["rows"][task["block"]])
        cells, columns = self._cells(task), int(self._header["columns"])
        if self._header["floating"]:
            a = self._planes.left(0, int(task["block"]))[0]
            return np.asarray(a @ self._planes.right(0))
        if self._kernel is None:
            raise RuntimeError("a job came before a kernel was configured")
        out = np.empty(
            (len({i + j for i, j in cells}), rows, columns), np.dtype(f"i{task['itemsize']}")
        )
        left = [self._planes.left(i, int(task["block"])) for i in range(1 + max(map(max, cells)))]
        right = [self._planes.right(j) for j in range(1 + max(map(max, cells)))]
        compute_task(self._kernel, left, right, cells, out, int(self._header["digit_peak"]))
        return out

    def _reply(self, result: NDArray[Any]) -> None:
        if len(self._replies) >= _RESULTS_IN_FLIGHT:
            oldest, _ = self._replies.pop(0)
            wait_all([oldest])
        self._replies.append((self._comm.Isend(message(result), MASTER, Tag.RESULT), result))


class _Planes:
    """Digit planes as they arrive, loaded into the kernel's form when first used."""

    def __init__(
        self,
        comm: MPI.Comm,
        header: np.void,
        blocks: NDArray[np.void],
        kernel: Kernel | None,
    ) -> None:
        self._comm, self._blocks, self._digits = comm, blocks, int(header["digits"])
        self._inner, self._columns = int(header["inner"]), int(header["columns"])
        self._dtype = np.dtype(np.float64 if header["floating"] else np.int8)
        self._kernel = None if header["floating"] else kernel
        self._right: list[NDArray[Any]] = []
        self._left: list[list[NDArray[Any]]] = []
        self._loaded: dict[tuple[int, int], list[NDArray[Any]]] = {}
        self._requests: list[MPI.Request] = []
        self._arrived = 0
        self._post()

    def progress(self) -> int:
        """Return how many digits are here, posting the receives of the next one."""
        while self._arrived < self._digits and MPI.Request.Testall(self._requests):
            self._arrived += 1
            if self._arrived < self._digits:
                self._post()
        return self._arrived

    def left(self, digit: int, block: int) -> list[NDArray[Any]]:
        """Limbs of a digit of a block of A."""
        return self._load(digit, block, list(self._left[digit][block]))

    def right(self, digit: int) -> NDArray[Any]:
        """Digit plane of B."""
        return self._load(digit, -1, [self._right[digit]])[0]

    def _load(self, digit: int, place: int, planes: list[NDArray[Any]]) -> list[NDArray[Any]]:
        if self._kernel is None:
            return planes
        key = (digit, place)
        if key not in self._loaded:
            self._loaded[key] = [self._kernel.load(plane) for plane in planes]
        return self._loaded[key]

    def _post(self) -> None:
        self._right.append(np.empty((self._inner, self._columns), self._dtype))
        self._left.append(
            [
                np.empty((int(limbs), int(rows), self._inner), self._dtype)
                for rows, limbs in self._blocks
            ]
        )
        buffers = [self._right[-1], *self._left[-1]]
        self._requests = [
            self._comm.Irecv(message(buffer), MASTER, Tag.PLANE) for buffer in buffers
        ]
