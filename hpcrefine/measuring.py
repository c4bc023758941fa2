"""One job of a run, measured: the product, its check against the exact one, its rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcrefine.codes import DecodeError
from hpcrefine.errors import InputError, LostError
from hpcrefine.faults import Faults
from hpcrefine.job import CodeSection, Job
from hpcrefine.resolution.bounds import exact_in_float64
from hpcrefine.resolution.digits import Array, quantise
from hpcrefine.turns import Turn
from hpcrefine.verify import Exact, Reference, make_reference

if TYPE_CHECKING:
    from hpcrefine.cluster.master import Product, Resolution
    from hpcrefine.cluster.pool import Pool

Row = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """What one job left.

    Attributes
    ----------
    job : dict
        Its row of the record's table ``jobs``.
    layers, tasks, events : list of dict
        Its rows of these tables.
    loss : str
        Why it was lost; empty if it was not.
    """

    job: Row
    layers: list[Row]
    tasks: list[Row]
    events: list[Row]
    loss: str


class Measuring:
    """The operands with what is needed to multiply and to check them.

    Parameters
    ----------
    job : Job
        What is run.
    pool : Pool
        On rank 0, its kernel loaded.
    a, b : ndarray, shapes (n, k) and (k, p)
        Operands.
    elapsed : float
        Seconds of the run before its first job here: 0, or the end of what is resumed.

    Raises
    ------
    InputError
        If the job asks for faults of more workers than there are.
    """

    def __init__(self, job: Job, pool: "Pool", a: Array, b: Array, elapsed: float = 0.0) -> None:
        self._job, self._pool, self._a, self._b = job, pool, a, b
        self._elapsed = elapsed
        self._origin: float | None = None
        self._reference: Reference | None = None
        self._exact: Exact | None = None
        self._proven_by_values = True
        self._told = 0
        try:
            self._faults = {
                count: _assigned(job.faults.assign(pool.workers, job.job.seed, count))
                for count in job.stragglers
            }
        except InputError as error:
            raise InputError(f"{job.path}: {error}") from None
        # With any faults at all their time runs from the first job on, whoever is spared there.
        self._injected: dict[int, Faults] | None = None if any(self._faults.values()) else {}

    def dry_run(self) -> None:
        """Make the reference; mistakes in operands or options come up before a record is begun."""
        job, resolution = self._job, self._job.resolution
        for _, code in job.codes:
            with self._start(code) as product:
                layers, bounds = product.plan.layers, product.bounds
        if job.verify.exact == "off":
            return
        left, right = (
            quantise(
                matrix, resolution.digits, resolution.digit_bits, axis=axis, scale=resolution.scale
            )
            for matrix, axis in ((self._a, 1), (self._b, 0))
        )
        self._proven_by_values = exact_in_float64(left, right)
        norms = float(left.residuals[0].max() * right.residuals[0].max())
        self._reference = make_reference(self._a, self._b, bounds[-1].absolute, norms)
        self._exact = Exact(left, right, layers, job.verify.exact, job.verify.limit)

    def measure(self, number: int, turn: Turn) -> Measured:
        """Run one job to its end, or until it is lost."""
        product: Product | None = None
        resolutions: list[Resolution] = []
        loss = ""
        self._inject(self._faults[turn.stragglers])
        start = self._pool.clock()
        try:
            product = self._start(turn.code)
            start = product.start
            resolutions.extend(product)
        except InputError as error:  # well in the dry run: it asks for more than is left of us
            loss = str(error)
        except (LostError, DecodeError) as error:
            loss = str(error)
        end = self._pool.clock() if loss else start + resolutions[-1].seconds
        self._pool.settle()
        if self._origin is None:
            self._origin = start - self._elapsed
        layers, tasks, verdict, traffic = [], [], "unchecked", (0, 0)
        if product is not None:
            errors = [self._error(resolution) for resolution in resolutions]
            verdict = self._verdict(turn.code, product, resolutions, errors)
            traffic = product.traffic
            layers = [
                self._layer_row(number, turn.code, product, resolution, error)
                for resolution, error in zip(resolutions, errors, strict=True)
            ]
            tasks = [vars(entry) | {"job": number} for entry in product.log.values()]
        (n, k), p = self._a.shape, self._b.shape[1]
        job: Row = {
            "job": number,
            "variant": turn.variant,
            "repeat": turn.repeat,
            "warmup": turn.warmup,
            **{"n": n, "k": k, "p": p},
            **dict.fromkeys(("arrival", "start"), start - self._origin),
            "end": end - self._origin,
            "deadline": np.nan,
            "status": "lost" if loss else "done",
            "verdict": verdict,
            "scheme": turn.code.scheme if turn.code else "",
            "stragglers": turn.stragglers,
            "dead": self._pool.workers - len(self._pool.roster.usable),
            **{"sent_bytes": traffic[0], "received_bytes": traffic[1]},
            "split": turn.split,
            "redundancy": turn.code.redundancy if turn.code else 1.0,
            "rate": np.nan,
        }
        kept = tasks if self._job.record.tasks else []
        return Measured(job, layers, kept, self._events(number, self._origin), loss)

    def _inject(self, faults: dict[int, Faults]) -> None:
        if faults != self._injected:
            self._pool.inject(faults, self._job.job.seed)
            self._injected = faults

    def _start(self, code: CodeSection | None) -> "Product":
        job = self._job
        self._pool.guard(timeout=job.workers.timeout, lies=(code or job.code).lies)
        if code is None:
            return self._pool.oneshot(self._a, self._b, tasks=job.code.tasks)
        stop = job.resolution.stop
        try:
            return self._pool.matmul(
                self._a,
                self._b,
                digits=job.resolution.digits,
                digit_bits=job.resolution.digit_bits,
                layers=job.resolution.layering,
                scale=job.resolution.scale,
                truncate=job.resolution.truncate,
                tolerance=stop.tolerance if stop else None,
                relative_tolerance=stop.relative if stop else None,
                code=code.scheme,
                tasks=code.tasks,
                redundancy=code.redundancy,
                unit=code.unit,
                split=job.schedule.split,
                survive=code.survive,
                keep_integers=self._keeps_integers(code),
                verify=code.verify,
            )
        except InputError as error:
            raise InputError(f"{job.path}: {error}") from None

    def _keeps_integers(self, code: CodeSection) -> bool:
        """Say whether integers are compared: else the values prove them, in float64."""
        return self._exact is not None and (code.unit == "minijob" or not self._proven_by_values)

    def _error(self, resolution: "Resolution") -> float:
        return self._reference.error(resolution.value) if self._reference else np.nan

    def _verdict(
        self,
        code: CodeSection | None,
        product: "Product",
        resolutions: "Sequence[Resolution]",
        errors: list[float],
    ) -> str:
        if self._reference is None or self._exact is None or not resolutions:
            return "unchecked"
        if code is None:
            return "within rounding" if errors[0] <= 2 * self._reference.rounding else "wrong"
        right = all(e <= r.error_bound for e, r in zip(errors, resolutions, strict=True))
        if self._keeps_integers(code):
            right &= all(
                self._exact.matches(r.layer, product.integers(r.layer)) for r in resolutions
            )
        else:  # of a lost job the last are missing
            pairs = zip(resolutions, self._exact.values(), strict=False)
            right &= all(np.array_equal(r.value[self._exact.rows], value) for r, value in pairs)
        if not right:
            return "wrong"
        return "exact (sampled)" if self._exact.sampled else "exact"

    def _layer_row(
        self,
        number: int,
        code: CodeSection | None,
        product: "Product",
        resolution: "Resolution",
        error: float,
    ) -> Row:
        layer, layered = resolution.layer, code is not None
        return {
            "job": number,
            "layer": layer,
            "minijobs": len(product.plan.layers[layer].minijobs) if layered else 0,
            "digit_products": product.plan.digit_products(layer) if layered else np.nan,
            "share": resolution.share,
            "ready": resolution.seconds,
            "delay": resolution.seconds,
            **product.phases(layer),
            "error_bound": resolution.error_bound,
            "relative_bound": resolution.relative_bound,
            "error_measured": error,
            **{f"tasks_{fate}": count for fate, count in product.fates(layer).items()},
            "met_deadline": True,
            "computed": product.computed(layer) if layered else np.nan,
            **product.efforts(layer),
        }

    def _events(self, number: int, origin: float) -> list[Row]:
        """Return what befell the workers since the last job."""
        news = self._pool.roster.events[self._told :]
        self._told += len(news)
        return [vars(event) | {"job": number, "time": event.time - origin} for event in news]


def _assigned(faults: dict[int, Faults]) -> dict[int, Faults]:
    return {rank: each for rank, each in faults.items() if not each.empty}
