"""The times of a study sorted into samples: one for each setting, variant, layer and rank count."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpcrefine.analysis.study import Study
from hpcrefine.analysis.verdict import worst_verdict
from hpcrefine.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame

#: Tables that samples are taken from, for :func:`hpcrefine.analysis.study.load`.
TABLES = ("layers", "upgrades")
# Columns of jobs that may differ within one run.
_WITHIN = ("stragglers", "split", "redundancy", "rate")


@dataclass(frozen=True)
class Sample:
    """Times of one layer of one variant, over jobs that differ in nothing that was set.

    Attributes
    ----------
    series : str
        Settings other than ranks and nodes, as ``"code.redundancy=1.25"``; empty if none.
    settings : dict
        The same, by key.
    variant : str
        ``"layered"``, ``"oneshot"``, or another label.
    layer : int
        Layer, or upgrade of an inference; 0 is the coarsest.
    ranks, workers, nodes : int
        With the master, without it, and what they were on.
    jobs : int
        Counted jobs, those without this layer included.
    runs : tuple of ndarray
        Seconds from a job's start to the layer, in the order of the jobs; an array for each run.
    work : float
        Operations of a job over 2, ``n k p``; the mean.
    verdict : str
        The worst of the jobs' verdicts.
    """

    series: str
    settings: dict[str, Any]
    variant: str
    layer: int
    ranks: int
    workers: int
    nodes: int
    jobs: int
    runs: tuple[NDArray[np.float64], ...]
    work: float
    verdict: str

    @property
    def times(self) -> NDArray[np.float64]:
        """The times of all runs."""
        return np.concatenate([np.empty(0), *self.runs])

    @property
    def label(self) -> str:
        """What it is of, for people, ranks apart."""
        return f"{self.variant} {self.layer}" + (f" ({self.series})" if self.series else "")


def varied(study: Study) -> set[str]:
    """Return the columns of jobs in which counted jobs of one run and variant differ."""
    jobs = _counted(study)
    groups = jobs.groupby(["point", "variant"], observed=True)[[*_WITHIN]]
    return {str(name) for name, most in groups.nunique().max().items() if most > 1}


def following(study: Study) -> tuple[str, ...]:
    """Return the swept keys that follow the workers: they have one value at each worker count."""
    points = study.points
    if points["workers"].nunique() < 2:
        return ()
    texts = points[[*study.settings]].map(repr)
    return tuple(
        key
        for key in study.settings
        if texts[key].nunique() > 1 and texts[key].groupby(points["workers"]).nunique().max() == 1
    )


def samples(
    study: Study, within: Collection[str] = (), without: Collection[str] = ()
) -> list[Sample]:
    """Sort the times of a study.

    Parameters
    ----------
    study : Study
        Loaded with the tables :data:`TABLES`.
    within : collection of str
        Columns of jobs that tell samples apart, see :func:`varied`.
    without : collection of str
        Swept keys that do not.

    Returns
    -------
    list of Sample
        By series and variant as they come, one-shot last, then by layer, workers and nodes.

    Raises
    ------
    InputError
        The study has no times of layers or upgrades.
    """
    releases = _releases(study)
    jobs = _counted(study)
    by_row = [*_settings(study, jobs, [name for name in _WITHIN if name in within], without)]
    jobs["series"] = [*map(_label, by_row)]
    settings = dict(zip(jobs["series"], by_row, strict=True))
    jobs = jobs.join(study.points[["ranks", "nodes"]], on="point")
    apart = ["series", "variant", "ranks", "nodes"]
    sizes = jobs.groupby(apart, observed=True, sort=False).size()
    table = releases.merge(jobs, on=["point", "job"])
    found = [
        _sample(key, rows, settings[key[0]], int(sizes[key[:4]]))
        for key, rows in table.groupby([*apart, "layer"], observed=True, sort=False)
    ]
    places = {label: place for place, label in enumerate(dict.fromkeys(jobs["series"]))}
    variants = {label: place for place, label in enumerate(dict.fromkeys(jobs["variant"]))}
    variants["oneshot"] = len(variants)  # what the others are compared with comes last
    return sorted(
        found, key=lambda s: (places[s.series], variants[s.variant], s.layer, s.workers, s.nodes)
    )


def _counted(study: Study) -> "DataFrame":
    return study.jobs[~study.jobs["warmup"]].copy()


def _releases(study: Study) -> "DataFrame":
    of_inference = len(study.upgrades) > 0
    table = study.upgrades if of_inference else study.layers
    if len(table) == 0:
        lost = int((study.jobs["status"] == "lost").sum())
        raise InputError(
            f"{study.name or 'the records'}: found no resolution in {len(study.jobs)} jobs, "
            f"{lost} of them lost, expected one at least (their runs tell why)"
        )
    name = "upgrade" if of_inference else "layer"
    return table[["point", "job", name, "ready"]].rename(columns={name: "layer"})


def _settings(
    study: Study, jobs: "DataFrame", within: Collection[str], without: Collection[str]
) -> Iterator[dict[str, Any]]:
    """Yield the settings of each job, the same object for jobs with the same ones."""
    kept = [key for key in study.settings if key not in without]
    points = study.points[kept].astype(object).to_dict("index")
    known: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in zip(jobs["point"], *(jobs[name] for name in within), strict=True):
        if row not in known:
            values = points[row[0]] | dict(zip(within, row[1:], strict=True))
            known[row] = {key: value for key, value in values.items() if not _absent(value)}
        yield known[row]


def _absent(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _label(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def _sample(key: tuple[Any, ...], rows: "DataFrame", settings: dict[str, Any], jobs: int) -> Sample:
    series, variant, ranks, nodes, layer = key
    there = rows[rows["ready"].notna()]
    runs = (run["ready"].to_numpy() for _, run in there.groupby("point"))
    return Sample(
        series=series,
        settings=settings,
        variant=str(variant),
        layer=int(layer),
        ranks=int(ranks),
        workers=int(ranks) - 1,
        nodes=int(nodes),
        jobs=jobs,
        runs=tuple(runs),
        work=float((rows["n"] * rows["k"] * rows["p"]).mean()),
        verdict=worst_verdict(there["verdict"].unique()),
    )


def pairs(one: list[Sample], other: list[Sample]) -> Iterator[tuple[Sample | None, Sample | None]]:
    """Yield the samples of two studies by settings, ranks, variant and layer, partners together.

    Those without a partner come last, with None in its place. Nodes tell no samples apart: where
    a study has several, the fewest count.
    """
    ours, theirs = _by_identity(one), _by_identity(other)
    yield from ((ours[key], theirs[key]) for key in ours if key in theirs)
    yield from ((ours[key], None) for key in ours if key not in theirs)
    yield from ((None, theirs[key]) for key in theirs if key not in ours)


def _by_identity(found: list[Sample]) -> dict[tuple[str, int, str, int], Sample]:
    by_identity: dict[tuple[str, int, str, int], Sample] = {}
    for sample in found:
        by_identity.setdefault((sample.series, sample.ranks, sample.variant, sample.layer), sample)
    return by_identity
