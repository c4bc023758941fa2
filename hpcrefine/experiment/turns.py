"""The jobs of a run in their order: warm-ups, then each repeat's variants shuffled."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError
from hpcrefine.job import AnyJob, CodeSection, InferenceJob, Job, Setting

ONESHOT = "oneshot"
#: So many jobs of a stream warm up, if it has them.
STREAM_WARMUPS = 20

V = TypeVar("V")


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


@dataclass(frozen=True)
class InferenceTurn:
    """One job of a run of a network.

    Attributes
    ----------
    variant : str
        ``"adaptive"``, ``"all"`` or the label of a setting that is compared; or ``"oneshot"``.
    setting : Setting or None
        How the network is refined; None for one-shot in float32.
    repeat : int
        Which repetition.
    warmup : bool
        Whether it is not to be counted.
    """

    variant: str
    setting: Setting | None
    repeat: int
    warmup: bool


def inference_turns(job: InferenceJob) -> list[InferenceTurn]:
    """Return the jobs of a run of a network, in order as :func:`turns`."""
    return [
        InferenceTurn(*variant, repeat, warmup)
        for variant, repeat, warmup in in_order(job, _inference_variants(job))
    ]


def _inference_variants(job: InferenceJob) -> list[tuple[str, Setting | None]]:
    oneshot: list[tuple[str, Setting | None]] = [(ONESHOT, None)] if job.baseline.oneshot else []
    return [*job.settings, *oneshot]


def generators(job: AnyJob) -> list[np.random.Generator]:
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
    return [
        Turn(*variant, repeat, warmup)
        for variant, repeat, warmup in in_order(job, _product_variants(job))
    ]


_ProductVariant = tuple[str, CodeSection | None, str, float | None, int]


def _product_variants(job: Job) -> list[_ProductVariant]:
    kinds: list[tuple[str, CodeSection | None]] = [*job.codes]
    if job.baseline.oneshot:
        codes = {code: None for _, code in job.codes} if job.baseline.coded else {None: None}
        kinds += [(ONESHOT, code) for code in codes]
    return [
        (label, code, split, deadline, slow)
        for label, code in kinds
        for split in job.splits
        for deadline in job.deadlines
        for slow in job.stragglers
    ]


def in_order(job: AnyJob, variants: Sequence[V]) -> list[tuple[V, int, bool]]:
    """Return variant, repeat and warm-up or not of each job of a run, as :func:`turns` has them."""
    order = generators(job)[2]
    warmups = [(variant, repeat, True) for repeat in range(job.job.warmups) for variant in variants]
    repeats = [
        (variants[at], repeat, False)
        for repeat in range(job.job.repeats)
        for at in order.permutation(len(variants))
    ]
    return warmups + repeats


def count_variants(job: AnyJob) -> int:
    """Return how many variants each repeat of a run has."""
    if isinstance(job, InferenceJob):
        return len(_inference_variants(job))
    return len(_product_variants(job))


def count_jobs(job: AnyJob, warmups: bool = True) -> int:
    """Return how many jobs a run leaves in its record.

    Parameters
    ----------
    job : Job or InferenceJob
        What is run.
    warmups : bool
        Whether it warms up; simulations do not.

    Raises
    ------
    InputError
        If its file of arrivals has gone.
    """
    stream = None if isinstance(job, InferenceJob) else job.stream
    length = 1 if stream is None else stream.length
    warm = min(length, STREAM_WARMUPS) * job.job.warmups if warmups else 0
    return count_variants(job) * (warm + length * job.job.repeats)
