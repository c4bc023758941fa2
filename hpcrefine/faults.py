"""Injected faults: workers that are slow, pause, fall silent, die, or lie.

What befalls a worker is fixed before the run (:class:`Faults`); what is left to chance depends on
the seed and the place of a task alone (:class:`Draws`), so that a run can be repeated.
Worker ranks import this module.
"""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError

DISTRIBUTIONS = ("exponential", "shifted-exponential", "pareto", "deterministic")
CORRUPTIONS = ("bit-flip", "wrong-block", "stale-job")

_SERVICE, _CORRUPTION, _ASSIGNMENT = range(0xFA0, 0xFA3)  # streams apart from a job's other draws


@dataclass(frozen=True)
class Service:
    """The distribution of the time that a task takes.

    Attributes
    ----------
    distribution : {"exponential", "shifted-exponential", "pareto", "deterministic"}
        Shifted: a constant plus an exponential time. Pareto: heavy-tailed above a least time.
    mean : float
        Mean in seconds, of all distributions, above 0.
    shift : float
        The constant of ``shifted-exponential``, in seconds, 0 or more and below the mean.
    shape : float
        The tail index of ``pareto``, above 1: P(time > t) falls as ``t**-shape``.
    per : {"task", "product"}
        Of what it is the time: of a task whatever its size, or of a digit product of full size.
    """

    distribution: str
    mean: float
    shift: float = 0.0
    shape: float = 2.5
    per: str = "task"

    @overload
    def draw(self, rng: np.random.Generator) -> float: ...
    @overload
    def draw(
        self, rng: np.random.Generator, size: int | tuple[int, ...]
    ) -> NDArray[np.float64]: ...

    def draw(
        self, rng: np.random.Generator, size: int | tuple[int, ...] | None = None
    ) -> float | NDArray[np.float64]:
        """Draw one time, or an array of them, in seconds."""
        if self.distribution == "exponential":
            return rng.exponential(self.mean, size)
        if self.distribution == "shifted-exponential":
            return self.shift + rng.exponential(self.mean - self.shift, size)
        if self.distribution == "pareto":
            return self._least * (1 + rng.pareto(self.shape, size))
        return self.mean if size is None else np.full(size, self.mean)

    @property
    def variance(self) -> float:
        """Variance in seconds squared; infinite for ``pareto`` with a shape of 2 or less."""
        if self.distribution == "exponential":
            return self.mean**2
        if self.distribution == "shifted-exponential":
            return (self.mean - self.shift) ** 2
        if self.distribution == "pareto":
            excess = self.shape - 2
            return self.mean**2 / (self.shape * excess) if excess > 0 else math.inf
        return 0.0

    @property
    def _least(self) -> float:
        return self.mean * (self.shape - 1) / self.shape


@dataclass(frozen=True)
class Faults:
    """What befalls one worker. All times are seconds since the run began.

    Attributes
    ----------
    slowdown : float
        How many times as long it takes for each task, 1 or more.
    slows : tuple of (int, float)
        From which job on (of a stream, from 0) it takes how many times as long as that.
    service : Service, optional
        Random time that each task takes, before the slowdown.
    pauses : tuple of (float, float)
        When it stops and for how many seconds, one after the other.
    silent_at, kill_at : float, optional
        When it stops answering; when it dies.
    silent_after, kill_after : int, optional
        The same, by the number of tasks it has computed.
    corrupt_rate : float
        Probability that the result of a task is wrong.
    corrupt_kind : {"bit-flip", "wrong-block", "stale-job", "any"}
        How: one bit of it, another task's result, an earlier job's, or one of these at random.
    """

    slowdown: float = 1.0
    slows: tuple[tuple[int, float], ...] = ()
    service: Service | None = None
    pauses: tuple[tuple[float, float], ...] = ()
    silent_at: float | None = None
    silent_after: int | None = None
    kill_at: float | None = None
    kill_after: int | None = None
    corrupt_rate: float = 0.0
    corrupt_kind: str = "any"

    @property
    def empty(self) -> bool:
        """Whether the worker is left alone."""
        return dataclasses.replace(self, corrupt_kind="any") == Faults()

    def slowness(self, job: int) -> float:
        """Return how many times as long tasks of a job take, jobs of a stream counted from 0."""
        factor = 1.0
        for since, other in self.slows:
            factor = other if job >= since else factor
        return self.slowdown * factor

    def to_json(self) -> str:
        """Return it as JSON text, for :meth:`from_json`."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return what :meth:`to_json` wrote."""
        values: dict[str, Any] = json.loads(text)
        service = values.pop("service")
        pauses = tuple((at, seconds) for at, seconds in values.pop("pauses"))
        slows = tuple((job, factor) for job, factor in values.pop("slows"))
        return cls(service=service and Service(**service), pauses=pauses, slows=slows, **values)


