"""The ranks of a pool: how workers come, are told of kernels and faults, and leave."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import mpi4py
import numpy as np
from mpi4py import MPI
from numpy.typing import DTypeLike, NDArray

from hpcrefine.cluster.commons import Commons
from hpcrefine.cluster.dispatch import Outbox
from hpcrefine.cluster.faults import order
from hpcrefine.cluster.inventory import configure_workers, mpi_library
from hpcrefine.cluster.leaving import abort, end_without_goodbye
from hpcrefine.cluster.protocol import MASTER, Command, Tag
from hpcrefine.cluster.roster import Roster
from hpcrefine.cluster.worker import Worker
from hpcrefine.errors import InputError, LostError
from hpcrefine.faults import Faults
from hpcrefine.kernels import Peaks
from hpcrefine.resolution.digits import Array

SHARED_MEMORY_VARIABLE = "HPCREFINE_SHARED_MEMORY"


class Staff(ABC):
    """Ranks 1, 2, ... of a communicator as workers of rank 0, whatever they work at.

    Parameters are those of :class:`~hpcrefine.cluster.pool.Pool`.
    """

    def __init__(
        self, comm: MPI.Comm | None, kernel: str, library: str | None, shared_memory: bool | None
    ) -> None:
        self._comm = (MPI.COMM_WORLD if comm is None else comm).Dup()
        self._configuration: tuple[str, str | None] = (kernel, library)
        wanted = os.environ.get(SHARED_MEMORY_VARIABLE) != "0"
        wanted = wanted if shared_memory is None else shared_memory
        self._share = wanted and hasattr(os, "memfd_create")
        self._roster = Roster(self._comm)
        self._outbox = Outbox(self._roster)
        self._commons = Commons(self._comm, self._roster, self._outbox)
        self._configured = False

    @abstractmethod
    def settle(self) -> None:
        """Wait until nothing is in flight."""

    @property
    def size(self) -> int:
        """Number of ranks, master included."""
        return self._comm.size

    @property
    def workers(self) -> int:
        """Number of workers."""
        return self._comm.size - 1

    @property
    def roster(self) -> Roster:
        """Who died, went silent or lied so far."""
        return self._roster

    def guard(self, *, timeout: float | None = None, lies: int = 3) -> None:
        """Say what is held against a worker.

        Parameters
        ----------
        timeout : float, optional
            Seconds after which a worker that owes an answer is given up; default: never.
        lies : int
            So many results found wrong (with ``verify``), and a worker is used no more.
        """
        self._roster.timeout, self._roster.lies = timeout, lies

    def clock(self) -> float:
        """Return the time on the clock of products and events, in seconds."""
        return MPI.Wtime()

    def inject(self, faults: Mapping[int, Faults], seed: int = 0) -> None:
        """Let workers fail on purpose from now on.

        Parameters
        ----------
        faults : mapping of int to Faults
            For each rank how it fails; the others do not.
        seed : int
            Of everything random in it.
        """
        self.settle()
        for rank in self._roster.living:
            text = order(faults.get(rank, Faults()), seed)
            self._outbox.command(Command.FAULTS, [rank], length=len(text))
            self._outbox.send(text, rank, Tag.PLAN)
        self._outbox.flush()

    @property
    def mpi(self) -> dict[str, str]:
        """Versions of the MPI library and of mpi4py."""
        return {"mpi": mpi_library(), "mpi4py": mpi4py.__version__}

    def __enter__(self) -> Self | None:
        if self._comm.rank == MASTER:
            self._roster.watch()
            return self
        try:
            Worker(self._comm, share=self._share).serve()
        except BaseException as error:
            abort(self._comm, error)
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._comm.rank == MASTER:
            if error is not None and not isinstance(error, InputError | LostError | SystemExit):
                abort(self._comm, error)
            try:
                parted = self._part()
            except BaseException as failure:
                abort(self._comm, failure)
            if not parted:
                end_without_goodbye(self._comm)
                return
        self._comm.Free()

    def _part(self) -> bool:
        """Have all workers leave; say whether all did."""
        self.settle()
        self._commons.close()
        self._outbox.command(Command.STOP, self._roster.living)
        self._outbox.flush()
        return self._roster.part()

    def configure(
        self, kernel: str = "auto", library: str | None = None, peaks: Peaks | None = None
    ) -> list[dict[str, Any]]:
        """Load a kernel on every worker.

        Parameters
        ----------
        kernel : {"auto", "int8", "float32", "float64"}
            Which.
        library : str, optional
            Path of the oneDNN library.
        peaks : Peaks, optional
            What it will multiply, and be checked on; default any 8-bit digits. Networks whose
            samples are shared out need no more than ``Peaks(255, 64)``.

        Returns
        -------
        list of dict
            For each worker: rank, pid, threads, host, cpus, kernel, and the warning that says why
            a faster kernel was passed over ("" if none was).

        Raises
        ------
        InputError
            If a worker cannot load the kernel asked for, or there are no workers.
        """
        if self.workers == 0:
            raise InputError(
                "ranks: found 1 rank, expected at least 2 (a master and a worker); start with "
                "mpiexec -n 3, or hpcrefine run -n 3"
            )
        self.settle()
        self._configured = False
        self._roster.require()
        rows = configure_workers(
            *(self._comm, self._roster, kernel, library, peaks or Peaks()), share=self._share
        )
        for row in rows:
            if row["error"]:
                raise InputError(f"rank {row['rank']} on {row['host']}: {row['error']}")
        self._commons.admit(rows)
        self._configured = True
        return rows

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> NDArray[Any]:
        """Return an array, of any content, where the workers on this node can read it.

        Operands in such arrays are quantised a little faster: the workers need not copy them.
        """
        self._ready()
        return self._commons.empty(shape, dtype)

    def place(self, matrix: Array) -> Array:
        """Return a copy of a matrix in an array from :meth:`empty`.

        Where that would not help the workers, it is the matrix itself.
        """
        self._ready()
        return self._commons.place(matrix)

    def _ready(self) -> None:
        if not self._configured:
            self.configure(*self._configuration)
