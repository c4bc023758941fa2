"""The sections about workers: what is asked of them, and what is done to them on purpose."""

from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Discriminator, Field, Strict, Tag, model_validator

from hpcrefine import faults
from hpcrefine.errors import InputError
from hpcrefine.job.base import Section, rule
from hpcrefine.job.stream import RandomRates, Rates

_RATES = 'a number > 0, or a list of them, or {random = "uniform", sum = ...}'


def _rates_kind(value: object) -> str:
    if isinstance(value, dict | RandomRates):
        return "random"
    return "list" if isinstance(value, list | tuple) else "one"


_AnyRates = Annotated[
    Annotated[float, Tag("one")]
    | Annotated[Rates, Tag("list")]
    | Annotated[RandomRates, Tag("random")],
    Discriminator(_rates_kind),
]


class PatienceSection(Section):
    """``[workers]``: what is asked of the workers.

    Attributes
    ----------
    timeout : float, optional
        Seconds after which a worker that owes an answer is given up.
    """

    timeout: float | None = Field(default=None, gt=0)


class WorkersSection(PatienceSection):
    """``[workers]``: what is asked of the workers, and what is known of them.

    Attributes
    ----------
    count : int, optional
        How many workers ``simulate`` has, where rates are no list.
    rates : float, tuple of float or RandomRates, optional
        Operations a second of each worker, or of all alike; known to ``simulate`` and, as a first
        estimate, to the split ``optimal``.
    """

    count: int | None = Field(default=None, ge=1, le=10**7)
    rates: _AnyRates | None = Field(default=None, description=_RATES)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if isinstance(self.rates, float) and self.rates <= 0:
            raise rule("rates", _RATES)
        if isinstance(self.rates, tuple) and self.count not in (None, len(self.rates)):
            raise rule("count", f"{len(self.rates)}, as many as there are rates")
        return self

    def seconds(
        self, workers: int, operations: float, rng: np.random.Generator
    ) -> NDArray[np.float64] | None:
        """Return what each worker is said to take for so many operations; None if nothing is said.

        Parameters
        ----------
        workers : int
            Number P of workers.
        operations : float
            How many.
        rng : Generator
            For random rates.

        Raises
        ------
        InputError
            If there are rates of another number of workers.
        """
        rates = self.rates
        if rates is None:
            return None
        if isinstance(rates, RandomRates):
            return np.asarray(operations / rates.draw(workers, rng))
        if isinstance(rates, tuple) and len(rates) != workers:
            raise InputError(
                f"[workers] rates: found {len(rates)}, expected {workers}, one for each worker"
            )
        return np.broadcast_to(operations / np.asarray(rates, np.float64), workers)


class ServiceTime(Section):
    """The random time that a task takes, see :class:`hpcrefine.faults.Service`.

    Attributes
    ----------
    distribution : str
        Its shape.
    mean : float
        Its mean, in seconds.
    shift : float, optional
        The least time of ``shifted-exponential``, in seconds.
    shape : float, optional
        The tail index of ``pareto``, 2.5 unless given.
    per : {"task", "product"}
        Whether it is the time of a task whatever its size, or that of a whole digit product, of
        which each task takes its part.
    """

    distribution: Literal["exponential", "shifted-exponential", "pareto", "deterministic"]
    mean: float = Field(gt=0)
    shift: float | None = Field(default=None, ge=0)
    shape: float | None = Field(default=None, gt=1)
    per: Literal["task", "product"] = "task"

    @model_validator(mode="after")
    def _suits_the_distribution(self) -> Self:
        drawn = f'with distribution = "{self.distribution}"'
        if self.distribution != "shifted-exponential":
            if self.shift is not None:
                raise rule("shift", f"no such key {drawn}")
        elif self.shift is None or self.shift >= self.mean:
            raise rule("shift", f"a number >= 0 and below mean = {self.mean:g} {drawn}")
        if self.distribution != "pareto" and self.shape is not None:
            raise rule("shape", f"no such key {drawn}")
        return self

    def service(self) -> faults.Service:
        """Return the distribution to draw from."""
        return faults.Service(**self.model_dump(exclude_none=True))


class Moment(Section):
    """When something befalls a worker; exactly one of the two.

    Attributes
    ----------
    at : float, optional
        Seconds since the run began.
    after : int, optional
        Tasks that the worker has computed.
    """

    at: float | None = Field(default=None, ge=0)
    after: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.at is None) == (self.after is None):
            raise rule("", "either at or after")
        return self


class Corruption(Section):
    """Wrong results.

    Attributes
    ----------
    rate : float
        Probability that the result of a task is wrong.
    kind : {"bit-flip", "wrong-block", "stale-job", "any"}
        How it is wrong.
    """

    rate: float = Field(ge=0, le=1)
    kind: Literal["bit-flip", "wrong-block", "stale-job", "any"] = "any"


def _one_after_the_other(
    pauses: tuple[tuple[float, float], ...],
) -> tuple[tuple[float, float], ...]:
    end = 0.0
    for at, seconds in pauses:
        if at < end or seconds <= 0:
            raise ValueError("before the end of the last")
        end = at + seconds
    return pauses


def _job_after_job(slows: tuple[tuple[int, float], ...]) -> tuple[tuple[int, float], ...]:
    jobs = [job for job, _ in slows]
    if min(jobs) < 0 or sorted(set(jobs)) != jobs or min(factor for _, factor in slows) < 1:
        raise ValueError("not ascending, or faster")
    return slows


