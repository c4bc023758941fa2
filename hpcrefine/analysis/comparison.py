"""Two studies side by side: which times changed, and whether chance alone could have done it."""

from dataclasses import dataclass

from hpcrefine.analysis.statistics import Summary
from hpcrefine.analysis.study import Study


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
    raise NotImplementedError
