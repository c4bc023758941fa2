"""The sections about jobs that arrive in a stream, and about simulating them."""

from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, Strict, ValidationInfo, model_validator

from hpcrefine.errors import InputError
from hpcrefine.job.base import Section, complaint, rule
from hpcrefine.schedule.arrivals import Times, arrival_times, read_arrivals

_PATTERNS = ("poisson", "periodic")


def _pattern_or_file(arrivals: str, info: ValidationInfo) -> str:
    """Take a pattern as it is; read a file, so that its mistakes come up now."""
    if arrivals in _PATTERNS:
        return arrivals
    path = (info.context or {}).get("base", Path()) / arrivals
    if not path.is_file():
        raise ValueError("neither a pattern nor a file")
    try:
        read_arrivals(path)
    except InputError as error:
        raise complaint(error) from None
    return str(path)


class StreamSection(Section):
    """``[stream]``: jobs that arrive one after the other and wait in one queue.

    Attributes
    ----------
    jobs : int, optional
        How many; all of the file's unless given.
    rate : float, optional
        Mean arrivals a second; not with a file.
    arrivals : str
        ``poisson``, ``periodic``, or the path of a text file of ascending times in seconds, one a
        line, relative to the job file's folder.
    deadline : float, optional
        Seconds that a job has: with the policy ``queue`` since its start, with ``strict`` since its
        arrival.
    policy : {"queue", "strict"}
        What ends at the deadline: a job that keeps another one waiting, or every job.
    new : {"b", "both"}
        What each job brings with it; with ``b``, A stays at the workers.
    columns : int, optional
        Columns of b that each job takes, the next ones every time; all unless given.
    """

    jobs: int | None = Field(default=None, ge=1)
    rate: float | None = Field(default=None, gt=0)
    arrivals: Annotated[str, AfterValidator(_pattern_or_file)] = Field(
        default="poisson", description='"poisson" or "periodic" or the path of a file of times'
    )
    deadline: float | None = Field(default=None, gt=0)
    policy: Literal["queue", "strict"] = "queue"
    new: Literal["b", "both"] = "b"
    columns: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _rate_or_file(self) -> Self:
        patterned = self.arrivals in _PATTERNS
        if patterned and self.rate is None:
            raise rule("rate", f'a number > 0 with arrivals = "{self.arrivals}"')
        if patterned and self.jobs is None:
            raise rule("jobs", f'an integer >= 1 with arrivals = "{self.arrivals}"')
        if not patterned and self.rate is not None:
            raise rule("rate", "no such key with a file of arrivals")
        if not patterned and self.jobs is not None:
            there = len(read_arrivals(Path(self.arrivals)))
            if self.jobs > there:
                raise rule("jobs", f"at most {there}, the times in {self.arrivals}")
        return self

    def times(self, rng: np.random.Generator) -> Times:
        """Return when the jobs arrive, in seconds, shape (jobs,)."""
        if self.rate is None or self.jobs is None:
            return read_arrivals(Path(self.arrivals))[: self.jobs]
        return arrival_times(self.arrivals, self.jobs, self.rate, rng)

    @property
    def length(self) -> int:
        """How many jobs there are."""
        return len(read_arrivals(Path(self.arrivals))) if self.jobs is None else self.jobs


class SimulatedService(Section):
    """How the time of a task varies about its mean, operations over the worker's rate.

    Attributes
    ----------
    distribution : str
        Its shape.
    shift : float, optional
        The least time of ``shifted-exponential``, as a share of the mean.
    shape : float, optional
        The tail index of ``pareto``, 2.5 unless given.
    """

    distribution: Literal["exponential", "shifted-exponential", "pareto", "deterministic"] = (
        "exponential"
    )
    shift: float | None = Field(default=None, ge=0, lt=1)
    shape: float | None = Field(default=None, gt=1)

    @model_validator(mode="after")
    def _suits_the_distribution(self) -> Self:
        drawn = f'with distribution = "{self.distribution}"'
        if (self.distribution == "shifted-exponential") != (self.shift is not None):
            shifted = self.distribution == "shifted-exponential"
            raise rule(
                "shift", f"a number >= 0 and < 1 {drawn}" if shifted else f"no such key {drawn}"
            )
        if self.distribution != "pareto" and self.shape is not None:
            raise rule("shape", f"no such key {drawn}")
        return self


class SimulateSection(Section):
    """``[simulate]``: what random workers are like; real ranks do not read it.

    Attributes
    ----------
    model : {"ranks", "published"}
        As ranks do it: a worker goes on with its next task by itself, and finishes a task that is
        purged once it has begun. Or as in the sources: all workers begin a mini-job together and
        drop purged tasks at once, and a job that outlives its deadline lets the next one begin at
        that one's own arrival.
    service : SimulatedService
        How the times of tasks vary.
    communication : float
        Seconds from a job's start until a worker begins.
    decode : float
        Seconds from the last result that a layer needs to its release.
    overhead : float
        Seconds from a job's end to the next one's start at the earliest.
    purge : float
        Seconds from a recovery, or from a job's end, until workers know that its tasks are purged;
        with the model of ranks.
    """

    model: Literal["ranks", "published"] = "ranks"
    service: SimulatedService = Field(
        default=SimulatedService(), description="{distribution = ...}"
    )
    communication: float = Field(default=0.0, ge=0)
    decode: float = Field(default=0.0, ge=0)
    overhead: float = Field(default=0.0, ge=0)
    purge: float = Field(default=0.0, ge=0)


class RandomRates(Section):
    """Rates drawn uniformly from the job's seed, then scaled.

    Attributes
    ----------
    random : {"uniform"}
        Their distribution before scaling, on 0..1 unless low is given.
    low : float
        The least rate as a share of the largest possible one.
    sum : float
        What they add up to, in operations a second.
    """

    random: Literal["uniform"]
    low: float = Field(default=0.0, ge=0, lt=1)
    sum: float = Field(gt=0)

    def draw(self, workers: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw the rates of so many workers, in operations a second."""
        drawn = rng.uniform(self.low, 1, workers)
        return np.asarray(drawn * (self.sum / drawn.sum()))


def _positive(rates: tuple[float, ...]) -> tuple[float, ...]:
    if not rates or min(rates) <= 0:
        raise ValueError("empty, or not positive")
    return rates


Rates = Annotated[tuple[float, ...], Strict(False), AfterValidator(_positive)]
