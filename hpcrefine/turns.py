"""The jobs of a run in their order: warm-ups, then each repeat's variants shuffled."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError
from hpcrefine.job import CodeSection, Job

ONESHOT = "oneshot"


@dataclass(frozen=True)
class Turn:
    """One job of the run, or one stream of jobs.

    Attributes
    ----------
    variant : str
        The code's label if codes are compared, else ``"layered"``; or ``"oneshot"``.
    code : CodeSection or None
        How blocks are coded; None for one-shot in float64.
    split : str
        Load split.
    deadline : float or None
        Of each job of a stream, in seconds.
    stragglers : int
        Workers that are slowed down.
    repeat : int
        Which repetition.
    warmup : bool
        Whether it is not to be counted.
    """

    variant: str
    code: CodeSection | None
    split: str
    deadline: float | None
    stragglers: int
    repeat: int
    warmup: bool

    @property
    def whole(self) -> bool:
        """Whether the product is released in one piece."""
        return self.variant == ONESHOT


def generators(job: Job) -> list[np.random.Generator]:
    """Return a run's generators: A, B, order of turns, arrivals, simulated workers."""
    return np.random.default_rng(job.job.seed).spawn(5)


def arrivals(job: Job, repeat: int) -> NDArray[np.float64]:
    """Return when the jobs of a stream arrive, in seconds, in a repetition; shape (jobs,).

    All variants meet the same arrivals.

    Raises
    ------
    InputError
        If the job has no stream, or its file of arrivals has gone.
    """
    if job.stream is None:
        raise InputError(f"{job.path}: found no [stream], expected one")
    return job.stream.times(generators(job)[3].spawn(repeat + 1)[repeat])


def turns(job: Job) -> list[Turn]:
    """Return the jobs of a run: warm-ups first, then each repeat's variants in random order.

    The order is the seed's, and a longer run begins like a shorter one.
    """
    kinds: list[tuple[str, CodeSection | None]] = [*job.codes]
    if job.baseline.oneshot:
        codes = {code: None for _, code in job.codes} if job.baseline.coded else {None: None}
        kinds += [(ONESHOT, code) for code in codes]
    variants = [
        (label, code, split, deadline, slow)
        for label, code in kinds
        for split in job.splits
        for deadline in job.deadlines
        for slow in job.stragglers
    ]
    order = generators(job)[2]
    warmups = [(*v, repeat, True) for repeat in range(job.job.warmups) for v in variants]
    repeats = [
        (*variants[at], repeat, False)
        for repeat in range(job.job.repeats)
        for at in order.permutation(len(variants))
    ]
    return [Turn(*turn) for turn in warmups + repeats]
