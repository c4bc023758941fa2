"""Run a job file on a pool: variants interleaved, every result verified, all of it recorded."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcrefine import operands
from hpcrefine.errors import InputError
from hpcrefine.job import Job
from hpcrefine.progress import Progress
from hpcrefine.record import environment
from hpcrefine.record.writer import RecordWriter
from hpcrefine.resolution.bounds import exact_in_float64
from hpcrefine.resolution.digits import Array, quantise
from hpcrefine.verify import Exact, Reference, make_reference

if TYPE_CHECKING:
    from hpcrefine.cluster.master import Product, Resolution
    from hpcrefine.cluster.pool import Pool

Row = dict[str, Any]


@dataclass(frozen=True)
class Turn:
    """One job of the run."""

    variant: str
    repeat: int
    warmup: bool


@dataclass(frozen=True)
class Outcome:
    """What a run left: its record, and how many jobs were wrong."""

    path: Path
    wrong: int


def default_output(job: Job) -> Path:
    """Return ``results/NAME-TIME.h5``, or the file that the job names."""
    if job.record.file is not None:
        return Path(job.record.file)
    return Path("results") / f"{job.job.name}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.h5"


def turns(job: Job) -> list[Turn]:
    """Return the jobs of a run: warm-ups first, then each repeat's variants in random order."""
    variants = ["layered", "oneshot"] if job.baseline.oneshot else ["layered"]
    order = np.random.default_rng(job.job.seed).spawn(3)[2]  # 0 and 1 draw the operands
    warmups = [Turn(v, r, True) for r in range(job.job.warmups) for v in variants]
    repeats = [
        Turn(str(v), r, False) for r in range(job.job.repeats) for v in order.permutation(variants)
    ]
    return warmups + repeats


def run(job: Job, pool: "Pool", output: Path, *, force: bool, progress: Progress) -> Outcome:
    """Run a job file.

    Parameters
    ----------
    job : Job
        What to run.
    pool : Pool
        On rank 0.
    output : Path
        The record to write.
    force : bool
        Whether an existing record is replaced.
    progress : Progress
        Where people see how far it is.

    Raises
    ------
    InputError
        If operands, options or the output are wrong.
    """
    library = str(job.kernel.library) if job.kernel.library else None
    workers = pool.configure(job.kernel.name, library)
    for warning in sorted({row["warning"] for row in workers if row["warning"]}):
        progress.note(f"warning: not the fastest kernel: {warning}")
    a, b = operands.load_pair(job)
    a = pool.place(a)  # one after the other: each is there twice for a moment
    b = pool.place(b)
    bench = _Bench(job, pool, a, b)
    bench.dry_run()
    facts = environment.collect(
        kernel=", ".join(sorted({row["kernel"] for row in workers})),
        **pool.mpi,
        threads=workers[0]["threads"],
        extra={"kernel_warning": "; ".join(sorted({row["warning"] for row in workers}))},
    )
    columns = ("rank", "host", "pid", "cpus", "threads", "kernel")
    writer = RecordWriter(
        output,
        job_text=job.text,
        kind="measured",
        environment=facts,
        workers=[{name: row[name] for name in columns} for row in workers],
        force=force,
        locking=job.record.locking,
    )
    wrong = 0
    with writer, progress:
        plan = turns(job)
        for number, turn in enumerate(plan):
            rows = bench.measure(number, turn)
            writer.append(*rows)
            wrong += rows[0]["verdict"] == "wrong"
            progress.step(number + 1, len(plan), _describe(turn, rows[1]))
    return Outcome(output, wrong)


def _describe(turn: Turn, layers: list[Row]) -> str:
    times = "  ".join(f"{row['ready']:.3f}" for row in layers)
    return f"{turn.variant} {'warm-up' if turn.warmup else 'repeat'} {turn.repeat}: {times} s"


