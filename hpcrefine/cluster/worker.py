"""The loop of a worker rank: it takes commands, the products among them, until told to stop."""

import numpy as np
from mpi4py import MPI

from hpcrefine.cluster.arena import Attachments, accept
from hpcrefine.cluster.backoff import Backoff, wait_all
from hpcrefine.cluster.inventory import facts
from hpcrefine.cluster.messages import receive_table
from hpcrefine.cluster.planes import Arrivals, LeftPlanes
from hpcrefine.cluster.protocol import (
    BLOCK,
    HEADER,
    MASTER,
    SEGMENT,
    Command,
    Tag,
    as_bytes,
)
from hpcrefine.cluster.serving import Scratch, Serving
from hpcrefine.cluster.survey import answer
from hpcrefine.errors import InputError
from hpcrefine.kernels import Kernel, choose_kernel


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
        self._memory: Attachments | None = None
        self._scratch = Scratch()
        self._held: dict[int, LeftPlanes] = {}
        self._header = np.zeros(1, HEADER)
        self._command: MPI.Request | None = None
        self._job: Serving | None = None
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
        match command:
            case Command.CONFIGURE:
                self._configure(header["text"].decode())
            case Command.PURGE:
                if self._job is not None and self._job.number == header["job"]:
                    self._job.purge(int(header["unit"]))
            case Command.JOB:
                self._serve(header)
            case Command.SURVEY:
                answer(self._comm, header, self._memory)
            case Command.HOLD:
                self._hold(header)
            case Command.RELEASE:
                self._held.pop(int(header["held"]), None)
            case Command.FORGET if self._memory is not None:
                self._memory.forget(int(header["segment"]))
        return True

    def _listen(self) -> None:
        self._command = self._comm.Irecv(as_bytes(self._header), MASTER, Tag.COMMAND)

    def _configure(self, text: str) -> None:
        name, library, offer = text.split("\n")
        warning = error = ""
        try:
            choice = choose_kernel(name, library or None)
            self._kernel, warning = choice.kernel, choice.warning
        except InputError as problem:
            self._kernel, error = None, str(problem)
        self._memory, readable = accept(offer if self._share else "")
        row = facts(self._comm.rank, self._kernel, warning, error)
        row["shared"], row["readable"] = self._memory is not None, readable
        wait_all([self._comm.Isend(as_bytes(row), MASTER, Tag.FACTS)])

    def _serve(self, header: np.void) -> None:
        held = self._held.get(int(header["held"]))
        self._job = Serving(
            self._comm, header, self._kernel, self._memory, held, self._scratch, self.take_command
        )
        self._job.run()
        self._job = None

    def _hold(self, header: np.void) -> None:
        digits, inner = int(header["digits"]), int(header["inner"])
        blocks = receive_table(self._comm, BLOCK, header["blocks"])
        segments = receive_table(self._comm, SEGMENT, header["segments"])
        shared = None
        if self._memory is not None and len(segments):
            shape = digits, int(header["rows"]), inner
            shared = self._memory.array(segments[0], shape, np.int8)
        left = LeftPlanes(blocks, inner, np.dtype(np.int8), shared)
        arrivals = Arrivals(
            self._comm, digits, left, held=False, right=[], shared=shared is not None
        )
        Backoff().until(lambda: arrivals.progress() == digits)
        self._held[int(header["held"])] = left
