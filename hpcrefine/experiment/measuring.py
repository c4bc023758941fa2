"""One job of a run, measured: the product, its check against the exact one, its rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpcrefine.codes import DecodeError
from hpcrefine.ending import Ending
from hpcrefine.errors import InputError, LostError
from hpcrefine.experiment.conditions import Conditions
from hpcrefine.experiment.rows import Row, estimate_rows, job_row, layer_row, task_rows
from hpcrefine.experiment.turns import Turn, turns
from hpcrefine.experiment.verify import Exact, Reference, make_reference
from hpcrefine.job import CodeSection, Job
from hpcrefine.record.writer import RecordWriter
from hpcrefine.resolution.bounds import exact_in_float64
from hpcrefine.resolution.digits import Array, quantise
from hpcrefine.schedule.split import Split

if TYPE_CHECKING:
    from hpcrefine.cluster.master import Product, Resolution
    from hpcrefine.cluster.pool import Pool


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one job left.

    Attributes
    ----------
    job : dict
        Its row of the record's table ``jobs``.
    layers, upgrades, tasks, events, estimates : sequence of dict
        Its rows of these tables.
    predictions : ndarray, optional
        Its rows of this table.
    loss : str
        Why it was lost; empty if it was not.
    """

    job: Row
    layers: Sequence[Row] = ()
    upgrades: Sequence[Row] = ()
    tasks: Sequence[Row] = ()
    events: Sequence[Row] = ()
    estimates: Sequence[Row] = ()
    predictions: NDArray[np.void] | None = None
    loss: str = ""

    def write(self, writer: RecordWriter) -> None:
        """Write it to a record."""
        writer.append(
            self.job,
            self.layers,
            self.tasks,
            self.events,
            self.estimates,
            self.upgrades,
            self.predictions,
        )


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
    ending : Ending, optional
        What the run is asked; default: nothing.

    Raises
    ------
    InputError
        If the job asks for faults of more workers than there are.
    """

    def __init__(
        self,
        job: Job,
        pool: "Pool",
        a: Array,
        b: Array,
        elapsed: float = 0.0,
        ending: Ending | None = None,
    ) -> None:
        self._job, self._pool, self._a, self._b = job, pool, a, b
        self._elapsed, self._ending = elapsed, ending or Ending()
        self._origin: float | None = None
        self._conditions = Conditions(job, pool)
        self._reference: Reference | None = None
        self._exact: dict[bool, Exact] = {}  # by whether the product is released whole
        self._proven_by_values = True

    def dry_run(self) -> None:
        """Make the reference; mistakes in operands or options come up before a record is begun."""
        job, resolution = self._job, self._job.resolution
        kinds = {(turn.code, turn.split, turn.whole): turn for turn in turns(job) if turn.code}
        layers, bounds = {}, {}
        for turn in kinds.values():
            with self._start(turn) as product:
                layers[turn.whole], bounds[turn.whole] = product.plan.layers, product.bounds
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
        self._reference = make_reference(self._a, self._b, bounds[False][-1].absolute, norms)
        mode, limit = job.verify.exact, job.verify.limit
        self._exact = {whole: Exact(left, right, layers[whole], mode, limit) for whole in layers}

    def measure(self, number: int, turn: Turn) -> Measured:
        """Run one job to its end, or until it is lost or cut."""
        product: Product | None = None
        resolutions: list[Resolution] = []
        loss = ""
        self._conditions.inject(turn.stragglers)
        start = self._pool.clock()
        try:
            product = self._start(turn)
            start, product.expired = product.start, self._ending.cuts
            resolutions.extend(product)
        except InputError as error:  # well in the dry run: it asks for more than is left of us
            loss = str(error)
        except (LostError, DecodeError) as error:
            loss = str(error)
        whole = bool(resolutions) and resolutions[-1].last
        end = start + resolutions[-1].seconds if whole else self._pool.clock()
        self._pool.settle()
        if self._origin is None:
            self._origin = start - self._elapsed
        layers, tasks, verdict = [], [], "unchecked"
        if product is not None:
            errors = [self._error(resolution) for resolution in resolutions]
            verdict = self._verdict(turn, product, resolutions, errors)
            layers = [
                layer_row(number, product, resolution, error)
                for resolution, error in zip(resolutions, errors, strict=True)
            ]
            tasks = task_rows(number, product) if self._job.record.tasks else []
        since = start - self._origin
        job = job_row(
            number,
            turn,
            (*self._a.shape, self._b.shape[1]),
            product,
            (since, since, end - self._origin),
            status="lost" if loss else "done" if whole else "stopped",
            verdict=verdict,
            dead=self._pool.workers - len(self._pool.roster.usable),
        )
        estimates = []
        if product is not None and turn.split == "optimal" and turn.code is not None:
            estimates = estimate_rows(number, product)
        events = self._conditions.news(number, self._origin)
        return Measured(
            job=job, layers=layers, tasks=tasks, events=events, estimates=estimates, loss=loss
        )

    def _start(self, turn: Turn) -> "Product":
        job = self._job
        self._conditions.guard(turn.code)
        if turn.code is None:
            return self._pool.oneshot(self._a, self._b, tasks=job.code.tasks)
        keep = self._keeps_integers(turn.code)
        try:
            return self._pool.matmul(
                self._a, self._b, **options(job, turn, turn.code), keep_integers=keep
            )
        except InputError as error:
            raise InputError(f"{job.path}: {error}") from None

    def _keeps_integers(self, code: CodeSection) -> bool:
        """Say whether integers are compared: else the values prove them, in float64."""
        return bool(self._exact) and (code.unit == "minijob" or not self._proven_by_values)

    def _error(self, resolution: "Resolution") -> float:
        return self._reference.error(resolution.value) if self._reference else np.nan

    def _verdict(
        self,
        turn: Turn,
        product: "Product",
        resolutions: "Sequence[Resolution]",
        errors: list[float],
    ) -> str:
        if self._reference is None or not resolutions:
            return "unchecked"
        if turn.code is None:
            return "within rounding" if errors[0] <= 2 * self._reference.rounding else "wrong"
        right = all(e <= r.error_bound for e, r in zip(errors, resolutions, strict=True))
        exact = self._exact[turn.whole]
        if self._keeps_integers(turn.code):
            right &= all(exact.matches(r.layer, product.integers(r.layer)) for r in resolutions)
        else:  # of a job lost or cut the last are missing
            pairs = zip(resolutions, exact.values(), strict=False)
            right &= all(np.array_equal(r.value[exact.rows], value) for r, value in pairs)
        if not right:
            return "wrong"
        return "exact (sampled)" if exact.sampled else "exact"


def options(job: Job, turn: Turn, code: CodeSection) -> dict[str, Any]:
    """Return the options of :meth:`hpcrefine.Pool.matmul` that a job asks for in a turn."""
    resolution, stop = job.resolution, job.resolution.stop
    return {
        "digits": resolution.digits,
        "digit_bits": resolution.digit_bits,
        "layers": "whole" if turn.whole else resolution.layering,
        "scale": resolution.scale,
        "truncate": resolution.truncate,
        "tolerance": stop.tolerance if stop else None,
        "relative_tolerance": stop.relative if stop else None,
        "code": code.scheme,
        "tasks": code.tasks,
        "redundancy": code.redundancy,
        "unit": "layer" if turn.whole else code.unit,
        "split": Split(turn.split, job.schedule.gamma, job.schedule.prefetch),
        "survive": code.survive,
        "verify": code.verify,
    }
