"""Random workers: how long each of them takes for a task.

The time of a task is the larger one of what it takes to compute, operations over the worker's rate
with a random variation, and of the time that is injected (``[faults] service``), as on real ranks;
times the slowness of the worker.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError
from hpcrefine.experiment.turns import generators
from hpcrefine.faults import Faults, Service
from hpcrefine.job import Job

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_SAMPLES = 4096  # for moments of the larger one of two random times
_NONE = -1


class Times(Protocol):
    """What is known of the times of tasks; workers are counted from 0."""

    @property
    def steady(self) -> bool:
        """Whether the same task always takes the same time."""

    def draw(
        self, rng: np.random.Generator, unit: int, workers: Integers, sizes: Floats, jobs: int
    ) -> Floats:
        """Draw times in seconds, shape (jobs, tasks).

        Parameters
        ----------
        rng : Generator
            Where from.
        unit : int
            Unit that the tasks are of.
        workers : ndarray of int, shape (tasks,)
            Who does each task.
        sizes : ndarray of float, shape (tasks,)
            How large each is, in digit products of full size.
        jobs : int
            How many times.
        """

    def exponential(self, size: float) -> Floats | None:
        """Return rates in tasks a second, shape (P,), if times of such tasks are exponential."""

    def moments(self, size: float) -> tuple[Floats, Floats]:
        """Return means and deviations for tasks of a size, in seconds per digit product."""


@dataclass(frozen=True)
class RandomTimes:
    """Times that come from rates, from an injected service, or from both.

    Attributes
    ----------
    seconds : ndarray of float, shape (P,), or None
        Mean time that each worker takes to compute a digit product.
    variation : Service
        How that varies, of mean 1.
    services : tuple of Service
        Injected services that differ.
    injected : ndarray of int, shape (P,)
        Which of them each worker has, -1 for none.
    """

    seconds: Floats | None
    variation: Service
    services: tuple[Service, ...]
    injected: Integers

    @property
    def steady(self) -> bool:
        """Whether nothing varies."""
        return all(each.distribution == "deterministic" for each in self._deciding)

    def draw(
        self, rng: np.random.Generator, unit: int, workers: Integers, sizes: Floats, jobs: int
    ) -> Floats:
        """Draw times, see :class:`Times`."""
        shape = jobs, len(workers)
        if self.seconds is None:
            times = np.zeros(shape)
        else:
            times = np.asarray(self.variation.draw(rng, shape))
            times *= self.seconds[workers] * sizes
        kinds = self.injected[workers]
        for kind, service in enumerate(self.services):
            (mine,) = np.nonzero(kinds == kind)
            drawn = np.asarray(service.draw(rng, (jobs, len(mine))))
            if service.per == "product":
                drawn *= sizes[mine]
            times[:, mine] = np.maximum(times[:, mine], drawn)
        return times

    def exponential(self, size: float) -> Floats | None:
        """Return rates if only one exponential time decides at each worker."""
        both = self.seconds is not None and len(self.services) > 0
        if both or any(each.distribution != "exponential" for each in self._deciding):
            return None
        return np.asarray(1 / self._means(size))

    def moments(self, size: float) -> tuple[Floats, Floats]:
        """Return means and deviations, see :class:`Times`; sampled where two times compete."""
        computing = self._computing(size)
        means, deviations = computing, computing * np.sqrt(self.variation.variance)
        for kind, service in enumerate(self.services):
            mine = self.injected == kind
            scale = size if service.per == "product" else 1.0
            if self.seconds is None:
                means[mine] = scale * service.mean
                deviations[mine] = scale * np.sqrt(service.variance)
                continue
            rng = np.random.default_rng(0)
            varied = self.variation.draw(rng, (_SAMPLES,))
            other = scale * service.draw(rng, (_SAMPLES,))
            different, inverse = np.unique(computing[mine], return_inverse=True)
            larger = [np.maximum(mean * varied, other) for mean in different.tolist()]
            means[mine] = np.array([each.mean() for each in larger])[inverse]
            deviations[mine] = np.array([each.std() for each in larger])[inverse]
        return means / size, deviations / size

    @property
    def _deciding(self) -> tuple[Service, ...]:
        """What decides how long a task takes."""
        return self.services if self.seconds is None else (self.variation, *self.services)

    def _computing(self, size: float) -> Floats:
        alike = np.zeros(len(self.injected)) if self.seconds is None else self.seconds
        return alike * size

    def _means(self, size: float) -> Floats:
        means = self._computing(size)
        for kind, service in enumerate(self.services):
            scale = size if service.per == "product" else 1.0
            means[self.injected == kind] = scale * service.mean
        return means


@dataclass(frozen=True)
class Slowness:
    """How many times as long each worker takes, from job to job of a stream.

    Attributes
    ----------
    since : tuple of int
        Jobs at which something changes, ascending, the first one 0.
    factors : tuple of ndarray of float, shape (P,)
        From there on.
    """

    since: tuple[int, ...]
    factors: tuple[Floats, ...]

    @classmethod
    def of(cls, faults: Sequence[Faults]) -> "Slowness":
        """Make it of what befalls workers 0..P-1."""
        since = sorted({0, *(job for each in faults for job, _ in each.slows)})
        kinds = {each: place for place, each in enumerate(dict.fromkeys(faults))}
        places = np.array([kinds[each] for each in faults])
        factors = [np.array([each.slowness(job) for each in kinds])[places] for job in since]
        return cls(tuple(since), tuple(factors))

    @property
    def changes(self) -> bool:
        """Whether a worker becomes slower, or faster, in the midst of a stream."""
        return len(self.since) > 1

    def segments(self, jobs: int) -> list[tuple[int, int, Floats]]:
        """Return from which to before which job which factors hold."""
        ends = (*self.since[1:], jobs)
        spans = zip(self.since, ends, self.factors, strict=True)
        return [(a, min(b, jobs), factors) for a, b, factors in spans if a < jobs]


def random_times(job: Job, faults: Sequence[Faults], product: float) -> RandomTimes:
    """Return the times of the workers of a job.

    Parameters
    ----------
    job : Job
        Says rates, and how times vary.
    faults : sequence of Faults
        What befalls each worker.
    product : float
        Operations of a digit product.

    Raises
    ------
    InputError
        If there is nothing that says how fast a worker is.
    """
    services = tuple(dict.fromkeys(each.service for each in faults if each.service))
    places = {service: place for place, service in enumerate(services)}
    injected = np.array([places[f.service] if f.service else _NONE for f in faults])
    seconds = expected(job, len(faults), product)
    if seconds is None and (injected == _NONE).any():
        raise InputError(
            f"{job.where('workers', 'rates')}: found nothing, expected operations a second "
            "(or [faults] service, or --calibrate RECORD)"
        )
    given = job.simulate.service
    shape = Service.shape if given.shape is None else given.shape
    variation = Service(given.distribution, 1.0, given.shift or 0.0, shape)
    return RandomTimes(seconds, variation, services, injected)


def expected(job: Job, workers: int, product: float) -> Floats | None:
    """Return the seconds in which each worker is said to compute a digit product.

    Parameters
    ----------
    job : Job
        Says rates, or not: then nothing is expected.
    workers : int
        Number P of workers.
    product : float
        Operations of a digit product.

    Raises
    ------
    InputError
        If there are rates of another number of workers.
    """
    return job.workers.seconds(workers, product, generators(job)[4].spawn(1)[0])


def assigned(job: Job, workers: int, stragglers: int) -> list[Faults]:
    """Return what befalls workers 0..P-1 when so many of them are stragglers.

    Raises
    ------
    InputError
        If it is something that cannot be simulated, or befalls more workers than there are.
    """
    for index, entry in enumerate(job.faults.worker):
        for key in ("pauses", "silent", "kill", "corrupt"):
            if getattr(entry, key) is not None:
                raise InputError(
                    f"{job.where('faults', f'worker[{index}].{key}')}: found it in a simulation, "
                    "expected slowdown, slows or service only"
                )
    try:
        befalls = job.faults.assign(workers, job.job.seed, stragglers)
    except InputError as error:
        raise InputError(f"{job.path}: {error}") from None
    return [befalls[rank] for rank in range(1, workers + 1)]
