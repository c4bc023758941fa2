"""From scores to rows of the record."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hpcrefine.experiment.rows import Row
from hpcrefine.inference.network import decisions, probabilities
from hpcrefine.inference.rules import margins
from hpcrefine.record.schema import pack_arrays

Floats = NDArray[np.float32]
Fates = Callable[[int], dict[str, int]]


class Step(Protocol):
    """An upgrade that was released, :class:`hpcrefine.cluster.inference.Upgraded` or like it."""

    @property
    def upgrade(self) -> int:
        """From 0."""

    @property
    def scores(self) -> Floats:
        """Latest scores of all samples, shape (samples, classes)."""

    @property
    def decided(self) -> NDArray[np.bool_]:
        """Which samples are decided by now, shape (samples,)."""

    @property
    def entered(self) -> int:
        """Samples that it was computed for."""

    @property
    def seconds(self) -> float:
        """Since the job's start."""

    @property
    def operations(self) -> float:
        """Multiply-adds of this upgrade, all samples."""


@dataclass(frozen=True)
class Whole:
    """A network evaluated in one piece, as a :class:`Step`."""

    scores: Floats
    seconds: float
    operations: float
    upgrade: int = 0

    @property
    def decided(self) -> NDArray[np.bool_]:
        """All samples are."""
        return np.ones(len(self.scores), bool)

    @property
    def entered(self) -> int:
        """All samples."""
        return len(self.scores)


@dataclass(frozen=True)
class Truth:
    """What scores are compared with.

    Attributes
    ----------
    labels : ndarray of int64, shape (samples,), optional
        Classes of the samples.
    final : ndarray of float32, shape (samples, classes)
        Scores after all upgrades.
    oneshot : float
        Multiply-adds of one-shot evaluation of all samples.
    """

    labels: NDArray[np.int64] | None
    final: Floats
    oneshot: float

    def rows(self, number: int, steps: Iterable[Step], fates: Fates) -> list[Row]:
        """Return a row of the table ``upgrades`` for each that was released.

        Parameters
        ----------
        number : int
            The job's id.
        steps : iterable of Step
            In order.
        fates : callable
            Counts what became of an upgrade's tasks: used, late, purged, lost.
        """
        done, rows = 0.0, []
        for step in steps:
            done += step.operations
            chosen, decided = decisions(step.scores), int(np.count_nonzero(step.decided))
            right = np.nan if self.labels is None else np.mean(chosen == self.labels)
            rows.append(
                {
                    "job": number,
                    "upgrade": step.upgrade,
                    "samples": step.entered,
                    "decided": decided,
                    "ready": step.seconds,
                    "delay": step.seconds,
                    "accuracy": right,
                    "agreement": np.mean(chosen == decisions(self.final)),
                    "gray": 1 - decided / len(chosen),
                    "operations": step.operations,
                    "share": done / self.oneshot,
                    "met_deadline": True,
                    **_tasks(fates(step.upgrade)),
                }
            )
        return rows

    def predictions(self, number: int, steps: Iterable[Step]) -> NDArray[np.void]:
        """Return the rows of the table ``predictions`` of a job: of every sample at each step."""
        parts = [pack_arrays("predictions", self._predicted(number, step)) for step in steps]
        return np.concatenate(parts)

    def _predicted(self, number: int, step: Step) -> Row:
        scores = step.scores
        binary = scores.shape[1] == 1
        return {
            "job": number,
            "upgrade": step.upgrade,
            "sample": np.arange(len(scores)),
            "label": -1 if self.labels is None else self.labels,
            "prediction": decisions(scores),
            "score": probabilities(scores)[:, 0] if binary else margins(scores),
            "error": np.abs(scores - self.final).max(axis=1),
            "decided": step.decided,
        }


def missing_row(number: int, upgrade: int, fates: Fates) -> Row:
    """Return the row of an upgrade that was not released by the deadline."""
    unknown = ("ready", "delay", "accuracy", "agreement", "gray", "operations", "share")
    return {
        **{"job": number, "upgrade": upgrade, "samples": 0, "decided": 0},
        **dict.fromkeys(unknown, np.nan),
        "met_deadline": False,
        **_tasks(fates(upgrade)),
    }


def no_tasks(upgrade: int) -> dict[str, int]:
    """Count the tasks of what was computed without."""
    return dict.fromkeys(("used", "late", "purged", "lost"), 0)


def _tasks(fates: dict[str, int]) -> Row:
    return {f"tasks_{fate}": count for fate, count in fates.items()}
