"""Summaries of timings that assume no distribution.

Timings are neither normal nor symmetric, so that medians stand for them, with nonparametric
confidence intervals: Hoefler and Belli, "Scientific Benchmarking of Parallel Computing Systems",
SC'15, section 3.1.3 (after Le Boudec, "Performance Evaluation of Computer and Communication
Systems", 2010). Two samples are compared by the ratio of their medians, with a bootstrap interval
(Efron and Tibshirani, "An Introduction to the Bootstrap", 1993), and by Mann and Whitney's test.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Probability that the interval misses the median on one side.
_TAIL = 0.025
#: Interval over median above which timings count as unstable.
UNSTABLE = 0.10
#: No sample smaller than this has a 95 % interval of its median.
SMALLEST = 6
#: Batches that delays in a queue are cut into, of two delays or more each.
BATCHES = 25
_STUDENT = 2.0638985616280245  # of Student's t with BATCHES - 1 degrees, two-sided 95 %
_QUANTILE = 1.959963984540054  # of the normal distribution, two-sided 95 %
#: Resamples that bootstrap intervals are taken from, and the seed that they are drawn with.
RESAMPLES = 2000
SEED = 20150
_MOST_EXACT = 500  # times whose ranks are counted in integers: no SciPy is loaded for so few
#: Times farther than this many interquartile ranges from the quartiles are outliers (Tukey).
_FENCE = 1.5


def _rank(count: int) -> int:
    """Return the largest l that has at most 2.5 % of binomial (count, 1/2) below it."""
    if count > _MOST_EXACT:
        from scipy.special import bdtr  # takes longer to load than all else here

        return int(np.count_nonzero(bdtr(np.arange(count // 2), count, 0.5) <= _TAIL))
    rank, ways, below = 0, 1, 1  # of 2**count ways
    while below <= _TAIL * 2**count:
        ways = ways * (count - rank) // (rank + 1)
        rank, below = rank + 1, below + ways
    return rank


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
            half = float(_STUDENT * error)
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
        times = _sorted(sample)
        count = times.size
        if count == 0:
            return cls(0, np.nan, np.nan, np.nan, np.nan)
        rank = _rank(count)
        low, high = (times[rank - 1], times[count - rank]) if rank else (np.nan, np.nan)
        p99 = _percentile(times, 99)
        return cls(count, float(np.median(times)), float(low), float(high), p99)

    @property
    def unstable(self) -> bool:
        """Whether the interval is wider than 10 % of the median."""
        return self.high - self.low > UNSTABLE * self.median


@dataclass(frozen=True)
class Spread:
    """How a sample of times is spread.

    Attributes
    ----------
    least, p25, p75, p90, p99, most : float
        Least time, percentiles by nearest rank, and largest time, in seconds; NaN for an empty
        sample.
    variation : float
        Coefficient of variation: standard deviation over mean; NaN for fewer than two times.
    outliers : float
        Share of times more than 1.5 interquartile ranges below `p25` or above `p75` (Tukey,
        "Exploratory Data Analysis", 1977); NaN for an empty sample.
    """

    least: float
    p25: float
    p75: float
    p90: float
    p99: float
    most: float
    variation: float
    outliers: float

    @classmethod
    def of(cls, sample: ArrayLike) -> Self:
        """Take the spread of a sample of times in seconds, shape ``(n,)``, in any order.

        Raises
        ------
        ValueError
            The sample is not one-dimensional, or holds a NaN.
        """
        times = _sorted(sample)
        if times.size == 0:
            return cls(*[np.nan] * 8)
        p25, p75, p90, p99 = (_percentile(times, percent) for percent in (25, 75, 90, 99))
        reach = _FENCE * (p75 - p25)
        outliers = np.mean((times < p25 - reach) | (times > p75 + reach))
        known_spread = times.size > 1 and times.mean() > 0
        variation = times.std(ddof=1) / times.mean() if known_spread else np.nan
        least, most = float(times[0]), float(times[-1])
        return cls(least, p25, p75, p90, p99, most, float(variation), float(outliers))


def resampled_medians(
    sample: ArrayLike, generator: np.random.Generator, resamples: int = RESAMPLES
) -> NDArray[np.float64]:
    """Draw medians of resamples of a sample with replacement, shape ``(resamples,)``.

    Drawing n of n sorted times is drawing n uniform numbers; the median is at the middle ones of
    these, whose distribution is known (Beta), so that the others need not be drawn.

    Parameters
    ----------
    sample : array_like
        Times, shape ``(n,)``, n > 0.
    generator : Generator
        Where randomness comes from.
    resamples : int
        How many.
    """
    times = _sorted(sample)
    count = times.size
    middle = (count + 1) // 2  # rank of the lower one of the middle numbers
    lower = generator.beta(middle, count + 1 - middle, resamples)
    medians: NDArray[np.float64] = times[(lower * count).astype(np.intp)]
    if count % 2:
        return medians
    upper = lower + (1 - lower) * generator.beta(1, count - middle, resamples)
    return (medians + times[np.minimum(upper * count, count - 1).astype(np.intp)]) / 2


def ratio_of_medians(new: ArrayLike, base: ArrayLike) -> tuple[float, float, float]:
    """Return median of `new` over median of `base` with its 95 % interval (percentile bootstrap).

    Parameters
    ----------
    new, base : array_like
        Times, shapes ``(n,)`` and ``(m,)``, independent of each other.

    Returns
    -------
    ratio, low, high : float
        NaN without times or with a base of 0, `low` and `high` also for fewer than 6 on a side.
    """
    new, base = _sorted(new), _sorted(base)
    if min(new.size, base.size) == 0 or np.median(base) <= 0:
        return np.nan, np.nan, np.nan
    ratio = float(np.median(new) / np.median(base))
    if min(new.size, base.size) < SMALLEST:
        return ratio, np.nan, np.nan
    generator = np.random.default_rng(SEED)
    above, below = (resampled_medians(sample, generator) for sample in (new, base))
    low, high = np.quantile(above / below, [_TAIL, 1 - _TAIL])
    return ratio, float(low), float(high)


def mann_whitney(one: ArrayLike, other: ArrayLike) -> float:
    """Return the two-sided p of Mann and Whitney's U test; NaN if a sample is empty.

    Small is the chance that two samples of one distribution differ as much in their ranks (Mann
    and Whitney, Annals of Mathematical Statistics 18, 1947; ties as in SciPy).
    """
    one, other = _sorted(one), _sorted(other)
    if min(one.size, other.size) == 0:
        return np.nan
    from scipy.stats import mannwhitneyu  # takes longer to load than all else here

    return float(mannwhitneyu(one, other).pvalue)


def holm(chances: ArrayLike, level: float = 0.05) -> NDArray[np.bool_]:
    """Say which of several tests stay significant together (Holm, Scand. J. Statist. 6, 1979).

    Parameters
    ----------
    chances : array_like
        A p for each test, shape ``(n,)``; NaN where there was none.
    level : float
        Chance of one false finding or more among all of them.

    Returns
    -------
    ndarray of bool
        Shape ``(n,)``.
    """
    chances = np.asarray(chances, np.float64)
    order = np.argsort(chances)[: np.count_nonzero(~np.isnan(chances))]
    passed = chances[order] <= level / np.arange(len(order), 0, -1)
    found = np.zeros(len(chances), bool)
    found[order[np.logical_and.accumulate(passed)]] = True
    return found


def _sorted(sample: ArrayLike) -> NDArray[np.float64]:
    times = np.asarray(sample, np.float64)
    if times.ndim != 1 or np.isnan(times).any():
        raise ValueError("a sample is a one-dimensional array without NaN")
    return np.sort(times)


def _percentile(times: NDArray[np.float64], percent: int) -> float:
    """Take a percentile of sorted times by nearest rank."""
    return float(times[-(-percent * times.size // 100) - 1])