class Draws:
    """What chance decides for one worker.

    It is a function of the seed, its rank, the task, and how often it has done that one before.

    Parameters
    ----------
    seed : int
        The job file's, 0 or more.
    rank : int
        The worker's.
    """

    def __init__(self, seed: int, rank: int) -> None:
        self._seed, self._rank = seed, rank

    def service(
        self,
        faults: Faults,
        job: int,
        unit: int,
        task: int,
        attempt: int = 0,
        digit_products: float = 1.0,
    ) -> float:
        """Return the seconds that a task takes (the slowdown not counted), 0 without a service.

        Parameters
        ----------
        faults : Faults
            The worker's.
        job, unit, task, attempt : int
            What is computed, and how often this worker has done it before.
        digit_products : float
            How large the task is, in digit products of full size.
        """
        if faults.service is None:
            return 0.0
        size = digit_products if faults.service.per == "product" else 1.0
        return size * faults.service.draw(self._generator(_SERVICE, job, unit, task, attempt))

    def corruption(
        self, faults: Faults, job: int, unit: int, task: int, attempt: int = 0
    ) -> tuple[str, np.random.Generator] | None:
        """Return how a result is to be corrupted and a generator for the details, None if not."""
        if faults.corrupt_rate == 0:
            return None
        rng = self._generator(_CORRUPTION, job, unit, task, attempt)
        if rng.random() >= faults.corrupt_rate:
            return None
        chosen = CORRUPTIONS[rng.integers(len(CORRUPTIONS))]
        return (chosen if faults.corrupt_kind == "any" else faults.corrupt_kind), rng

    def _generator(self, stream: int, *place: int) -> np.random.Generator:
        key = (stream, self._rank, *place)
        return np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=key))


@dataclass(frozen=True)
class Entry:
    """Faults of one worker, named by its rank, or of ``count`` workers drawn at random."""

    faults: Faults
    rank: int | None = None
    count: int = 1


def assign(
    workers: int,
    seed: int,
    *,
    service: Service | None = None,
    stragglers: int = 0,
    slowdown: float = 1.0,
    entries: Sequence[Entry] = (),
) -> dict[int, Faults]:
    """Say what befalls each worker.

    Workers drawn for entries are different from each other and from those named, and stragglers
    are workers without an entry. More stragglers are the same ones and others: the seed puts the
    workers in an order that the drawn ones are taken from.

    Parameters
    ----------
    workers : int
        Number P of workers, which have ranks 1..P.
    seed : int
        The job file's.
    service : Service, optional
        That of all workers whose entry has none of its own.
    stragglers : int
        How many workers have the ``slowdown``.
    slowdown : float
        How many times as long stragglers take.
    entries : sequence of Entry
        Faults of single workers; no rank twice.

    Returns
    -------
    dict of int to Faults
        For each of the ranks 1..P.

    Raises
    ------
    InputError
        If a rank is beyond P or more workers are to be drawn than there are.
    """
    for index, entry in enumerate(entries):
        if entry.rank is not None and entry.rank > workers:
            raise InputError(
                f"[faults] worker[{index}].rank: found {entry.rank}, expected 1..{workers}, "
                "the ranks of the workers"
            )
    stream = np.random.SeedSequence(seed, spawn_key=(_ASSIGNMENT,))
    order = (1 + np.random.default_rng(stream).permutation(workers)).tolist()
    named = {entry.rank for entry in entries}
    free = [rank for rank in order if rank not in named]
    assigned = dict.fromkeys(range(1, workers + 1), Faults())
    for index, entry in enumerate(entries):
        if entry.rank is not None:
            assigned[entry.rank] = entry.faults
        else:
            taken, free = _take(free, entry.count, f"[faults] worker[{index}].count")
            assigned |= dict.fromkeys(taken, entry.faults)
    taken, _ = _take(free, stragglers, "[faults] stragglers")
    assigned |= dict.fromkeys(taken, Faults(slowdown=slowdown))
    return {
        rank: dataclasses.replace(faults, service=faults.service or service)
        for rank, faults in assigned.items()
    }


def _take(free: list[int], count: int, key: str) -> tuple[list[int], list[int]]:
    if count > len(free):
        raise InputError(
            f"{key}: found {count}, expected at most {len(free)}, "
            "the number of workers that no [[faults.worker]] has taken"
        )
    return free[:count], free[count:]
