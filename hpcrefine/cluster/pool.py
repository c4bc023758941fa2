"""The public handle: workers serve in it, rank 0 multiplies with it."""

import operator
import socket
import sys
import time
import traceback
from types import TracebackType
from typing import Any

import mpi4py
import numpy as np
from mpi4py import MPI

from hpcrefine.cluster.backoff import wait_all
from hpcrefine.cluster.inventory import as_rows, mpi_library
from hpcrefine.cluster.master import Product
from hpcrefine.cluster.protocol import FACTS, MASTER, Command, Tag, as_bytes, header
from hpcrefine.cluster.worker import Worker
from hpcrefine.codes import make_code
from hpcrefine.errors import InputError
from hpcrefine.launch import available_cores
from hpcrefine.resolution.bounds import Bound, error_bounds
from hpcrefine.resolution.digits import Array, Quantised, check_matrix, quantise
from hpcrefine.resolution.layers import Layer, layering
from hpcrefine.resolution.refine import Refiner
from hpcrefine.schedule.plan import make_plan

_LEAVING = 0.5  # seconds
_QUANTISING_THREADS = 8  # the workers wait meanwhile; memory is the limit beyond a few


class Pool:
    """Ranks 1, 2, ... of a communicator as workers of rank 0.

    Used as a context: workers serve inside ``with`` until rank 0 leaves it, then skip its body.
    An exception that leaves the body on rank 0, or any on a worker, ends the whole run with rank,
    host and traceback on stderr (an :class:`InputError` ends it in order: it is the user's).

    Parameters
    ----------
    comm : MPI.Comm, optional
        Communicator of at least 2 ranks; default ``MPI.COMM_WORLD``.
    kernel : {"auto", "int8", "float32", "float64"}
        Kernel of the workers; rank 0's choice counts.
    library : str, optional
        Path of the oneDNN library.

    Examples
    --------
    >>> with hpcrefine.Pool() as pool:                      # doctest: +SKIP
    ...     if pool:
    ...         for r in pool.matmul(A, B, digits=2):
    ...             if r.error_bound < 1e-3:
    ...                 break
    """

    def __init__(
        self, comm: MPI.Comm | None = None, *, kernel: str = "auto", library: str | None = None
    ) -> None:
        self._comm = (MPI.COMM_WORLD if comm is None else comm).Dup()
        self._configuration: tuple[str, str | None] = (kernel, library)
        self._facts: list[dict[str, Any]] = []
        self._product: Product | None = None
        self._jobs = 0

    @property
    def size(self) -> int:
        """Number of ranks, master included."""
        return self._comm.size

    @property
    def workers(self) -> int:
        """Number of workers."""
        return self._comm.size - 1

    @property
    def mpi(self) -> dict[str, str]:
        """Versions of the MPI library and of mpi4py."""
        return {"mpi": mpi_library(), "mpi4py": mpi4py.__version__}

    def __enter__(self) -> "Pool | None":
        if self._comm.rank == MASTER:
            return self
        try:
            Worker(self._comm).serve()
        except BaseException:
            self._abort()
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._comm.rank == MASTER:
            if error is not None and not isinstance(error, InputError | SystemExit):
                self._abort()
            self.settle()
            stop = as_bytes(header(Command.STOP))
            wait_all([self._comm.Isend(stop, rank, Tag.COMMAND) for rank in self._ranks()])
        self._comm.Free()

    def configure(self, kernel: str = "auto", library: str | None = None) -> list[dict[str, Any]]:
        """Load a kernel on every worker.

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
        self._facts = []
        text = f"{kernel}\n{library or ''}".encode()
        order = as_bytes(header(Command.CONFIGURE, text=text))
        table = np.zeros(self.workers, FACTS)
        answers = [
            self._comm.Irecv(as_bytes(table[rank - 1 : rank]), rank, Tag.FACTS)
            for rank in self._ranks()
        ]
        orders = [self._comm.Isend(order, rank, Tag.COMMAND) for rank in self._ranks()]
        wait_all(orders + answers)
        rows = as_rows(table)
        for row in rows:
            if row["error"]:
                raise InputError(f"rank {row['rank']} on {row['host']}: {row['error']}")
        self._facts = rows
        return rows

    def matmul(
        self,
        a: Array,
        b: Array,
        *,
        digits: int = 2,
        digit_bits: int = 8,
        layers: str = "antidiagonal",
        scale: str = "row",
        truncate: int | None = None,
        tolerance: float | None = None,
        relative_tolerance: float | None = None,
        code: str = "uncoded",
        tasks: int | None = None,
        redundancy: float = 1.0,
        unit: str = "layer",
        split: str = "uniform",
        survive: int = 0,
    ) -> Product:
        """Multiply in layers of resolution.

        Parameters
        ----------
        a : ndarray, shape (n, k)
            float64, float32 or integers, in any memory order.
        b : ndarray, shape (k, p)
            The same.
        digits, digit_bits : int
            Each operand is rounded to 1..7 digits of 1..8 bits.
        layers : {"antidiagonal", "product", "square"}
            Which mini-jobs are released together.
        scale : {"row", "matrix"}
            One scale per row of a and column of b, or one per matrix.
        truncate : int, optional
            Mini-jobs with i + j above it are never computed.
        tolerance, relative_tolerance : float, optional
            Layers beyond the first whose bound meets it are never computed.
        code : {"uncoded", "mds"}
            How blocks of rows are coded.
        tasks : int, optional
            K; default four a worker, at most one a row.
        redundancy : float
            Omega; ceil(Omega K) tasks are computed.
        unit : {"layer", "minijob"}
            What is cut into K tasks.
        split : {"uniform"}
            Load split.
        survive : int
            Workers whose loss must leave all recoverable.

        Returns
        -------
        Product
            An iterator of :class:`~hpcrefine.cluster.master.Resolution`. The next product of this
            pool first waits until the workers have dropped what was left of this one.

        Raises
        ------
        InputError
            If operands or options are wrong; the message says which.
        """
        start = self._begin()
        digits, digit_bits = operator.index(digits), operator.index(digit_bits)
        _check_operands(a, b)
        threads = min(available_cores(), _QUANTISING_THREADS)
        left = quantise(a, digits, digit_bits, axis=1, scale=scale, threads=threads, name="a")
        right = quantise(b, digits, digit_bits, axis=0, scale=scale, threads=threads, name="b")
        planned = layering(layers, digits, None if truncate is None else operator.index(truncate))
        planned, bounds = _enough(planned, left, right, tolerance, relative_tolerance)
        count = min(a.shape[0], 4 * self.workers) if tasks is None else operator.index(tasks)
        plan = make_plan(
            (a.shape[0], a.shape[1], b.shape[1]),
            planned,
            make_code(code, count, float(redundancy)),
            self.workers,
            digit_bits=digit_bits,
            unit=unit,
            split=split,
            survive=survive,
        )
        product = Product(self._comm, self._jobs, plan, bounds, Refiner(left, right), start)
        self._product = product
        for digit in range(plan.digits):
            product.send_digit(left.planes[digit], right.planes[digit])
        return product

    def oneshot(self, a: Array, b: Array, *, tasks: int | None = None) -> Product:
        """Multiply in float64 BLAS on the workers, uncoded, all or nothing.

        Parameters
        ----------
        a, b : ndarray, shapes (n, k) and (k, p)
            Operands; not to be changed before the result is there.
        tasks : int, optional
            Blocks of rows; default one a worker.

        Raises
        ------
        InputError
            If operands or options are wrong; the message says which.
        """
        start = self._begin()
        _check_operands(a, b)
        shape = (a.shape[0], a.shape[1], b.shape[1])
        code = make_code("uncoded", min(self.workers if tasks is None else tasks, a.shape[0]))
        plan = make_plan(shape, (Layer(0, ((0, 0),), 1.0),), code, self.workers)
        unknown = (Bound(np.nan, np.nan),)
        product = Product(self._comm, self._jobs, plan, unknown, None, start)
        self._product = product
        product.send_digit(np.ascontiguousarray(a, np.float64), np.ascontiguousarray(b, np.float64))
        return product

    def settle(self) -> None:
        """Wait until nothing of the last product is in flight."""
        if self._product is not None:
            self._product.settle()

    def _begin(self) -> float:
        self.settle()
        self._product = None
        if not self._facts:
            self.configure(*self._configuration)
        self._jobs += 1
        return MPI.Wtime()

    def _ranks(self) -> range:
        return range(1, self._comm.size)

    def _abort(self) -> None:
        rank, host = self._comm.rank, socket.gethostname()
        print(
            f"hpcrefine: rank {rank} on {host} failed:\n{traceback.format_exc()}",
            file=sys.stderr,
            flush=True,
        )
        self._comm.Abort(1)


def _check_operands(a: Array, b: Array) -> None:
    check_matrix(a, "a")
    check_matrix(b, "b")
    if a.shape[1] != b.shape[0]:
        raise InputError(
            f"operands: found a of shape {a.shape} and b of shape {b.shape}, expected as many "
            "columns of a as rows of b"
        )


def _enough(
    layers: tuple[Layer, ...],
    left: Quantised,
    right: Quantised,
    tolerance: float | None,
    relative: float | None,
) -> tuple[tuple[Layer, ...], tuple[Bound, ...]]:
    """Keep the layers that a tolerance needs: bounds are known before anything is computed."""
    bounds = error_bounds(left, right, layers)
    for count, bound in enumerate(bounds, start=1):
        enough = tolerance is not None and bound.absolute <= tolerance
        if enough or (relative is not None and bound.relative <= relative):
            return layers[:count], bounds[:count]
    return layers, bounds


def leave_last() -> None:
    """Finalize and let the other ranks exit first: else the launcher comments on our exit code."""
    MPI.Finalize()
    time.sleep(_LEAVING)
