"""Simulate a job file: its turns one after the other, all of it recorded."""

import dataclasses
import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError
from hpcrefine.experiment.progress import Progress
from hpcrefine.experiment.run import Output
from hpcrefine.experiment.turns import Turn, arrivals, generators, turns
from hpcrefine.job import Job
from hpcrefine.record import environment
from hpcrefine.record.writer import RecordWriter
from hpcrefine.schedule.arrivals import mean_rate
from hpcrefine.schedule.loads import Moments
from hpcrefine.schedule.terms import Terms
from hpcrefine.schedule.theory import utilisation
from hpcrefine.simulate import rows
from hpcrefine.simulate.calibration import Calibration
from hpcrefine.simulate.lockstep import Lockstep
from hpcrefine.simulate.outcome import Costs, Estimate, Outcome
from hpcrefine.simulate.ranks import Ranks
from hpcrefine.simulate.workers import Slowness, Times, assigned, expected, random_times
from hpcrefine.simulate.workload import Workload, shape, workload

Floats = NDArray[np.float64]

_ROWS_AT_A_TIME = 1 << 16


@dataclass(frozen=True)
class Case:
    """A product with workers, ready to be simulated.

    Attributes
    ----------
    workload : Workload
        The product.
    engine : Lockstep or Ranks
        Simulates streams of it.
    means, deviations : ndarray of float, shape (P,)
        The workers' true ones, in seconds per digit product.
    """

    workload: Workload
    engine: Lockstep | Ranks
    means: Floats
    deviations: Floats


class Simulation:
    """A job file with so many random workers.

    Parameters
    ----------
    job : Job
        What is simulated.
    workers : int
        Number P of workers.
    calibration : Calibration, optional
        What a measured run tells of the workers; else the job does.
    draw : int
        Other numbers give other times of tasks; arrivals stay the same.

    Attributes
    ----------
    turns : list of Turn
        What is simulated: all turns but warm-ups.

    Raises
    ------
    InputError
        If the job says too little of the workers, or something that cannot be simulated.
    """

    def __init__(
        self, job: Job, workers: int, calibration: Calibration | None = None, draw: int = 0
    ) -> None:
        self.job, self.workers, self.calibration, self._draw = job, workers, calibration, draw
        if job.resolution.stop is not None:
            raise InputError(
                f"{job.where('resolution', 'stop')}: found it in a simulation, which knows no "
                "errors, expected no such key"
            )
        self._shape = shape(job)
        self.turns = [turn for turn in turns(job) if not turn.warmup]
        self._cases: dict[tuple[object, ...], Case] = {}
        for turn in self.turns:
            self._case(turn)

    def notes(self) -> Iterator[str]:
        """Yield what people should know beforehand."""
        if self.calibration is not None:
            yield str(self.calibration)
        if self.job.stream is None:
            return
        rate = self._rate(arrivals(self.job, 0))
        busiest = max(
            utilisation(rate, float(case.workload.minijobs.sum()), float((1 / case.means).sum()))
            for case in self._cases.values()
        )
        if busiest >= 1:
            key = "arrivals" if self.job.stream.rate is None else "rate"
            yield (
                f"warning: [stream] {key}: utilisation rho = {busiest:.2f} >= 1: the queue grows "
                "without end, delays depend on the number of jobs"
            )

    def run(self) -> Iterator[tuple[Turn, rows.Stream]]:
        """Simulate turn by turn; yield each with the rows of its stream."""
        first = 0
        _, *others = generators(self.job)[4].spawn(2 + self._draw)  # the first draws rates
        draws = others[-1].spawn(len(self.turns))
        for turn, rng in zip(self.turns, draws, strict=True):
            case = self._case(turn)
            terms = self._terms(turn)
            outcome = self._told(case, case.engine.run(terms, self._overhead, rng))
            yield (
                turn,
                rows.Stream(
                    *(first, turn, self._shape, terms.arrivals),
                    *(self._rate(terms.arrivals), case.workload, outcome),
                ),
            )
            first += len(terms.arrivals)

    def _told(self, case: Case, outcome: Outcome) -> Outcome:
        """Add what is known of the workers at the first job, where that is the truth."""
        if outcome.estimates:
            return outcome
        loads = np.array(case.workload.plan.counts(self.workers))
        seen = np.zeros(self.workers, np.int64)
        first = Estimate(0, loads, case.means, case.deviations, seen)
        return dataclasses.replace(outcome, estimates=[first])

    @property
    def _overhead(self) -> float:
        return self.calibration.overhead if self.calibration else self.job.simulate.overhead

    def _terms(self, turn: Turn) -> Terms:
        """Return arrivals, the same for all variants of a repeat, and deadlines."""
        if self.job.stream is None:
            return Terms(np.zeros(1))
        times = arrivals(self.job, turn.repeat)
        return Terms(times, turn.deadline, self.job.stream.policy)

    def _rate(self, times: Floats) -> float:
        """Return mean arrivals a second; NaN for a job by itself."""
        if self.job.stream is None or self.job.stream.rate is None:
            return mean_rate(times)
        return self.job.stream.rate

    def _case(self, turn: Turn) -> Case:
        key = (turn.whole, turn.variant, turn.code, turn.split, turn.stragglers)
        if key not in self._cases:
            self._cases[key] = self._prepare(turn)
        return self._cases[key]

    def _prepare(self, turn: Turn) -> Case:
        job, given = self.job, self.job.simulate
        load = workload(job, turn, self.workers, self._shape)
        times, slowness = self._times(turn, load)
        means, deviations = (each * slowness.factors[0] for each in times.moments(load.size))
        costs = Costs(np.full(self.workers, given.communication), given.decode, given.purge)
        if self.calibration is not None:
            costs = self.calibration.costs(turn)
        known = given.model == "published" or (
            job.workers.rates is not None and not slowness.changes and self.calibration is None
        )
        if known and load.plan.split.name == "optimal":
            if job.schedule.gamma > 0 and not np.isfinite(deviations).all():
                raise InputError(
                    f"{job.where('schedule', 'gamma')}: found {job.schedule.gamma:g} with times of "
                    "infinite variance, expected 0"
                )
            moments = Moments.of(load.size * means, load.size * deviations, costs.communication)
            plan = load.plan.with_owners(self.workers, moments)
            load = dataclasses.replace(load, plan=plan)
        if given.model == "published":
            self._check_published(turn, load)
            engine: Lockstep | Ranks = Lockstep(load, times, slowness, costs)
        else:
            forgetting = None
            if load.plan.split.name == "optimal" and not known:
                forgetting = job.schedule.forgetting
            prior = expected(job, self.workers, load.operations)
            engine = Ranks(load, times, slowness, costs, forgetting, prior)
        return Case(load, engine, means, deviations)

    def _times(self, turn: Turn, load: Workload) -> tuple[Times, Slowness]:
        faults = assigned(self.job, self.workers, turn.stragglers)
        slowness = Slowness.of(faults)
        if self.calibration is None:
            return random_times(self.job, faults, load.operations), slowness
        if slowness.changes:
            raise InputError(
                f"{self.job.where('faults', 'worker')}: found slows with --calibrate, expected "
                "workers that stay as they are"
            )
        return self.calibration.times(turn, load), Slowness((0,), (np.ones(self.workers),))

    def _check_published(self, turn: Turn, load: Workload) -> None:
        code = load.plan.code
        if load.plan.split.dynamic:
            raise InputError(
                f'{self.job.where("schedule", "split")}: found "dynamic", expected "uniform" '
                'or "optimal" with [simulate] model = "published"'
            )
        if code.reissues or code.rateless:
            raise InputError(
                f'{self.job.where("code", "scheme")}: found "{code.name}" with [simulate] '
                'model = "published", which hands nothing out again, expected another scheme or '
                'model = "ranks"'
            )