_Slow = Annotated[tuple[int, float], Strict(False)]
_Pause = Annotated[tuple[float, float], Strict(False)]
_SERVICE = "{distribution = ..., mean = ...}"
_MOMENT = "{at = seconds} or {after = tasks}"


class FaultyWorker(Section):
    """``[[faults.worker]]``: what befalls one worker, or ``count`` workers drawn from the seed.

    Attributes
    ----------
    rank, count : int, optional
        Which worker, from 1, or how many; exactly one of the two.
    slowdown, slows, service, pauses, silent, kill, corrupt
        As in :class:`hpcrefine.faults.Faults`; at least one of them.
    """

    rank: int | None = Field(default=None, ge=1)
    count: int | None = Field(default=None, ge=1)
    slowdown: float | None = Field(default=None, ge=1)
    service: ServiceTime | None = Field(default=None, description=_SERVICE)
    slows: Annotated[tuple[_Slow, ...], Strict(False), AfterValidator(_job_after_job)] | None = (
        Field(
            default=None,
            min_length=1,
            description="a list of [job, factor], factor >= 1, from job to later job",
        )
    )
    pauses: (
        Annotated[tuple[_Pause, ...], Strict(False), AfterValidator(_one_after_the_other)] | None
    ) = Field(
        default=None,
        min_length=1,
        description="a list of [at, seconds], at >= 0, seconds > 0, one after the other",
    )
    silent: Moment | None = Field(default=None, description=_MOMENT)
    kill: Moment | None = Field(default=None, description=_MOMENT)
    corrupt: Corruption | None = Field(default=None, description="{rate = ..., kind = ...}")

    @model_validator(mode="after")
    def _somebody_something(self) -> Self:
        if (self.rank is None) == (self.count is None):
            raise rule("", "either rank or count")
        befalls = ("slowdown", "slows", "service", "pauses", "silent", "kill", "corrupt")
        if all(getattr(self, key) is None for key in befalls):
            raise rule("", f"at least one of {', '.join(befalls)}")
        return self

    @model_validator(mode="after")
    def _silent_before_dead(self) -> Self:
        for key in ("at", "after"):
            silent, kill = getattr(self.silent, key, None), getattr(self.kill, key, None)
            if silent is not None and kill is not None and silent >= kill:
                raise rule(("silent", key), f"less than kill.{key} = {kill:g}")
        return self

    def entry(self) -> faults.Entry:
        """Return what :func:`hpcrefine.faults.assign` takes."""
        befalls = faults.Faults(
            slowdown=self.slowdown or 1.0,
            slows=self.slows or (),
            service=self.service.service() if self.service else None,
            pauses=self.pauses or (),
            silent_at=self.silent.at if self.silent else None,
            silent_after=self.silent.after if self.silent else None,
            kill_at=self.kill.at if self.kill else None,
            kill_after=self.kill.after if self.kill else None,
            corrupt_rate=self.corrupt.rate if self.corrupt else 0.0,
            corrupt_kind=self.corrupt.kind if self.corrupt else "any",
        )
        return faults.Entry(befalls, self.rank, self.count or 1)


class FaultsSection(Section):
    """``[faults]``: what is done to the workers on purpose.

    Attributes
    ----------
    service : ServiceTime, optional
        Random time that each task takes, at every worker.
    stragglers : int
        So many workers, drawn from the seed, are slower.
    slowdown : float
        How many times as long they take.
    worker : tuple of FaultyWorker
        Faults of single workers, which are no stragglers beside.
    """

    service: ServiceTime | None = Field(default=None, description=_SERVICE)
    stragglers: int = Field(default=0, ge=0)
    slowdown: float = Field(default=5.0, ge=1)
    worker: Annotated[tuple[FaultyWorker, ...], Strict(False)] = Field(
        default=(), description="a list of tables with rank or count and faults"
    )

    @model_validator(mode="after")
    def _ranks_once(self) -> Self:
        ranks = [entry.rank for entry in self.worker]
        for index, rank in enumerate(ranks):
            if rank is not None and rank in ranks[:index]:
                raise rule(("worker", index, "rank"), "a rank that no other worker has")
        return self

    def assign(
        self, workers: int, seed: int, stragglers: int | None = None
    ) -> dict[int, faults.Faults]:
        """Say what befalls each worker, see :func:`hpcrefine.faults.assign`.

        Parameters
        ----------
        workers : int
            Number P of workers, which have ranks 1..P.
        seed : int
            The job's.
        stragglers : int, optional
            How many, if not as many as the section says.

        Raises
        ------
        InputError
            If the section asks for more workers than there are.
        """
        return faults.assign(
            workers,
            seed,
            service=self.service.service() if self.service else None,
            stragglers=self.stragglers if stragglers is None else stragglers,
            slowdown=self.slowdown,
            entries=[entry.entry() for entry in self.worker],
        )


def check_noticed(workers: PatienceSection, faults: FaultsSection) -> None:
    """Raise unless somebody notices workers that fall silent."""
    for index, entry in enumerate(faults.worker):
        if entry.silent is not None and workers.timeout is None:
            expected = f"a number > 0 with [faults] worker[{index}].silent, else the run hangs"
            raise rule(("workers", "timeout"), expected)
