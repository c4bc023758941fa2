"""Summaries of timings that assume no distribution.

Timings are neither normal nor symmetric, so that medians stand for them, with nonparametric
confidence intervals: Hoefler and Belli, "Scientific Benchmarking of Parallel Computing Systems",
SC'15, section 3.1.3 (after Le Boudec, "Performance Evaluation of Computer and Communication
Systems", 2010).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, stdtrit

#: Probability that the interval misses the median on one side.
_TAIL = 0.025
#: Interval over median above which timings count as unstable.
UNSTABLE = 0.10
#: No sample smaller than this has a 95 % interval of its median.
SMALLEST = 6
#: Batches that delays in a queue are cut into, of two delays or more each.
BATCHES = 25
_QUANTILE = 1.959963984540054  # of the normal distribution, two-sided 95 %


def known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave out the NaN of an array, shape ``(n,)``."""
    found: NDArray[np.float64] = values[~np.isnan(values)]
    return found


@dataclass(frozen=True)
class Mean:
    """A mean of values that depend on their neighbours, such as delays in a queue.

    Attributes
    ----------
    count : int
        How many values.
    value : float
        Their mean; NaN without any.
    half : float
        Half the width of its 95 % confidence interval; NaN for fewer than 50 values.
    """

    count: int
    value: float
    half: float

    @classmethod
    def of(cls, values: ArrayLike) -> Self:
        """Take the mean of values in their order, shape ``(n,)``, with an interval by batch means.

        The means of 25 successive batches, each much longer than the dependence reaches, are
        nearly independent and normal, so that Student's t holds (Law and Kelton, "Simulation
        Modeling and Analysis", section on steady-state means).
        """
        values = np.asarray(values, np.float64)
        if len(values) == 0:
            return cls(0, np.nan, np.nan)
        half = np.nan
        if len(values) >= 2 * BATCHES:
            starts = np.arange(BATCHES) * len(values) // BATCHES
            sizes = np.diff(starts, append=len(values))
            means = np.add.reduceat(values, starts) / sizes
            error = means.std(ddof=1) / np.sqrt(BATCHES)
            half = float(stdtrit(BATCHES - 1, 1 - _TAIL) * error)
        return cls(len(values), float(values.mean()), half)


def share_interval(hits: int, trials: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share (Wilson); NaN without trials.

    Parameters
    ----------
    hits, trials : int
        How many of how many.
    """
    if trials == 0:
        return np.nan, np.nan
    share, weight = hits / trials, _QUANTILE**2 / trials
    middle = share + weight / 2
    half = np.sqrt(weight * share * (1 - share) + weight**2 / 4)
    low, high = (middle - half) / (1 + weight), (middle + half) / (1 + weight)
    return float(max(low, 0.0)), float(min(high, 1.0))


@dataclass(frozen=True)
class Summary:
    """What a sample of times says.

    Attributes
    ----------
    count : int
        Size of the sample.
    median : float
        Seconds; NaN for an empty sample.
    low, high : float
        95 % confidence interval of the median, in seconds; NaN for fewer than 6 times.
    p99 : float
        99th percentile by nearest rank, in seconds; NaN for an empty sample.
    """

    count: int
    median: float
    low: float
    high: float
    p99: float

    @classmethod
    def of(cls, sample: ArrayLike) -> Self:
        """Summarise a sample.

        The number of times below the true median is binomial (n, 1/2). The interval runs from the
        l-th smallest to the l-th largest time, with the largest l that leaves 2.5 % on each side.

        Parameters
        ----------
        sample : array_like
            Times in seconds, shape ``(n,)``, in any order.

        Raises
        ------
        ValueError
            The sample is not one-dimensional, or holds a NaN.
        """
        times = np.asarray(sample, np.float64)
        if times.ndim != 1 or np.isnan(times).any():
            raise ValueError("a sample is a one-dimensional array without NaN")
        times = np.sort(times)
        count = times.size
        if count == 0:
            return cls(0, np.nan, np.nan, np.nan, np.nan)
        rank = int(np.count_nonzero(bdtr(np.arange(count // 2), count, 0.5) <= _TAIL))
        low, high = (times[rank - 1], times[count - rank]) if rank else (np.nan, np.nan)
        p99 = times[-(-99 * count // 100) - 1]
        return cls(count, float(np.median(times)), float(low), float(high), float(p99))

    @property
    def unstable(self) -> bool:
        """Whether the interval is wider than 10 % of the median."""
        return self.high - self.low > UNSTABLE * self.median
