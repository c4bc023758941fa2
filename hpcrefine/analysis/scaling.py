"""Strong and weak scaling: times over workers, with speed-up and efficiency against a base case.

Strong scaling: the problem stays, E(p) = p0 T(p0) / (p T(p)). Weak: it grows with p, E(p) = T(p0) /
T(p). Here p counts workers, the master does not count. T is the median time to a resolution, and
the base p0 has the fewest workers. It is named with its absolute time: rule 1 of Hoefler and Belli,
"Scientific Benchmarking of Parallel Computing Systems", SC'15.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hpcrefine.analysis import stability
from hpcrefine.analysis.model import Model, fit
from hpcrefine.analysis.samples import Sample, following, samples, varied
from hpcrefine.analysis.statistics import Summary, ratio_of_medians
from hpcrefine.analysis.study import Study
from hpcrefine.errors import InputError

#: Spread of the operations per worker, over the largest, that is still weak scaling.
_EVEN = 0.10
_SHOWN = 6  # base cases in a line

#: Samples by series, variant and layer, those with the fewest workers first.
Groups: TypeAlias = dict[tuple[str, str, int], list[Sample]]


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
        ``"strong"`` or ``"weak"``; empty in a table without.
    rows : tuple of ScalingRow
        By series, variant and layer, with the fewest workers first.
    base : str
        Says the base case and its absolute times.
    models : tuple of Model
        One per series, variant and layer with three worker counts or more.
    notes : tuple of str
        Lines ``"note: ..."`` and ``"warning: ..."`` for people, those of the study included.
    points : tuple of str
        A line for each point: what has become of it.
    """

    name: str
    scaling: str
    rows: tuple[ScalingRow, ...]
    base: str
    models: tuple[Model, ...]
    notes: tuple[str, ...]
    points: tuple[str, ...] = ()


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
    groups = _groups(study)
    if not _grows(groups):
        found = sorted({sample.workers for group in groups.values() for sample in group})
        raise InputError(
            f"{study.title}: found worker counts {', '.join(map(str, found)) or 'none'} (the "
            "master does not count), expected two or more with the same settings"
        )
    work = _work(groups)
    if not _kind(study, work):
        raise InputError(
            f"{study.title}: found jobs of {_range(work, 0)} multiply-adds, {_range(work, 1)} per "
            "worker, expected as many at all worker counts (strong scaling), or as many per worker "
            "(weak scaling)"
        )
    return _scaled(study, groups)


def tabulate(study: Study) -> Scaling:
    """Scale a study; where that makes no sense, give its times alone."""
    return _scaled(study, _groups(study))


def _scaled(study: Study, groups: Groups) -> Scaling:
    scaling = _kind(study, _work(groups)) if _grows(groups) else ""
    bases = {key: _base(group) for key, group in groups.items()}
    return Scaling(
        name=study.name,
        scaling=scaling,
        rows=tuple(
            _row(sample, bases[key], scaling) for key, group in groups.items() for sample in group
        ),
        base=_bases(bases.values()) if scaling else "",
        models=tuple(_models(groups, scaling)) if scaling else (),
        notes=(*_claim(study, groups, scaling), *_notes(study, groups)),
        points=tuple(_points(study)),
    )


def _groups(study: Study) -> Groups:
    groups: Groups = {}
    for sample in samples(study, varied(study), following(study)):
        if sample.workers > 0:
            key = (sample.series, sample.variant, sample.layer)
            groups.setdefault(key, []).append(sample)
    return groups


def _grows(groups: Groups) -> bool:
    return any(len({sample.workers for sample in group}) > 1 for group in groups.values())


def _points(study: Study) -> Iterator[str]:
    for point in study.points.itertuples():
        missing = [line for line in study.missing if line.startswith(f"{point.name}: ")]
        running = "" if point.complete else ", interrupted or still running"
        state = missing[0] if missing else f"{point.name}: {point.jobs} jobs{running}"
        yield f"{point.Index}: {state}"


def _base(group: Sequence[Sample]) -> Sample:
    """Return the sample with the fewest workers that has times; they are in that order."""
    return next((sample for sample in group if len(sample.times)), group[0])


def _row(sample: Sample, base: Sample, scaling: str) -> ScalingRow:
    gain = sample.workers / base.workers
    quicker = (1.0, 1.0, 1.0)
    if sample is not base:
        quicker = ratio_of_medians(base.times, sample.times)
    if not scaling:
        quicker = (np.nan, np.nan, np.nan)
    per_efficiency = 1 / gain if scaling == "strong" else 1.0
    efficiency, low, high = (ratio * per_efficiency for ratio in quicker)
    return ScalingRow(
        series=sample.series,
        variant=sample.variant,
        layer=sample.layer,
        workers=sample.workers,
        ranks=sample.ranks,
        nodes=sample.nodes,
        jobs=sample.jobs,
        times=Summary.of(sample.times),
        efficiency=efficiency,
        efficiency_low=low,
        efficiency_high=high,
        speedup=efficiency * gain,
        speedup_low=low * gain,
        speedup_high=high * gain,
        verdict=sample.verdict,
    )


