"""What a measured run tells of its workers: times of tasks, and all that is not a task."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError
from hpcrefine.experiment.turns import Turn
from hpcrefine.record.reader import read
from hpcrefine.simulate.outcome import Costs
from hpcrefine.simulate.workload import Workload

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Rows = NDArray[np.void]
Key = tuple[int, int, float]  # worker, unit, size


@dataclass(frozen=True)
class EmpiricalTimes:
    """Times as they were measured, drawn anew.

    Attributes
    ----------
    pools : mapping of (int, int, float) to ndarray of float
        Seconds that a worker took for tasks of a unit and size.
    products : tuple of ndarray of float
        For each worker, seconds per digit product of all its tasks.
    """

    pools: Mapping[Key, Floats]
    products: tuple[Floats, ...]

    @property
    def steady(self) -> bool:
        """Return False: times vary."""
        return False

    def draw(
        self, rng: np.random.Generator, unit: int, workers: Integers, sizes: Floats, jobs: int
    ) -> Floats:
        """Draw times, see :class:`hpcrefine.simulate.workers.Times`."""
        times = np.empty((jobs, len(workers)))
        kinds = np.stack([workers.astype(np.float64), sizes])
        different, kind = np.unique(kinds, axis=1, return_inverse=True)
        for place, (worker, size) in enumerate(different.T.tolist()):
            (mine,) = np.nonzero(kind == place)
            pool = self.pools.get((int(worker), unit, size))
            if pool is None:
                pool = self.products[int(worker)] * size
            times[:, mine] = pool[rng.integers(len(pool), size=(jobs, len(mine)))]
        return times

    def exponential(self, size: float) -> None:
        """Return None: nothing is known of their distribution."""

    def moments(self, size: float) -> tuple[Floats, Floats]:
        """Return means and deviations of seconds per digit product, whatever the size."""
        means = np.array([seconds.mean() for seconds in self.products])
        return means, np.array([seconds.std() for seconds in self.products])


class Calibration:
    """What is taken from a record.

    Parameters
    ----------
    path : Path
        A measured record, with tasks.

    Attributes
    ----------
    path : Path
        The record.
    workers : int
        Number P of workers.
    overhead : float
        Mean seconds between the end of a job and the start of the next one that was waiting.

    Raises
    ------
    InputError
        If there is no such record, or it lacks what is needed.
    """

    def __init__(self, path: Path) -> None:
        record = read(path)
        self.path = path
        found = record.attributes["kind"]
        if found != "measured":
            raise InputError(f"{path}: found a {found} record, expected a measured one")
        jobs = record.jobs[~record.jobs["warmup"] & (record.jobs["status"] != "lost")]
        jobs = jobs[np.argsort(jobs["job"])]  # they are written once they are settled
        self._jobs, self._layers = jobs, record.layers
        self._tasks = record.tasks[np.isin(record.tasks["job"], jobs["job"])]
        self.workers = int(record.workers["rank"].max())
        there = {*self._tasks["worker"][~np.isnan(self._tasks["compute"])].tolist()}
        if not there:
            raise InputError(
                f"{path}: found no tasks, expected a record that has them ([record] tasks = true)"
            )
        missing = set(range(1, 1 + self.workers)) - there
        if missing:
            raise InputError(
                f"{path}: found no task of worker {min(missing)}, expected some of each of the "
                f"{self.workers} workers"
            )
        self.overhead = _overhead(jobs)

    @property
    def facts(self) -> dict[str, str | float]:
        """What the record of the simulation says of it."""
        whole = self._costs(self._jobs)
        return {
            "calibrated_from": str(self.path),
            "calibrated_communication": float(whole.communication.mean()),
            "calibrated_decode": whole.decode,
            "calibrated_purge": whole.purge,
            "calibrated_overhead": self.overhead,
        }

    def __str__(self) -> str:
        _, *seconds = self.facts.items()
        shown = (f"{key.partition('_')[2]} {value:.3g} s" for key, value in seconds)
        return f"calibrated from {self.path}: {', '.join(shown)}"

    def costs(self, turn: Turn) -> Costs:
        """Return what takes time besides tasks: in such jobs, or in all where there are none."""
        alike = self._alike(turn)
        alike = alike[alike["split"] == turn.split]
        return self._costs(alike if len(alike) else self._jobs)

    def times(self, turn: Turn, workload: Workload) -> EmpiricalTimes:
        """Return the times of the tasks of a turn.

        Raises
        ------
        InputError
            If a worker did not compute any task of that variant, with so many stragglers.
        """
        log = self._log(self._alike(turn))
        # A record of a code with more redundancy has tasks that this one lacks.
        log = log.of(log.computed & (log.task < len(workload.costs)))
        log = log.of(log.unit < len(workload.cells))
        sizes = workload.costs[log.task] * workload.cells[log.unit]
        products = tuple((log.seconds / sizes)[log.worker == each] for each in range(self.workers))
        if not all(map(len, products)):
            lacking = 1 + [len(each) for each in products].index(0)
            raise InputError(
                f"{self.path}: found no task of worker {lacking} in jobs of variant "
                f'"{turn.variant}" with {turn.stragglers} stragglers, expected a record of the '
                "same job"
            )
        pools: dict[Key, list[float]] = {}
        columns = (log.worker, log.unit, sizes, log.seconds)
        for worker, unit, size, took in zip(*(c.tolist() for c in columns), strict=True):
            pools.setdefault((worker, unit, size), []).append(took)
        return EmpiricalTimes({key: np.array(pool) for key, pool in pools.items()}, products)

    def _alike(self, turn: Turn) -> Rows:
        same = self._jobs["variant"] == turn.variant
        same &= self._jobs["stragglers"] == turn.stragglers
        return np.asarray(self._jobs[same])

    def _costs(self, jobs: Rows) -> Costs:
        log, decode = self._log(jobs), self._layers["decode"]
        return Costs(
            _communication(log, self.workers),
            _mean(decode[np.isin(self._layers["job"], jobs["job"])]),
            _purge(self._log(jobs[jobs["status"] == "done"])),
        )

    def _log(self, jobs: Rows) -> "Log":
        tasks = self._tasks[np.isin(self._tasks["job"], jobs["job"])]
        order = np.lexsort((tasks["received"], tasks["job"], tasks["worker"]))
        tasks = tasks[order]
        starts = jobs["start"][np.searchsorted(jobs["job"], tasks["job"])]
        return Log(
            *(tasks["job"], tasks["unit"], tasks["task"], tasks["worker"] - 1),
            *(starts, tasks["received"], tasks["compute"] + np.nan_to_num(tasks["refine"])),
            tasks["status"] == "used",
        )


@dataclass(frozen=True)
class Log:
    """Tasks of some jobs, those of each worker together, in the order of their results.

    Attributes
    ----------
    job, unit, task, worker : ndarray of int, shape (tasks,)
        Which task, and who had it, from 0.
    start : ndarray of float, shape (tasks,)
        When its job started, since the run began.
    received : ndarray of float, shape (tasks,)
        When its answer was there, since that.
    seconds : ndarray of float, shape (tasks,)
        What it took; NaN if it was dropped.
    used : ndarray of bool, shape (tasks,)
        Whether its result was.
    """

    job: Integers
    unit: Integers
    task: Integers
    worker: Integers
    start: Floats
    received: Floats
    seconds: Floats
    used: NDArray[np.bool_]

    @property
    def computed(self) -> NDArray[np.bool_]:
        """Tasks that were not dropped."""
        return ~np.isnan(self.seconds)

    def of(self, chosen: NDArray[np.bool_]) -> "Log":
        """Return some of the tasks."""
        return Log(*(column[chosen] for column in vars(self).values()))


def _communication(log: Log, workers: int) -> Floats:
    """Return what comes before each worker's first result, where no late task kept it busy."""
    log = log.of(log.computed)
    first, idle = np.ones(len(log.job), bool), np.ones(len(log.job), bool)
    other = np.diff(log.worker) != 0
    first[1:] = other | (np.diff(log.job) != 0)
    idle[1:] = other | ((log.start + log.received)[:-1] <= log.start[1:])
    apart = log.received - log.seconds
    means = []
    for worker in range(workers):
        mine = first & (log.worker == worker)
        means.append(_mean(apart[mine & idle if (mine & idle).any() else mine]))
    return np.asarray(np.maximum(means, 0.0))


