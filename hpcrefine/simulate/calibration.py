"""What a measured run tells of its workers: times of tasks, and all that is not a task."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError
from hpcrefine.record.reader import read
from hpcrefine.simulate.workload import Workload
from hpcrefine.turns import Turn

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
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
    communication : ndarray of float, shape (P,)
        Seconds from a job's start until a worker's first result that are neither computing nor
        refining, on the average over jobs that found it idle.
    decode : float
        Mean seconds from a layer's last result to its release.
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
        counted = record.jobs[~record.jobs["warmup"] & (record.jobs["status"] != "lost")]
        tasks = record.tasks[np.isin(record.tasks["job"], counted["job"])]
        tasks = tasks[~np.isnan(tasks["compute"])]
        if len(tasks) == 0:
            raise InputError(
                f"{path}: found no tasks, expected a record that has them ([record] tasks = true)"
            )
        self.workers = int(record.workers["rank"].max())
        self._jobs, self._tasks = counted, tasks
        self._seconds: Floats = tasks["compute"] + np.nan_to_num(tasks["refine"])
        missing = set(range(1, 1 + self.workers)) - set(tasks["worker"].tolist())
        if missing:
            raise InputError(
                f"{path}: found no task of worker {min(missing)}, expected some of each of the "
                f"{self.workers} workers"
            )
        self.communication = self._communication()
        self.decode = _mean(record.layers["decode"][np.isin(record.layers["job"], counted["job"])])
        self.overhead = _overhead(counted)

    @property
    def facts(self) -> dict[str, str | float]:
        """What the record of the simulation says of it."""
        return {
            "calibrated_from": str(self.path),
            "calibrated_communication": float(self.communication.mean()),
            "calibrated_decode": self.decode,
            "calibrated_overhead": self.overhead,
        }

    def __str__(self) -> str:
        return (
            f"calibrated from {self.path}: {len(self._tasks)} task times, communication "
            f"{self.communication.mean():.3g} s, decode {self.decode:.3g} s, overhead "
            f"{self.overhead:.3g} s"
        )

    def times(self, turn: Turn, workload: Workload) -> EmpiricalTimes:
        """Return the times of the tasks of a turn.

        Raises
        ------
        InputError
            If a worker did not compute any task of that variant, with so many stragglers.
        """
        same = (self._jobs["variant"] == turn.variant) & (
            self._jobs["stragglers"] == turn.stragglers
        )
        mine = np.isin(self._tasks["job"], self._jobs["job"][same])
        tasks, seconds = self._tasks[mine], self._seconds[mine]
        worker, unit = tasks["worker"] - 1, tasks["unit"]
        # A record of a code with more redundancy has tasks that this one lacks.
        there = (tasks["task"] < len(workload.costs)) & (unit < len(workload.cells))
        worker, unit, seconds = worker[there], unit[there], seconds[there]
        sizes = workload.costs[tasks["task"][there]] * workload.cells[unit]
        products = tuple((seconds / sizes)[worker == each] for each in range(self.workers))
        if not all(map(len, products)):
            lacking = 1 + [len(each) for each in products].index(0)
            raise InputError(
                f"{self.path}: found no task of worker {lacking} in jobs of variant "
                f'"{turn.variant}" with {turn.stragglers} stragglers, expected a record of the '
                "same job"
            )
        pools: dict[Key, list[float]] = {}
        for *key, took in zip(
            worker.tolist(), unit.tolist(), sizes.tolist(), seconds.tolist(), strict=True
        ):
            pools.setdefault((key[0], key[1], key[2]), []).append(took)
        return EmpiricalTimes({key: np.array(pool) for key, pool in pools.items()}, products)

    def _communication(self) -> Floats:
        """Return what comes before a worker's first task, where no late one kept it busy."""
        order = np.lexsort((self._tasks["received"], self._tasks["job"], self._tasks["worker"]))
        tasks, seconds = self._tasks[order], self._seconds[order]
        starts = self._jobs["start"][np.searchsorted(self._jobs["job"], tasks["job"])]
        first = np.ones(len(tasks), bool)
        first[1:] = (np.diff(tasks["job"]) != 0) | (np.diff(tasks["worker"]) != 0)
        until = starts + tasks["received"]
        idle = np.ones(len(tasks), bool)
        idle[1:] = (tasks["worker"][1:] != tasks["worker"][:-1]) | (until[:-1] <= starts[1:])
        apart = tasks["received"] - seconds
        means = []
        for worker in range(1, 1 + self.workers):
            mine = first & (tasks["worker"] == worker)
            means.append(apart[mine & idle if (mine & idle).any() else mine].mean())
        return np.asarray(np.maximum(means, 0.0))


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0


def _overhead(jobs: NDArray[np.void]) -> float:
    """Return the mean time from a job's end to the start of the next one, if that was waiting."""
    streams = [jobs[name] for name in ("variant", "repeat", "split", "redundancy", "stragglers")]
    same = np.all([each[1:] == each[:-1] for each in streams], axis=0)
    before, after = jobs[:-1], jobs[1:]
    waited = same & (after["arrival"] < before["end"]) & ~np.isnan(after["rate"])
    return max(0.0, _mean((after["start"] - before["end"])[waited]))
