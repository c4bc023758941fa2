"""dask.distributed's array product: the usual way to spread NumPy over processes.

A LocalCluster of two worker processes of one thread each computes ``A @ B`` in float64 from A in
one block of rows a worker and B in one chunk, so that no partial sums arise and B travels to each
worker once. Twice: ``dask`` starts like hpcrefine from operands in the client's memory, scattered
straight to the workers within the time measured (dask would otherwise pack them into the graph,
which is far slower); ``dask, operands held`` finds them at the workers already, which neither
hpcrefine nor BLAS is granted here. Both end with the product in the client's memory, its blocks
gathered straight from the workers (``compute()`` would join them on a worker and send the whole
through the scheduler). The cluster is started before MPI and outside of it; while others compute,
its processes sleep.

    python -m bench.dask_product
"""

import os
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import start

if TYPE_CHECKING:  # the cluster's processes import this module: no MPI in them
    from bench.case import Outcome
    from bench.contenders import Problem
    from hpcrefine.cluster.pool import Pool

RANKS = 3
_MODULE = "bench.dask_product"
_ADDRESS = "HPCREFINE_BENCH_DASK"


def main() -> None:
    """Start the cluster, then the ranks that use it."""
    options = start.parse(__doc__)
    start.require("threadpoolctl", "dask", "distributed")
    if _ADDRESS in os.environ:
        start.guarded(lambda: body(options))
        return
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=RANKS - 1, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        os.environ[_ADDRESS] = cluster.scheduler_address
        start.on_ranks(RANKS, _MODULE, options)


def body(options: start.Options) -> None:
    """Run the comparison, rank 0 being the cluster's client."""
    from distributed import Client

    from hpcrefine.cluster.pool import Pool

    with Pool() as pool:
        if pool:
            with Client(os.environ[_ADDRESS], set_as_default=True) as client:
                _measure(pool, client, options)


def _measure(pool: "Pool", client: Any, options: start.Options) -> None:
    from bench.case import Case, Contender
    from bench.contenders import Problem, layered, numpy_product, oneshot
    from bench.harness import Site, measure

    size = 256 if options.quick else 4096
    problem = Problem.normal(size, size, size)
    held = _scatter(client, problem)
    case = Case(
        name="dask-product",
        note=f"A @ B, {size} x {size} each, standard normal. Base: dask.distributed, float64.",
        bases=("dask", "numpy float64"),
        contenders=(
            Contender("dask", problem.shape, lambda: _run(client, problem, None)),
            Contender("dask, operands held", problem.shape, lambda: _run(client, problem, held)),
            numpy_product(problem),
            oneshot(lambda: nullcontext(pool), problem),
            layered(lambda: nullcontext(pool), problem, name="2 x 8 bits", digits=2),
        ),
        repeats=options.runs(6),
    )
    measure(case, Site.of(pool), options.output)


def _run(client: Any, problem: "Problem", held: tuple[Any, Any] | None) -> "Outcome":
    """Compute once, from the client's memory or from operands held by the workers."""
    begun = time.perf_counter()
    a, b = held or _scatter(client, problem)
    blocks = client.compute(list((a @ b).to_delayed().ravel()))
    value = np.concatenate(client.gather(blocks, direct=True))
    return problem.oneshot(time.perf_counter() - begun, value)


def _scatter(client: Any, problem: "Problem") -> tuple[Any, Any]:
    """Give each worker its rows of A, and all of them B; return both as dask arrays."""
    import dask.array

    workers = list(client.scheduler_info()["workers"])
    futures = [
        client.scatter(rows, workers=[worker], direct=True, hash=False)
        for rows, worker in zip(np.array_split(problem.a, len(workers)), workers, strict=True)
    ]
    whole = client.scatter(problem.b, direct=True, broadcast=True, hash=False)
    blocks = [
        dask.array.from_delayed(future, rows.shape, rows.dtype)
        for future, rows in zip(futures, np.array_split(problem.a, len(workers)), strict=True)
    ]
    b = dask.array.from_delayed(whole, problem.b.shape, problem.b.dtype)
    return dask.array.concatenate(blocks), b


if __name__ == "__main__":
    main()