def count_workers(
    job: Job, ranks: int | None, usual: int, calibration: Calibration | None = None
) -> int:
    """Return how many workers there are.

    Parameters
    ----------
    job : Job
        May say rates of so many workers, or a count.
    ranks : int, optional
        What the user asks for, the master included.
    usual : int
        Ranks where nobody says a number.
    calibration : Calibration, optional
        A measured run with so many.

    Raises
    ------
    InputError
        If there are none, or the numbers differ.
    """
    if ranks is not None and ranks < 2:
        raise InputError(f"ranks: found {ranks}, expected at least 2 (a master and a worker)")
    rates = job.workers.rates
    said = {
        f"-n {ranks}": None if ranks is None else ranks - 1,
        job.where("workers", "rates"): len(rates) if isinstance(rates, tuple) else None,
        job.where("workers", "count"): job.workers.count,
        f"--calibrate {calibration.path if calibration else None}": (
            calibration.workers if calibration else None
        ),
    }
    counts = {place: count for place, count in said.items() if count is not None}
    for place, count in counts.items():
        first, expected = next(iter(counts.items()))
        if count != expected:
            raise InputError(f"{place}: found {count} workers, expected the {expected} of {first}")
    return next(iter(counts.values()), usual - 1)


def record(simulation: Simulation, output: Output, progress: Progress) -> int:
    """Simulate a job file and write the record; return how many jobs are in it.

    Parameters
    ----------
    simulation : Simulation
        The job with its workers.
    output : Output
        The record to write.
    progress : Progress
        Where people see how far it is.

    Raises
    ------
    InputError
        If the record cannot be written.
    """
    for note in simulation.notes():
        progress.note(note)
    job, calibration = simulation.job, simulation.calibration
    facts = environment.collect(
        kernel="none",
        mpi="not used",
        mpi4py=importlib.metadata.version("mpi4py"),
        threads=1,
        extra=calibration.facts if calibration else None,
    )
    nobody = {"host": "simulated", "pid": 0, "cpus": "", "threads": 1, "kernel": "none"}
    writer = RecordWriter(
        output.path,
        job_text=job.text,
        kind="simulated",
        environment=facts,
        workers=[{"rank": 1 + worker, **nobody} for worker in range(simulation.workers)],
        force=output.force,
        compressed=True,
        locking=job.record.locking,
    )
    with writer, progress:
        waiting: list[rows.Stream] = []
        for done, (turn, stream) in enumerate(simulation.run(), start=1):
            waiting.append(stream)
            if sum(map(len, waiting)) >= _ROWS_AT_A_TIME or done == len(simulation.turns):
                writer.extend(*rows.tables(waiting))
                waiting.clear()
            progress.step(done, len(simulation.turns), _describe(turn, stream))
        return len(writer.finished)


def _describe(turn: Turn, stream: rows.Stream) -> str:
    ratio = f" Omega = {turn.code.redundancy:g}" if turn.code else ""
    deadline = f" deadline = {turn.deadline:g} s" if turn.deadline else ""
    return f"{turn.variant}{ratio} {turn.split}{deadline} repeat {turn.repeat}: {stream.summary}"