class _Bench:
    """The operands with what is needed to multiply and to check them."""

    def __init__(self, job: Job, pool: "Pool", a: Array, b: Array) -> None:
        self._job, self._pool, self._a, self._b = job, pool, a, b
        self._reference: Reference | None = None
        self._exact: Exact | None = None
        self._origin: float | None = None
        self._keep = False

    def dry_run(self) -> None:
        """Make the reference; mistakes in operands or options come up before a record is begun."""
        job, resolution = self._job, self._job.resolution
        with self._start("layered") as product:
            layers, bounds = product.plan.layers, product.bounds
        if job.verify.exact == "off":
            return
        left, right = (
            quantise(
                matrix, resolution.digits, resolution.digit_bits, axis=axis, scale=resolution.scale
            )
            for matrix, axis in ((self._a, 1), (self._b, 0))
        )
        # Values prove integers where float64 holds them; only elsewhere need those be kept.
        self._keep = job.code.unit == "minijob" or not exact_in_float64(left, right)
        norms = float(left.residuals[0].max() * right.residuals[0].max())
        self._reference = make_reference(self._a, self._b, bounds[-1].absolute, norms)
        self._exact = Exact(left, right, layers, job.verify.exact, job.verify.limit)

    def measure(self, number: int, turn: Turn) -> tuple[Row, list[Row], list[Row]]:
        """Run one job to its end; return its rows of the record."""
        product = self._start(turn.variant)
        resolutions = list(product)
        product.settle()
        if self._origin is None:
            self._origin = product.start
        start = product.start - self._origin
        errors = [self._error(resolution) for resolution in resolutions]
        n, k, p = product.plan.shape
        job: Row = {
            "job": number,
            "variant": turn.variant,
            "repeat": turn.repeat,
            "warmup": turn.warmup,
            **{"n": n, "k": k, "p": p},
            **{"arrival": start, "start": start, "end": start + resolutions[-1].seconds},
            "deadline": np.nan,
            "status": "done",
            "verdict": self._verdict(turn.variant, product, resolutions, errors),
        }
        layers = [
            self._layer_row(number, turn.variant, product, resolution, error)
            for resolution, error in zip(resolutions, errors, strict=True)
        ]
        tasks = [vars(entry) | {"job": number} for entry in product.log.values()]
        return job, layers, tasks if self._job.record.tasks else []

    def _start(self, variant: str) -> "Product":
        job = self._job
        if variant == "oneshot":
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
                code=job.code.scheme,
                tasks=job.code.tasks,
                redundancy=job.code.redundancy,
                unit=job.code.unit,
                split=job.schedule.split,
                survive=job.code.survive,
                keep_integers=self._keep,
            )
        except InputError as error:
            raise InputError(f"{job.path}: {error}") from None

    def _error(self, resolution: "Resolution") -> float:
        return self._reference.error(resolution.value) if self._reference else np.nan

    def _verdict(
        self,
        variant: str,
        product: "Product",
        resolutions: "list[Resolution]",
        errors: list[float],
    ) -> str:
        if self._reference is None or self._exact is None:
            return "unchecked"
        if variant == "oneshot":
            return "within rounding" if errors[0] <= 2 * self._reference.rounding else "wrong"
        bounded = all(e <= r.error_bound for e, r in zip(errors, resolutions, strict=True))
        if self._keep:
            right = all(
                self._exact.matches(r.layer, product.integers(r.layer)) for r in resolutions
            )
        else:
            pairs = zip(resolutions, self._exact.values(), strict=True)
            right = all(np.array_equal(r.value[self._exact.rows], value) for r, value in pairs)
        if not (bounded and right):
            return "wrong"
        return "exact (sampled)" if self._exact.sampled else "exact"

    def _layer_row(
        self,
        number: int,
        variant: str,
        product: "Product",
        resolution: "Resolution",
        error: float,
    ) -> Row:
        layer = resolution.layer
        layered = variant == "layered"
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
        }
