"""The layered product against one-shot BLAS in float64 and float32.

Compared are the times to each resolution of ``Pool.matmul`` (quantising, sending, multiplying,
collecting and combining all counted) and one call of NumPy's ``A @ B`` on rank 0, threaded over all
cores while the workers sleep. All multiply the same matrices, take turns in random order in one
run, and start from operands in memory: those of NumPy in its own arrays, of their type; those of
the layered product in arrays from ``Pool.empty``, which the workers can read, or, as "plain
arrays", where NumPy's are.
OpenBLAS runs its AVX-512 kernels where the CPU has them. What each left is checked: integers bit
for bit (on a sample of rows where all would take long), values against their bounds.

``resident``: A stays at the workers and a stream of right operands comes, as in inference; what A
costs once is in the record as a figure. BLAS has nothing to gain from it: it repacks A each time.

    python -m bench.products [--only 8192]
"""

import itertools
import time
from contextlib import AbstractContextManager, nullcontext
from copy import copy

import numpy as np

from bench import start
from bench.case import Case, Contender, Outcome, Target
from bench.contenders import Problem, layered, numpy_product, result_names
from bench.harness import Site, measure
from hpcrefine.cluster.pool import Pool

RANKS = 3
_STREAM = 3  # right operands of the resident case, over and over


def body(options: start.Options) -> None:
    """Run all cases."""
    with Pool() as pool:
        if pool:
            site = Site.of(pool)
            _square(pool, site, options, 256 if options.quick else 4096, "products-4096")
            _square(pool, site, options, 512 if options.quick else 8192, "products-8192")
            _resident(pool, site, options)


def _square(pool: Pool, site: Site, options: start.Options, size: int, name: str) -> None:
    """Compare at one size; the small one has plain arrays and the 24-bit product too."""
    if not options.wants(name):
        return
    problem = Problem.normal(size, size, size, place=pool.place)
    elsewhere = copy(problem)
    elsewhere.a, elsewhere.b = problem.a.copy(), problem.b.copy()

    def source() -> AbstractContextManager[Pool]:
        return nullcontext(pool)

    contenders = [
        numpy_product(elsewhere),
        numpy_product(elsewhere, np.float32),
        layered(source, problem, name="2 x 8 bits", digits=2),
    ]
    if name == "products-4096":
        contenders += [
            layered(source, elsewhere, name="2 x 8 bits, plain arrays", digits=2),
            layered(source, problem, name="3 x 8 bits, cut", digits=3, truncate=2),
        ]
        targets = (
            Target("2 x 8 bits", 0, "numpy float64", 0.25),
            Target("2 x 8 bits", 2, "numpy float64", 0.70),
            Target("3 x 8 bits, cut", 0, "numpy float64", 0.30),
            Target("3 x 8 bits, cut", 2, "numpy float64", 1.2),
        )
    else:
        targets = (
            Target("2 x 8 bits", 0, "numpy float64", 0.18),
            Target("2 x 8 bits", 2, "numpy float64", 0.60),
            Target("2 x 8 bits", 0, "numpy float32", 0.40),
            Target("2 x 8 bits", 2, "numpy float32", 1.2),
        )
    case = Case(
        name=name,
        note=f"A @ B, {size} x {size} each, standard normal. Base: one call of NumPy's BLAS on all "
        "cores.",
        bases=("numpy float64", "numpy float32"),
        contenders=tuple(contenders),
        targets=() if options.quick else targets,
        repeats=options.runs(),
    )
    measure(case, site, options.output)


def _resident(pool: Pool, site: Site, options: start.Options) -> None:
    """Compare a stream of right operands with A at the workers."""
    name = "products-resident"
    if not options.wants(name):
        return
    size, columns = (512, 32) if options.quick else (8192, 512)
    generator = np.random.default_rng(0)
    a = generator.standard_normal((size, size))
    stream = [Problem(a, generator.standard_normal((size, columns))) for _ in range(_STREAM)]
    begun = time.perf_counter()
    held = pool.resident(a, digits=2)
    seconds = time.perf_counter() - begun
    turn = itertools.count()

    def run() -> Outcome:
        problem = stream[next(turn) % _STREAM]
        return problem.layered(held.matmul(problem.b))

    blas, blas_turn = [numpy_product(problem) for problem in stream], itertools.count()
    shape = stream[0].shape
    targets = (
        Target("resident 2 x 8 bits", 0, "numpy float64", 0.20),
        Target("resident 2 x 8 bits", 2, "numpy float64", 0.60),
    )
    case = Case(
        name=name,
        note=f"A ({size} x {size}) @ a stream of B ({size} x {columns}), A at the workers. Base: "
        "one call of NumPy's BLAS on all cores for each B.",
        bases=("numpy float64",),
        contenders=(
            Contender("numpy float64", shape, lambda: blas[next(blas_turn) % _STREAM].run()),
            Contender("resident 2 x 8 bits", shape, run, result_names(3)),
        ),
        targets=() if options.quick else targets,
        repeats=options.runs(15),
    )
    measure(case, site, options.output, {"seconds to make A resident": seconds})


if __name__ == "__main__":
    start.run("bench.products", __doc__, RANKS, body)
