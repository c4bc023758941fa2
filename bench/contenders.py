"""The contenders that most comparisons have: one-shot BLAS and the layered product, checked."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bench.case import Contender, Outcome, Shape
from hpcrefine.cluster.master import Product
from hpcrefine.cluster.pool import Pool
from hpcrefine.experiment.verify import Exact, Reference
from hpcrefine.launch import available_cores
from hpcrefine.resolution.digits import Threads, quantise
from hpcrefine.resolution.layers import layering

Array = NDArray[Any]
PoolSource = Callable[[], AbstractContextManager[Pool]]

_ROWS = 256  # compared with the reference; all rows are alike
_EXTENDED = 2**26  # multiply-adds that the slow extended precision may take
_EXACT = 2**36  # multiply-adds for checking integers bit for bit


class Problem:
    """Two operands, and what is right about their product.

    Results are compared with the product of a sample of rows, in float64, or where that is asked
    for in extended precision; layered ones bit for bit with integers computed apart, refined.

    Parameters
    ----------
    a, b : ndarray, shapes (n, k) and (k, p)
        Operands.
    extended : bool
        Whether the reference must be better than float64 (fewer rows are compared).
    """

    def __init__(self, a: Array, b: Array, *, extended: bool = False) -> None:
        self.a, self.b = a, b
        self.shape: Shape = (a.shape[0], a.shape[1], b.shape[1])
        count = min(_ROWS, self.shape[0])
        if extended:
            count = min(count, max(1, _EXTENDED // (self.shape[1] * self.shape[2])))
        rows = np.unique(np.linspace(0, self.shape[0] - 1, count).round().astype(np.int64))
        wide = np.longdouble if extended else np.float64
        norms = [
            np.sqrt(np.einsum("ij,ij->" + kept, m, m, dtype=np.float64).max())
            for m, kept in ((a, "i"), (b, "j"))
        ]
        self.scale = float(norms[0] * norms[1])
        with all_cores():
            product = np.asarray(a[rows].astype(wide) @ b.astype(wide))
        self.reference = Reference(rows, product, self.rounding(np.float64))
        self._exact: dict[tuple[int, int | None], Exact] = {}
        self._slack = 0.0 if extended else self.reference.rounding

    @classmethod
    def normal(
        cls,
        n: int,
        k: int,
        p: int,
        *,
        seed: int = 0,
        extended: bool = False,
        place: Callable[[Array], Array] = np.asarray,
    ) -> "Problem":
        """Draw operands from the standard normal distribution; ``place`` puts them somewhere."""
        generator = np.random.default_rng(seed)
        shapes = (n, k), (k, p)
        a, b = (place(generator.standard_normal(shape)) for shape in shapes)
        return cls(a, b, extended=extended)

    def rounding(self, dtype: DTypeLike) -> float:
        """Bound the error of a one-shot product of that type, operands rounded to it first."""
        return 2 * (self.shape[1] + 4) * float(np.finfo(dtype).eps) / 2 * self.scale

    def oneshot(self, seconds: float, value: Array) -> Outcome:
        """Judge a floating-point product."""
        error = self.reference.error(value)
        right = value.shape == self.shape[::2] and error <= self.rounding(value.dtype)
        return Outcome((seconds,), (error,), "within rounding" if right else "wrong")

    def exact(self, digits: int, truncate: int | None) -> Exact:
        """Give the integers that a layered product with 8-bit digits must have."""
        if (digits, truncate) not in self._exact:
            team = Threads(available_cores())
            left = quantise(self.a, digits, 8, axis=1, team=team)
            right = quantise(self.b, digits, 8, axis=0, team=team)
            layers = layering("antidiagonal", digits, truncate)
            with all_cores():
                self._exact[digits, truncate] = Exact(left, right, layers, "auto", _EXACT)
        return self._exact[digits, truncate]

    def layered(
        self,
        product: Product,
        *,
        digits: int = 2,
        truncate: int | None = None,
        last_only: bool = False,
    ) -> Outcome:
        """Run a product to its end and judge each of its resolutions."""
        resolutions = list(product)
        product.settle()
        planned = product.plan.layers
        errors = [self.reference.error(r.value) for r in resolutions]
        bounds = [r.error_bound for r in resolutions]
        right = all(e <= b + self._slack for e, b in zip(errors, bounds, strict=True))
        exact = self.exact(digits, truncate)
        pairs = zip(resolutions, exact.values(), strict=True)
        right &= all(np.array_equal(r.value[exact.rows], value) for r, value in pairs)
        details = [
            {
                "minijobs": len(planned[r.layer].minijobs),
                "digit_products": product.plan.digit_products(r.layer),
                "share": r.share,
                "error_bound": r.error_bound,
                "relative_bound": r.relative_bound,
                **{f"tasks_{fate}": n for fate, n in product.fates(r.layer).items()},
                **product.phases(r.layer),
            }
            for r in resolutions
        ]
        kept = slice(-1, None) if last_only else slice(None)
        return Outcome(
            tuple(r.seconds for r in resolutions[kept]),
            tuple(errors[kept]),
            ("exact (sampled)" if exact.sampled else "exact") if right else "wrong",
            tuple(details[kept]),
            () if last_only else tuple(vars(entry) for entry in product.log.values()),
        )


def all_cores() -> AbstractContextManager[Any]:
    """Let BLAS use every core: worker ranks and the master keep one thread else."""
    from threadpoolctl import threadpool_limits  # modules say in order that it is missing

    limits: AbstractContextManager[Any] = threadpool_limits(available_cores(), user_api="blas")
    return limits


def numpy_product(problem: Problem, dtype: DTypeLike = np.float64) -> Contender:
    """One call of NumPy's BLAS on all cores, operands of its type in memory."""
    a, b = (matrix.astype(dtype, copy=False) for matrix in (problem.a, problem.b))

    def run() -> Outcome:
        with all_cores():
            start = time.perf_counter()
            value = a @ b
            seconds = time.perf_counter() - start
        return problem.oneshot(seconds, value)

    return Contender(f"numpy {np.dtype(dtype)}", problem.shape, run)


def layered(
    pool: PoolSource,
    problem: Problem,
    *,
    name: str,
    digits: int = 2,
    truncate: int | None = None,
    last_only: bool = False,
    **options: Any,
) -> Contender:
    """Make a contender of hpcrefine's product; all counted from operands in memory."""

    def run() -> Outcome:
        with pool() as serving:
            product = serving.matmul(
                problem.a, problem.b, digits=digits, truncate=truncate, **options
            )
            return problem.layered(product, digits=digits, truncate=truncate, last_only=last_only)

    count = len(layering("antidiagonal", digits, truncate))
    return Contender(name, problem.shape, run, ("last",) if last_only else result_names(count))


def oneshot(pool: PoolSource, problem: Problem) -> Contender:
    """Make a contender of hpcrefine's float64 product in one piece on the workers."""

    def run() -> Outcome:
        with pool() as serving:
            (resolution,) = serving.oneshot(problem.a, problem.b)
            return problem.oneshot(resolution.seconds, resolution.value)

    return Contender("hpcrefine one-shot", problem.shape, run)


def result_names(count: int) -> tuple[str, ...]:
    """Name resolutions, up to 6: first, second, ..., last."""
    if count == 1:
        return ("only",)
    between = ("second", "third", "fourth", "fifth")[: count - 2]
    return ("first", *between, "last")
