"""mpi4py.futures' MPIPoolExecutor: the usual way to give work to MPI ranks from Python.

Its product is the same float64 product that one-shot BLAS makes: one block of rows of A for each
worker and all of B, so that B travels to each once, submitted with ``starmap``, one BLAS thread a
worker, large buffers out of band (``use_pkl5``) instead of copied into pickles; results are joined
in the master. The same ranks serve the executor and hpcrefine in turn; starting either is not
counted. The executor comes from MPICommExecutor, which is MPIPoolExecutor on ranks that run
already.

Empty tasks tell what a task costs when it costs nothing: the executor gets calls of a function that
does nothing, one by one and in chunks of 100 (whose results come back together, so that no single
one can be used early); hpcrefine a product whose tasks are one multiply-add each. Their base is an
MPI ping-pong of 8 bytes in the same run. (``MPI4PY_FUTURES_BACKOFF`` makes no difference here.)

    python -m bench.pool_executor [--only tasks]
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import numpy as np
from mpi4py import MPI
from mpi4py.futures import MPICommExecutor, MPIPoolExecutor

from bench import start
from bench.case import Case, Contender, Outcome
from bench.contenders import Array, Problem, layered, numpy_product, oneshot
from bench.harness import Site, measure
from bench.turns import Turns, lead

RANKS = 3
_PINGPONG = "ping-pong"


def body(options: start.Options) -> None:
    """Run both cases."""
    turns = Turns({"executor": serve, _PINGPONG: echo})
    lead(turns, lambda: _measure(turns, options))


def serve(comm: MPI.Intracomm) -> None:
    """Serve one executor."""
    with MPICommExecutor(comm, 0):
        pass


@contextmanager
def executor_on(comm: MPI.Intracomm, **options: bool) -> Iterator[MPIPoolExecutor]:
    """Give an executor on ranks that serve one, all up."""
    with MPICommExecutor(comm, 0, **options) as entered:
        executor = cast(MPIPoolExecutor, entered)  # the stubs say otherwise
        executor.submit(nothing, 0).result()
        yield executor


def echo(comm: MPI.Intracomm) -> None:
    """Send back to rank 0 what it sends; rank 1 alone. An empty message ends it."""
    if comm.rank != 1:
        return
    buffer, status = np.zeros(1), MPI.Status()
    while True:
        comm.Recv(buffer, 0, status=status)
        if status.Get_count(MPI.BYTE) == 0:
            return
        comm.Send(buffer, 0)


def pingpong(turns: Turns, count: int) -> Outcome:
    """Time round trips of 8 bytes between ranks 0 and 1."""
    turns.begin(_PINGPONG)
    buffer = np.zeros(1)
    begun = time.perf_counter()
    for _ in range(count):
        turns.comm.Send(buffer, 1)
        turns.comm.Recv(buffer, 1)
    seconds = time.perf_counter() - begun
    turns.comm.Send(buffer[:0], 1)
    return Outcome((seconds,))


def multiply(rows: Array, b: Array) -> Array:
    """Multiply a block of rows."""
    return np.asarray(rows @ b)


def nothing(_: int) -> None:
    """Do nothing."""


def _measure(turns: Turns, options: start.Options) -> None:
    with turns.pool() as pool:
        site = Site.of(pool)
    if options.wants("executor-product"):
        _product(turns, site, options)
    if options.wants("executor-tasks"):
        _tasks(turns, site, options)


def _product(turns: Turns, site: Site, options: start.Options) -> None:
    size = 256 if options.quick else 4096
    problem = Problem.normal(size, size, size)

    def run() -> Outcome:
        turns.begin("executor")
        with executor_on(turns.comm, use_pkl5=True) as executor:
            begun = time.perf_counter()
            blocks = np.array_split(problem.a, len(site.workers))
            parts = executor.starmap(multiply, ((block, problem.b) for block in blocks))
            value = np.concatenate(list(parts))
            seconds = time.perf_counter() - begun
        return problem.oneshot(seconds, value)

    case = Case(
        name="executor-product",
        note=f"A @ B, {size} x {size} each, standard normal. Base: MPIPoolExecutor, float64.",
        bases=("MPIPoolExecutor", "numpy float64"),
        contenders=(
            Contender("MPIPoolExecutor", problem.shape, run),
            numpy_product(problem),
            oneshot(turns.pool, problem),
            layered(turns.pool, problem, name="2 x 8 bits", digits=2),
        ),
        repeats=options.runs(6),
    )
    measure(case, site, options.output)


def _tasks(turns: Turns, site: Site, options: start.Options) -> None:
    count = 200 if options.quick else 20_000
    a, b = np.ones((count, 1)), np.ones((1, 1))

    def executor(chunk: int) -> Outcome:
        turns.begin("executor")
        with executor_on(turns.comm) as pool:
            begun = time.perf_counter()
            done = list(pool.map(nothing, range(count), chunksize=chunk))
            seconds = time.perf_counter() - begun
        return Outcome((seconds,), verdict="exact" if len(done) == count else "wrong")

    def refine() -> Outcome:
        with turns.pool() as pool:
            (resolution,) = pool.matmul(a, b, digits=1, tasks=count)
            right = bool(np.all(resolution.value == 1))
        return Outcome((resolution.seconds,), verdict="exact" if right else "wrong")

    shape = (count, 1, 1)
    case = Case(
        name="executor-tasks",
        note=f"{count} empty tasks, {len(site.workers)} workers. Base: MPIPoolExecutor, task by "
        "task; and as many MPI round trips of 8 bytes between two ranks.",
        bases=("MPIPoolExecutor", _PINGPONG),
        contenders=(
            Contender(_PINGPONG, shape, lambda: pingpong(turns, count)),
            Contender("MPIPoolExecutor", shape, lambda: executor(1)),
            Contender("MPIPoolExecutor, chunks of 100", shape, lambda: executor(100)),
            Contender("hpcrefine", shape, refine),
        ),
        counts="tasks",
        repeats=options.runs(6),
    )
    measure(case, site, options.output)


if __name__ == "__main__":
    start.run("bench.pool_executor", __doc__, RANKS, body)
