"""The loop of a worker rank: it takes commands and does tasks until told to stop."""

from typing import TYPE_CHECKING

import numpy as np
from mpi4py import MPI

from hpcrefine.cluster.arena import Attachments, accept
from hpcrefine.cluster.backoff import Backoff, wait_all
from hpcrefine.cluster.faults import Misbehaviour
from hpcrefine.cluster.inferring import Inferring, Remains, host
from hpcrefine.cluster.inventory import facts
from hpcrefine.cluster.messages import receive_table
from hpcrefine.cluster.planes import Arrivals, BlockPlanes
from hpcrefine.cluster.protocol import (
    BLOCK,
    HEADER,
    MASTER,
    SEGMENT,
    Command,
    Tag,
    as_bytes,
)
from hpcrefine.cluster.serving import Purged, Scratch, Serving
from hpcrefine.cluster.survey import answer
from hpcrefine.errors import InputError
from hpcrefine.kernels import Kernel, Peaks, choose_kernel

if TYPE_CHECKING:
    from hpcrefine.inference.evaluator import Evaluator

_POLLING_SHARE = 0.02  # of the time of a task, for what is still on its way


class _Product:
    """What the rounds of a product, or of an inference, have in common.

    Attributes
    ----------
    purged : Purged
        What need not be done.
    right : BlockPlanes or None
        Planes of B that came with the first round.
    remains : Remains
        States of samples that go on.
    """

    def __init__(self) -> None:
        self.purged = Purged()
        self.right: BlockPlanes | None = None
        self.remains: Remains = {}

    def purge(self, unit: int, task: int) -> None:
        """Drop a task of a unit; all tasks, all units, if negative."""
        self.purged.add(unit, task)
        if self.purged.everything:
            self.remains.clear()


class Worker:
    """Serves the master until told to stop.

    Parameters
    ----------
    comm : MPI.Comm
        Communicator of the pool; this rank is not 0.
    share : bool
        Whether to share memory with the master if that is possible.
    """

    def __init__(self, comm: MPI.Comm, *, share: bool) -> None:
        self._comm, self._share = comm, share
        self._kernel: Kernel | None = None
        self._wanted: tuple[str, str | None] = "auto", None
        self._memory: Attachments | None = None
        self._faults: Misbehaviour | None = None
        self._scratch = Scratch()
        self._held: dict[int, BlockPlanes] = {}
        self._networks: dict[int, Evaluator] = {}
        self._header = np.zeros(1, HEADER)
        self._command: MPI.Request | None = None
        self._stopped = False
        self._started = 0
        self._rounds: list[Serving | Inferring] = []
        self._products: dict[int, _Product] = {}

    def serve(self) -> None:
        """Take commands and do tasks until STOP."""
        self._listen()
        backoff = Backoff()
        while not self._stopped:
            if self._take_command() or self._work():
                backoff.reset()
            else:
                backoff.wait()
        if self._faults is not None:
            self._faults.end()
        wait_all([self._comm.Isend(np.empty(0, np.uint8), MASTER, Tag.LEAVE)])

    def _take_command(self) -> bool:
        """Take one command if there is one; say whether there was."""
        if self._command is None or not self._command.Test():
            return False
        header = self._header[0].copy()
        command = Command(int(header["command"]))
        if command is Command.STOP:
            self._stopped, self._command = True, None
            return True
        self._listen()
        match command:
            case Command.CONFIGURE:
                self._configure(header["text"].decode())
            case Command.PURGE if product := self._products.get(int(header["job"])):
                product.purge(int(header["unit"]), int(header["task"]))
            case Command.JOB | Command.INFER:
                self._begin(header)
            case Command.START:
                self._started = int(header["job"])
            case Command.SURVEY:
                answer(self._comm, header, self._memory)
            case Command.HOLD:
                self._hold(header)
            case Command.RELEASE:
                self._held.pop(int(header["held"]), None)
                self._networks.pop(int(header["held"]), None)
            case Command.NETWORK:
                data = receive_table(self._comm, np.dtype(np.uint8), header["length"])
                self._networks[int(header["held"])] = host(data, *self._wanted)
            case Command.FORGET if self._memory is not None:
                self._memory.forget(int(header["segment"]))
            case Command.FAULTS:
                text = receive_table(self._comm, np.dtype(np.uint8), header["length"])
                self._faults = self._faults or Misbehaviour(self._comm.rank)
                self._faults.take(text.tobytes().decode())
        return True

    def _listen(self) -> None:
        self._command = self._comm.Irecv(as_bytes(self._header), MASTER, Tag.COMMAND)

    def _begin(self, header: np.void) -> None:
        """Begin a round; the first of a product lets go of those that get no more rounds."""
        job = int(header["job"])
        if job not in self._products:
            busy = {each.job for each in self._rounds} | set([*self._products][-1:])
            self._products = {j: each for j, each in self._products.items() if j in busy}
            self._products[job] = _Product()
        if not header["gated"]:
            self._started = max(self._started, job)
        serve = self._serve if header["command"] == Command.JOB else self._infer
        self._rounds.append(serve(header, self._products[job]))

    def _serve(self, header: np.void, product: _Product) -> Serving:
        begun = Serving(
            self._comm,
            header,
            kernel=self._kernel,
            memory=self._memory,
            held=self._held.get(int(header["held"])),
            right=None if header["right"] else product.right,
            purged=product.purged,
            scratch=self._scratch,
            faults=self._faults,
        )
        product.right = begun.right
        return begun

    def _infer(self, header: np.void, inference: _Product) -> Inferring:
        return Inferring(
            self._comm,
            header,
            evaluator=self._networks[int(header["held"])],
            remains=inference.remains,
            purged=inference.purged,
            faults=self._faults,
        )

    def _work(self) -> bool:
        """Do the first task for which all is here; say whether there was any."""
        self._rounds = [each for each in self._rounds if not each.finish()]
        ready = [each for each in self._rounds if each.may_begin(self._started)]
        start = MPI.Wtime()
        if not any(each.step() for each in sorted(ready, key=lambda each: (each.job, each.unit))):
            return False
        # Large messages move only while both ends call MPI.
        until = MPI.Wtime() + _POLLING_SHARE * (MPI.Wtime() - start)
        while not all(each.progress() for each in self._rounds) and MPI.Wtime() < until:
            pass
        return True

    def _configure(self, text: str) -> None:
        name, library, peaks, offer = text.split("\n")
        warning = error = ""
        self._wanted = name, library or None
        try:
            choice = choose_kernel(*self._wanted, Peaks(*map(int, peaks.split())))
            self._kernel, warning = choice.kernel, choice.warning
        except InputError as problem:
            self._kernel, error = None, str(problem)
        self._memory, readable = accept(offer if self._share else "")
        row = facts(self._comm.rank, self._kernel, warning, error)
        row["shared"], row["readable"] = self._memory is not None, readable
        wait_all([self._comm.Isend(as_bytes(row), MASTER, Tag.FACTS)])

    def _hold(self, header: np.void) -> None:
        digits = int(header["digits"])
        blocks = receive_table(self._comm, BLOCK, header["left"])
        segments = receive_table(self._comm, SEGMENT, header["segments"])
        shared = None
        if self._memory is not None and len(segments):
            shape = digits, int(header["rows"]), int(header["inner"])
            shared = self._memory.array(segments[0], shape, np.int8)
        left = BlockPlanes(blocks, np.dtype(np.int8), shared)
        arrivals = Arrivals(self._comm, Tag.PLANE, digits, left)
        Backoff().until(arrivals.progress)
        self._held[int(header["held"])] = left
