"""When the jobs of a stream arrive."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError

Times = NDArray[np.float64]


def arrival_times(pattern: str, jobs: int, rate: float, rng: np.random.Generator) -> Times:
    """Return ascending arrival times in seconds, shape (jobs,).

    Parameters
    ----------
    pattern : {"poisson", "periodic"}
        Exponential times between arrivals, the first one included; or equal ones, the first at 0.
    jobs : int
        How many.
    rate : float
        Arrivals a second, above 0.
    rng : Generator
        For ``poisson``.
    """
    if pattern == "periodic":
        return np.arange(jobs) / rate
    return np.cumsum(rng.exponential(1 / rate, jobs))


def mean_rate(times: Times) -> float:
    """Return arrivals a second, over the time until the last one; NaN if that is none."""
    return len(times) / float(times[-1]) if times[-1] > 0 else math.nan


def read_arrivals(path: Path) -> Times:
    """Read a text file of arrival times in seconds, one a line; blank lines and # comments pass.

    Raises
    ------
    InputError
        If the file cannot be read, or a line is no finite time of 0 or more, or one is before the
        last.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no text"
        raise InputError(f"{path}: found {reason}, expected a file of arrival times") from None
    times: list[float] = []
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            time = float(text)
        except ValueError:
            time = math.nan
        if not 0 <= time < math.inf:
            raise InputError(f"{path}: line {number}: found {text[:40]}, expected seconds >= 0")
        if times and time < times[-1]:
            raise InputError(
                f"{path}: line {number}: found {text} after {times[-1]:g}, expected ascending times"
            )
        times.append(time)
    if not times:
        raise InputError(f"{path}: found no times, expected one a line")
    return np.array(times)