def _bases(bases: Iterable[Sample]) -> str:
    """Say the base cases and their times, those with as many workers together."""
    by_size: dict[tuple[int, int], list[str]] = {}
    for base in bases:
        times = f"{base.label} {np.median(base.times):.4g} s" if len(base.times) else base.label
        by_size.setdefault((base.workers, base.ranks), []).append(times)
    return "; ".join(_base_text(*size, labels) for size, labels in by_size.items())


def _base_text(workers: int, ranks: int, labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else ""
    counted = f"{_counted(workers)} ({ranks} ranks, the master does not count)"
    return f"{counted}: {', '.join(labels[:_SHOWN])}{more}"


def _counted(workers: int) -> str:
    return f"{workers} worker" + "s" * (workers > 1)


def _models(groups: Groups, scaling: str) -> Iterator[Model]:
    for (series, variant, layer), group in groups.items():
        times: dict[int, NDArray[np.float64]] = {}
        for sample in group:
            so_far = times.get(sample.workers, np.empty(0))
            times[sample.workers] = np.concatenate([so_far, sample.times])
        model = fit(times, weak=scaling == "weak", series=series, variant=variant, layer=layer)
        if model is not None:
            yield model


def _work(groups: Groups) -> list[NDArray[np.float64]]:
    """Return for each group the multiply-adds of its samples, in all and per worker."""
    return [np.array([[s.work, s.work / s.workers] for s in group]) for group in groups.values()]


def _even(work: Iterable[NDArray[np.float64]]) -> tuple[bool, bool]:
    """Say whether no group's jobs differ in their work, and whether none do per worker."""
    spreads = np.array([np.ptp(values, 0) / values.max(0).clip(1) for values in work])
    return bool(spreads[:, 0].max() == 0), bool(spreads[:, 1].max() <= _EVEN)


def _kind(study: Study, work: Iterable[NDArray[np.float64]]) -> str:
    strong, weak = _even(work)
    return study.scaling or ("strong" if strong else "weak" if weak else "")


def _claim(study: Study, groups: Groups, scaling: str) -> Iterator[str]:
    """Say what the claimed scaling is worth, or why one was taken for the study's."""
    if not scaling:
        return
    work = _work(groups)
    strong, weak = _even(work)
    per_worker = " per worker" if scaling == "weak" else ""
    if study.scaling == "":
        yield (
            f"note: taken for {scaling} scaling: all worker counts have as many multiply-adds of a "
            f"job{per_worker}"
        )
    elif (scaling, strong) == ("strong", False) or (scaling, weak) == ("weak", False):
        shown = _range(work, 1 if scaling == "weak" else 0)
        yield f"warning: {scaling} scaling, but jobs of {shown} multiply-adds{per_worker}"


def _range(work: Sequence[NDArray[np.float64]], column: int) -> str:
    """Say the widest range of a column of the groups' work."""
    columns = (group[:, column] for group in work)
    values = max(columns, key=lambda one: float(np.ptp(one) / max(one.max(), 1)))
    return f"{values.min():.4g} to {values.max():.4g}"


def _notes(study: Study, groups: Groups) -> Iterator[str]:
    found = [sample for group in groups.values() for sample in group]
    yield from (f"note: {key} follows the workers" for key in following(study))
    if len(study.upgrades) and any(sample.variant == "oneshot" for sample in found):
        yield "note: one-shot of inference takes all cores of rank 0's node, whatever the workers"
    if any(len(sample.runs) > 1 for sample in found):
        yield "note: runs with the same settings are taken together"
    labels = {f"{s.label} on {_counted(s.workers)}": s for s in found}
    findings = [
        (label, finding)
        for label, sample in labels.items()
        for finding in (
            stability.width(Summary.of(sample.times)),
            stability.outliers(sample.times),
            *map(stability.drift, sample.runs),
            stability.apart(sample.runs),
        )
    ]
    wrong = [label for label, sample in labels.items() if sample.verdict == "wrong"]
    if wrong:
        yield f"warning: WRONG results, their times mean nothing: {', '.join(wrong)}"
    yield from (f"warning: {line}" for line in stability.together(findings))
    yield from (f"warning: {line}" for line in study.warnings)
    yield from (f"warning: missing point: {line}" for line in study.missing)