def _purge(log: Log) -> float:
    """Return how long workers go on with what they have left of a unit once it is recovered.

    In a time w a worker that does one task after the other begins w / mean of them: those that
    were begun after the recovery, over the chances that there were, give w. Left out is whoever
    brought the recovery about: it begins another task then, however short the time. All units have
    to be recovered.
    """
    _, unit = np.unique(np.stack([log.job, log.unit]), axis=1, return_inverse=True)
    recovered = np.full(unit.max(initial=-1) + 1, -np.inf)
    np.maximum.at(recovered, unit[log.used], log.received[log.used])
    last = log.used & (log.received == recovered[unit])
    who = np.full(len(recovered), -1)
    who[unit[last]] = log.worker[last]
    others = log.worker != who[unit]
    late = log.computed & others & (log.received - log.seconds > recovered[unit])
    left = late | (~log.computed & others)
    chances = np.unique(np.stack([unit[left], log.worker[left]]), axis=1)[1]
    means = {each: _mean(log.seconds[log.worker == each]) for each in set(chances.tolist())}
    pace = sum(1 / means[each] for each in chances.tolist() if means[each] > 0)
    return float(late.sum() / pace) if pace else 0.0


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0


def _overhead(jobs: Rows) -> float:
    """Return the mean time from a job's end to the start of the next one, if that was waiting."""
    names = ("variant", "repeat", "split", "redundancy", "deadline", "stragglers")
    streams = [np.nan_to_num(jobs[n]) if n == "deadline" else jobs[n] for n in names]
    same = np.all([each[1:] == each[:-1] for each in streams], axis=0)
    before, after = jobs[:-1], jobs[1:]
    waited = same & (after["arrival"] < before["end"]) & ~np.isnan(after["rate"])
    return max(0.0, _mean((after["start"] - before["end"])[waited]))
