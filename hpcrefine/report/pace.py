"""How fast a run goes: times of what is done, and how long what is left will take."""

import math

import numpy as np
from numpy.typing import NDArray

from hpcrefine.analysis.statistics import SMALLEST, Summary, known
from hpcrefine.report.writing import duration

_RECENT = 30  # rounds
_SLOW = 10.0  # seconds a job


class Pace:
    """The rate of the jobs that were finished last.

    Variants take different times, so that jobs are counted by rounds in which each has its turn.

    Parameters
    ----------
    jobs : int
        Jobs of a round.
    """

    def __init__(self, jobs: int = 1) -> None:
        self._jobs = jobs
        self._ends = np.empty(0)

    def add(self, ends: NDArray[np.float64]) -> None:
        """Add the ends of some more jobs, in seconds since the run's start, shape (n,)."""
        self._ends = np.concatenate([self._ends, ends])[-_RECENT * self._jobs - 1 :]

    def rate(self) -> str:
        """Say how many jobs are finished a second; nothing as long as no round is over."""
        each = Summary.of(self._rounds()).median / self._jobs
        if not each > 0:
            return ""
        return f"{1 / each:.3g} a second" if each < _SLOW else f"one in {duration(each)}"

    def left(self, total: int | None, done: int) -> str:
        """Say how long the jobs that are left will take; nothing where that is unknown.

        From the 95 % interval of the median of rounds; from the shortest to the longest of them
        where they are too few for one.

        Parameters
        ----------
        total : int or None
            Jobs in all, if known.
        done : int
            Those that are finished.
        """
        rounds = self._rounds()
        if total is None or not len(rounds):
            return ""
        times = Summary.of(rounds)
        few = times.count < SMALLEST
        low, high = (rounds.min(), rounds.max()) if few else (times.low, times.high)
        left = max(total - done, 0) / self._jobs
        shortest, longest = duration(left * low), duration(left * high)
        return f"{shortest if shortest == longest else f'{shortest} to {longest}'} left"

    def _rounds(self) -> NDArray[np.float64]:
        """Return how long the last rounds took, in seconds."""
        return np.diff(self._ends[:: -self._jobs][::-1])


class Steps:
    """The times of one layer, or upgrade, of one variant; warm-ups do not count.

    Attributes
    ----------
    last : float
        Seconds of the last job's; NaN where it was not released.
    shown : float
        The last job's error bound, or accuracy.
    """

    def __init__(self) -> None:
        self._times = np.empty(0)  # in ascending order, so that the median is at hand
        self.last = self.shown = math.nan

    def add(self, times: NDArray[np.float64], shown: float) -> None:
        """Add the times of some more jobs."""
        new = np.sort(known(times))
        self._times = np.insert(self._times, np.searchsorted(self._times, new), new)
        self.last, self.shown = float(times[-1]), shown

    @property
    def count(self) -> int:
        """How many jobs released it."""
        return len(self._times)

    @property
    def median(self) -> float:
        """Median time in seconds; NaN without any."""
        low, high = (self.count - 1) // 2, self.count // 2
        return float(self._times[low] + self._times[high]) / 2 if self.count else math.nan
