"""Two studies side by side: which times changed, and whether chance alone could have done it."""

from dataclasses import dataclass

import numpy as np

from hpcrefine.analysis.samples import Sample, pairs, samples, varied
from hpcrefine.analysis.soundness import surroundings_apart
from hpcrefine.analysis.statistics import Summary, holm, mann_whitney, ratio_of_medians
from hpcrefine.analysis.study import Study
from hpcrefine.errors import InputError


@dataclass(frozen=True)
class Difference:
    """One layer of one variant in two studies.

    Attributes
    ----------
    settings : str
        Swept settings other than ranks and nodes, as ``"code.redundancy=1.25"``; empty if none.
    ranks : int
        The master included.
    variant : str
        ``"layered"``, ``"oneshot"``, or another label.
    layer : int
        Layer, or upgrade of an inference.
    base, new : Summary
        Seconds from a job's start to the layer; of count 0 where one study has no such times.
    ratio, low, high : float
        Median of new over that of base with its 95 % interval; NaN without a partner, the interval
        also for fewer than 6 times on a side.
    p : float
        Two-sided, of Mann and Whitney's test; NaN without a partner.
    significant : bool
        Whether it is below 5 % after Holm's correction over all rows.
    verdict : str
        In words: ``"faster"``, ``"slower"``, ``"no difference found"``, ``"only in base"``, ...
    """

    settings: str
    ranks: int
    variant: str
    layer: int
    base: Summary
    new: Summary
    ratio: float
    low: float
    high: float
    p: float
    significant: bool
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """All differences between two studies, with what is to be known of both.

    Attributes
    ----------
    base, new : str
        What the studies are called.
    rows : tuple of Difference
        See :func:`compare`.
    notes : tuple of str
        Lines ``"warning: ..."`` for people.
    """

    base: str
    new: str
    rows: tuple[Difference, ...]
    notes: tuple[str, ...]


def contrast(base: Study, new: Study) -> Comparison:
    """Compare the times of two studies, and say what else differs; see :func:`compare`."""
    notes = [
        *surroundings_apart(base.environment, new.environment),
        *(f"base: {line}" for line in (*base.warnings, *base.missing)),
        *(f"new: {line}" for line in (*new.warnings, *new.missing)),
    ]
    warnings = tuple(f"warning: {line}" for line in notes)
    return Comparison(base.title, new.title, compare(base, new), warnings)


def compare(base: Study, new: Study) -> tuple[Difference, ...]:
    """Compare the times of two studies, point by point, matched by settings and ranks.

    Parameters
    ----------
    base, new : Study
        Loaded with table ``layers`` (products) or ``upgrades`` (inference).

    Returns
    -------
    tuple of Difference
        By settings, ranks, variant and layer; what has no partner last.

    Raises
    ------
    InputError
        One study is of products, the other of inference, or nothing has a partner.
    """
    within = varied(base) | varied(new)
    partners = [*pairs(samples(base, within), samples(new, within))]
    if not any(one and other for one, other in partners):
        raise InputError(
            f"{new.title} against {base.title}: found no two points with the same settings and "
            "ranks, expected some"
        )
    chances = [
        mann_whitney(one.times, other.times) if one and other else np.nan for one, other in partners
    ]
    found = holm(chances)
    return tuple(
        _difference(one, other, chance, bool(significant))
        for (one, other), chance, significant in zip(partners, chances, found, strict=True)
    )


def _difference(
    one: Sample | None, other: Sample | None, chance: float, significant: bool
) -> Difference:
    base, new = (np.empty(0) if sample is None else sample.times for sample in (one, other))
    ratio, low, high = ratio_of_medians(new, base)
    either = one or other
    assert either is not None
    return Difference(
        settings=either.series,
        ranks=either.ranks,
        variant=either.variant,
        layer=either.layer,
        base=Summary.of(base),
        new=Summary.of(new),
        ratio=ratio,
        low=low,
        high=high,
        p=chance,
        significant=significant,
        verdict=_verdict(base.size, new.size, ratio, significant),
    )


def _verdict(base: int, new: int, ratio: float, significant: bool) -> str:
    if not (base and new):
        return "only in base" if base else "only in new" if new else "no times"
    if not significant:
        return "no difference found"
    return "faster" if ratio < 1 else "slower" if ratio > 1 else "other distribution"
