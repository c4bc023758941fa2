"""The jobs of a run in their order: warm-ups, then each repeat's variants shuffled."""

from dataclasses import dataclass

import numpy as np

from hpcrefine.job import CodeSection, Job


@dataclass(frozen=True)
class Turn:
    """One job of the run.

    Attributes
    ----------
    variant : str
        The code's label if codes are compared, else ``"layered"``; or ``"oneshot"``.
    code : CodeSection or None
        How blocks are coded; None for one-shot.
    stragglers : int
        Workers that are slowed down.
    repeat : int
        Which repetition.
    warmup : bool
        Whether it is not to be counted.
    """

    variant: str
    code: CodeSection | None
    stragglers: int
    repeat: int
    warmup: bool


def turns(job: Job) -> list[Turn]:
    """Return the jobs of a run: warm-ups first, then each repeat's variants in random order.

    The order is the seed's, and a longer run begins like a shorter one.
    """
    kinds: list[tuple[str, CodeSection | None]] = [
        ("layered" if job.compare is None else label, code) for label, code in job.codes
    ]
    if job.baseline.oneshot:
        kinds.append(("oneshot", None))
    variants = [(label, code, slow) for label, code in kinds for slow in job.stragglers]
    order = np.random.default_rng(job.job.seed).spawn(3)[2]  # 0 and 1 draw the operands
    warmups = [(*v, repeat, True) for repeat in range(job.job.warmups) for v in variants]
    repeats = [
        (*variants[at], repeat, False)
        for repeat in range(job.job.repeats)
        for at in order.permutation(len(variants))
    ]
    return [Turn(*turn) for turn in warmups + repeats]
