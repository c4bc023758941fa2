"""What was predicted for each sample: scores and errors after each upgrade."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcrefine.analysis.statistics import known
from hpcrefine.record.reader import Record

#: Columns of a record that they are made from.
COLUMNS = {
    "jobs": ("variant", "warmup", "n", "p"),
    "predictions": ("upgrade", "sample", "label", "score", "error"),
}
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Predicted:
    """The samples of one variant.

    Attributes
    ----------
    variant : str
        Its label.
    binary : bool
        Whether scores are sigmoids of single scores; else they are margins.
    labels : ndarray of int, shape (n,)
        True classes; -1 if unknown.
    scores, errors : ndarray of float64, shape (upgrades, n)
        The latest of each sample by then: those that left keep theirs. NaN where unknown.
    """

    variant: str
    binary: bool
    labels: NDArray[np.int64]
    scores: Floats
    errors: Floats

    @property
    def has_roc(self) -> bool:
        """Whether there is a curve to be drawn: single scores, and samples of both classes."""
        return self.binary and {0, 1} <= set(np.unique(self.labels).tolist())

    def roc(self, upgrade: int) -> tuple[Floats, Floats]:
        """Return false and true positive rates for all thresholds, from (0, 0) to (1, 1).

        Only the corners of the curve.
        """
        there = (self.labels >= 0) & ~np.isnan(self.scores[upgrade])
        scores, positive = self.scores[upgrade][there], self.labels[there] == 1
        order = np.argsort(-scores, kind="stable")
        ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))  # equal scores go together
        hits = np.concatenate([[0], np.cumsum(positive[order])[ends]])
        alarms = np.concatenate([[0], np.cumsum(~positive[order])[ends]])
        corner = np.ones(len(hits), bool)
        steps, rises = np.diff(alarms), np.diff(hits)
        corner[1:-1] = steps[1:] * rises[:-1] != steps[:-1] * rises[1:]
        return alarms[corner] / max(alarms[-1], 1), hits[corner] / max(hits[-1], 1)

    def auc(self, upgrade: int) -> float:
        """Return the area under the curve; NaN if there is none."""
        if not self.has_roc:
            return np.nan
        alarms, hits = self.roc(upgrade)
        return float(np.sum(np.diff(alarms) * (hits[1:] + hits[:-1])) / 2)

    def error_quantiles(self, upgrade: int) -> tuple[float, float, float]:
        """Return median, 99th percentile and largest of the errors; NaN if unknown."""
        errors = known(self.errors[upgrade])
        if len(errors) == 0:
            return np.nan, np.nan, np.nan
        median, p99, most = np.quantile(errors, (0.5, 0.99, 1.0), method="inverted_cdf").tolist()
        return median, p99, most


def predicted(record: Record) -> Iterator[Predicted]:
    """Yield what each variant predicted, by its job that counts and got furthest.

    Parameters
    ----------
    record : Record
        With :data:`COLUMNS` at least.
    """
    jobs = record.jobs[~record.jobs["warmup"]]
    for variant in dict.fromkeys(map(str, jobs["variant"])):
        mine = jobs[jobs["variant"] == variant]
        rows = record.predictions[np.isin(record.predictions["job"], mine["job"])]
        if len(rows):
            numbers, counts = np.unique(rows["job"], return_counts=True)
            number = numbers[np.argmax(counts)]
            (job,) = mine[mine["job"] == number]
            yield _lay_out(variant, job, rows[rows["job"] == number])


def _lay_out(variant: str, job: np.void, rows: NDArray[np.void]) -> Predicted:
    samples = max(int(job["n"]), int(rows["sample"].max()) + 1)
    labels = np.full(samples, -1, np.int64)
    labels[rows["sample"]] = rows["label"]
    tables = []
    for column in ("score", "error"):
        table = np.full((int(rows["upgrade"].max()) + 1, samples), np.nan)
        table[rows["upgrade"], rows["sample"]] = rows[column]
        for before, after in itertools.pairwise(table):
            np.copyto(after, before, where=np.isnan(after))
        tables.append(table)
    return Predicted(variant, int(job["p"]) == 1, labels, *tables)
