"""What accuracy costs: 1 to 7 digits of 8 bits, beside float32 and float64 BLAS.

For each number of digits m, the time to the last resolution and its measured error, once with all
m**2 digit products, once with those only that count (``truncate = m - 1``: the others change less
than what m digits leave out anyhow). Beside them one call of NumPy's BLAS on all cores in float32
and float64. All multiply the same matrices, in random order in one run, and are compared with the
product in extended precision on the same sample of rows.

    python -m bench.ladder
"""

from contextlib import AbstractContextManager, nullcontext

import numpy as np

from bench import start
from bench.case import Case, Contender
from bench.contenders import Problem, layered, numpy_product
from bench.harness import Site, measure
from hpcrefine.cluster.pool import Pool

RANKS = 3
NAME = "ladder"


def body(options: start.Options) -> None:
    """Run the ladder."""
    size, most = (128, 3) if options.quick else (2048, 7)
    with Pool() as pool:
        if not pool:
            return
        problem = Problem.normal(size, size, size, extended=True)

        def source() -> AbstractContextManager[Pool]:
            return nullcontext(pool)

        def rung(digits: int, truncate: int | None) -> Contender:
            name = f"{digits} x 8 bits" + ("" if truncate is None else ", cut")
            return layered(
                source,
                problem,
                name=name,
                last_only=True,
                digits=digits,
                truncate=truncate,
            )

        case = Case(
            name=NAME,
            note=f"A @ B, {size} x {size} each, standard normal, 1 to {most} digits. Base: one "
            "call of NumPy's BLAS on all cores.",
            bases=("numpy float64", "numpy float32"),
            contenders=(
                numpy_product(problem),
                numpy_product(problem, np.float32),
                *(rung(digits, None) for digits in range(1, most + 1)),
                *(rung(digits, digits - 1) for digits in range(2, most + 1)),
            ),
            repeats=options.runs(),
        )
        measure(case, Site.of(pool), options.output)


if __name__ == "__main__":
    start.run("bench.ladder", __doc__, RANKS, body)
