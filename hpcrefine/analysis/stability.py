"""What makes timings untrustworthy, in words: too few, too wide, too many outliers, a drift.

As ``pyperf check`` does: a benchmark that is not stable says so beside its figures. See Hoefler and
Belli, SC'15, sections 3.1.2 and 4, for warm-ups and for intervals that are to be reached.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcrefine.analysis.statistics import SMALLEST, UNSTABLE, Spread, Summary, mann_whitney

#: Share of outliers above which timings count as unstable.
OUTLIERS = 0.10
#: Change of the median from a run's first half to its second that counts as a drift.
DRIFT = 0.05
_SURE = 0.01  # chance of taking noise for a drift: there are many rows in a report
_SHOWN = 8  # labels of a finding
FEW = f"fewer than {SMALLEST} times, no 95 % interval"
WIDE = f"unstable, interval wider than {UNSTABLE:.0%} of the median"
SCATTERED = f"unstable, more than {OUTLIERS:.0%} of the times are outliers"
APART = f"runs differ, the medians of runs with the same settings are more than {DRIFT:.0%} apart"
DRIFTING = (
    f"drift, the medians of a run's halves are more than {DRIFT:.0%} apart (warm-up too short?)"
)


def width(times: Summary) -> str:
    """Say whether times are too few for an interval, or theirs is too wide; empty if neither."""
    if times.count < SMALLEST:
        return FEW
    return WIDE if times.unstable else ""


def outliers(times: ArrayLike) -> str:
    """Say whether too many times of a sample are outliers; empty if not, or if it is small."""
    scattered = np.size(times) >= SMALLEST and Spread.of(times).outliers > OUTLIERS
    return SCATTERED if scattered else ""


def drift(times: ArrayLike) -> str:
    """Say whether times in their order got longer or shorter; empty if not, or if they are few.

    The halves' medians must differ by more than 5 %, and more than noise makes them (Mann and
    Whitney's test at 1 %).
    """
    times = np.asarray(times, np.float64)
    first, second = np.array_split(times, 2)
    if len(second) < SMALLEST:
        return ""
    change = abs(np.median(second) - np.median(first))
    drifts = change > DRIFT * np.median(times) and mann_whitney(first, second) < _SURE
    return DRIFTING if drifts else ""


def apart(runs: Sequence[NDArray[np.float64]]) -> str:
    """Say whether runs that were to be alike differ in their medians by more than 5 %."""
    medians = [float(np.median(times)) for times in runs if times.size]
    differ = len(medians) > 1 and max(medians) - min(medians) > DRIFT * min(medians)
    return APART if differ else ""


def together(findings: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield a line for each finding with the labels that it is true of, many cut short.

    Parameters
    ----------
    findings : iterable of (str, str)
        A label and what :func:`width`, :func:`outliers` or :func:`drift` said of it.
    """
    labels: dict[str, dict[str, None]] = {}
    for label, finding in findings:
        if finding:
            labels.setdefault(finding, {})[label] = None
    for finding, those in labels.items():
        more = f" and {len(those) - _SHOWN} more" if len(those) > _SHOWN else ""
        yield f"{finding}: {', '.join([*those][:_SHOWN])}{more}"
