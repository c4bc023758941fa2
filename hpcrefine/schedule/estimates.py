"""How fast each worker is, estimated from the times of its tasks while they come in."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcrefine.schedule.loads import Moments

_OUTLIER = 4.0  # deviations; what is further off counts as so far off
_TRUSTED = 10  # observations before anything can be an outlier
_LEAST_DEVIATION = 0.05  # of the mean: or a steady worker that changes would be all outliers


@dataclass(frozen=True)
class Estimates:
    """What an estimator knew at some time; attributes as there."""

    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    observed: NDArray[np.int64]


class Estimator:
    """Running means and deviations of the time of a digit product, which forget.

    The n-th last observation counts ``forgetting**n``: a worker that changes is followed. Single
    outliers, such as pauses, are cut off at some deviations from the mean; since they widen the
    deviation, lasting changes are not outliers for long.

    Parameters
    ----------
    workers : int
        Number P of workers.
    forgetting : float
        Above 0, at most 1, which forgets nothing.
    prior : array_like, shape (P,), optional
        Seconds known or guessed before the first observation; they count as one, of an exponential
        time.

    Attributes
    ----------
    means, deviations : ndarray of float64, shape (P,)
        Seconds per digit product; NaN where nothing is known.
    observed : ndarray of int64, shape (P,)
        Observations so far.
    """

    def __init__(
        self, workers: int, forgetting: float = 0.98, prior: ArrayLike | None = None
    ) -> None:
        self._forgetting = forgetting
        self.means = np.full(workers, np.nan)
        self._variances = np.full(workers, np.nan)
        self._weights = np.zeros(workers)
        self.observed = np.zeros(workers, np.int64)
        if prior is not None:
            self.means[:] = prior
            self._variances[:] = self.means**2
            self._weights[:] = 1.0

    @property
    def deviations(self) -> NDArray[np.float64]:
        """Standard deviations, in seconds per digit product."""
        return np.asarray(np.sqrt(self._variances))

    def observe(self, worker: int, seconds: float) -> None:
        """Take note of the time that a worker took.

        Parameters
        ----------
        worker : int
            From 0.
        seconds : float
            Per digit product of full size.
        """
        weight = self._forgetting * self._weights[worker] + 1.0
        if self._weights[worker] == 0:
            self.means[worker], self._variances[worker] = seconds, 0.0
        else:
            mean, variance = self.means[worker], self._variances[worker]
            away = seconds - mean
            if self.observed[worker] >= _TRUSTED:
                most = _OUTLIER * max(np.sqrt(variance), _LEAST_DEVIATION * mean)
                away = min(max(away, -most), most)
            self.means[worker] = mean + away / weight
            self._variances[worker] = (1 - 1 / weight) * (variance + away**2 / weight)
        self._weights[worker] = weight
        self.observed[worker] += 1

    def now(self) -> Estimates:
        """Return what is known now."""
        return Estimates(self.means.copy(), self.deviations, self.observed.copy())

    def moments(self, size: float) -> Moments | None:
        """Return moments of the times of tasks; None while a worker is unknown.

        Parameters
        ----------
        size : float
            Digit products of full size in a task.
        """
        if np.isnan(self.means).any():
            return None
        return Moments.of(size * self.means, size * self.deviations)
