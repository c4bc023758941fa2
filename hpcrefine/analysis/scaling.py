"""Strong and weak scaling: times over workers, with speed-up and efficiency against a base case.

Strong scaling: the problem stays, E(p) = p0 T(p0) / (p T(p)). Weak: it grows with p, E(p) = T(p0) /
T(p). Here p counts workers, the master does not count. T is the median time to a resolution, and
the base p0 has the fewest workers. It is named with its absolute time: rule 1 of Hoefler and Belli,
"Scientific Benchmarking of Parallel Computing Systems", SC'15.
"""

from dataclasses import dataclass

from hpcrefine.analysis.model import Model
from hpcrefine.analysis.statistics import Summary
from hpcrefine.analysis.study import Study


@dataclass(frozen=True)
class ScalingRow:
    """One layer of one variant with as many workers.

    Attributes
    ----------
    series : str
        Swept settings other than ranks and nodes, as ``"code.redundancy=1.25"``; empty if none.
    variant : str
        ``"layered"``, ``"oneshot"``, or another label.
    layer : int
        Layer, or upgrade of an inference; 0 is the coarsest.
    workers, ranks : int
        Without and with the master.
    nodes : int
        Nodes they were on.
    jobs : int
        Counted jobs; those that delivered the layer are ``times.count``.
    times : Summary
        Seconds from a job's start to the layer.
    efficiency, efficiency_low, efficiency_high : float
        Against the base of the same series, variant and layer, with its 95 % interval (NaN for
        fewer than 6 times at either end); 1 for the base itself.
    speedup, speedup_low, speedup_high : float
        Likewise; ``efficiency * workers / p0``.
    verdict : str
        The worst of the jobs' verdicts.
    """

    series: str
    variant: str
    layer: int
    workers: int
    ranks: int
    nodes: int
    jobs: int
    times: Summary
    efficiency: float
    efficiency_low: float
    efficiency_high: float
    speedup: float
    speedup_low: float
    speedup_high: float
    verdict: str


@dataclass(frozen=True)
class Scaling:
    """How the times of a study go with its workers.

    Attributes
    ----------
    name : str
        Of the study.
    scaling : str
        ``"strong"`` or ``"weak"``.
    rows : tuple of ScalingRow
        By series, variant and layer, with the fewest workers first.
    base : str
        Says the base case and its absolute times.
    models : tuple of Model
        One per series, variant and layer with three worker counts or more.
    notes : tuple of str
        Lines ``"note: ..."`` and ``"warning: ..."`` for people, those of the study included.
    """

    name: str
    scaling: str
    rows: tuple[ScalingRow, ...]
    base: str
    models: tuple[Model, ...]
    notes: tuple[str, ...]


def scale(study: Study) -> Scaling:
    """Work out speed-ups, efficiencies and models of a study.

    A study that claims no scaling has strong scaling if its jobs' shapes are the same at all worker
    counts, and weak scaling if their operations per worker are.

    Parameters
    ----------
    study : Study
        Loaded with table ``layers`` (products) or ``upgrades`` (inference).

    Raises
    ------
    InputError
        There are fewer than two worker counts, or the shapes are those of neither scaling.
    """
    raise NotImplementedError
