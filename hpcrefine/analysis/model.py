"""A model of run times: T(p) = serial + parallel / p + logarithmic * log2(p) + linear * p.

The terms are Amdahl's serial and parallel parts, a reduction or broadcast along a tree, and a
master that serves its p workers one by one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcrefine.analysis.statistics import RESAMPLES, SEED, SMALLEST, resampled_medians

#: Worker counts that a model needs.
FEWEST = 3
_TERMS = 4


@dataclass(frozen=True)
class Model:
    """A fitted model of one series, variant and layer.

    Attributes
    ----------
    series, variant : str
    layer : int
        Which rows of a :class:`~hpcrefine.analysis.scaling.Scaling` it is of.
    serial, parallel, logarithmic, linear : float
        Seconds, none negative; a weak study has no parallel part.
    r2 : float
        Share of the variance of the median times that it explains; NaN where these are all equal.
    error : float
        Root mean square of its relative errors.
    points : int
        Worker counts that it was fitted to.
    replicates : ndarray
        The terms in the order above for each resampling of the times, shape ``(resamples, 4)``.
    """

    series: str
    variant: str
    layer: int
    serial: float
    parallel: float
    logarithmic: float
    linear: float
    r2: float
    error: float
    points: int
    replicates: NDArray[np.float64] = field(repr=False, compare=False)

    def time(self, p: ArrayLike) -> NDArray[np.float64]:
        """Return T(p) in seconds for numbers of workers, of their shape."""
        terms = np.array([self.serial, self.parallel, self.logarithmic, self.linear])
        times: NDArray[np.float64] = _design(p) @ terms
        return times

    def band(self, p: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the 95 % bounds of T(p) in seconds, each of the shape of `p`.

        The times are resampled within each worker count (percentile bootstrap); NaN if one of
        them has fewer than 6 times.
        """
        if len(self.replicates) == 0:
            unknown = np.full(np.shape(p), np.nan)
            return unknown, unknown
        low, high = np.quantile(_design(p) @ self.replicates.T, [0.025, 0.975], axis=-1)
        return low, high


def fit(
    times: Mapping[int, ArrayLike], *, weak: bool, series: str, variant: str, layer: int
) -> Model | None:
    """Fit a model to the medians of times, by least squares of its relative errors.

    Parameters
    ----------
    times : mapping of int to array_like
        Seconds by number of workers, each of shape ``(n,)``.
    weak : bool
        Whether the problem grows with the workers, so that there is no parallel part.
    series, variant, layer
        What the model is of.

    Returns
    -------
    Model or None
        None for fewer than three worker counts with times above 0.
    """
    from scipy.optimize import nnls  # takes long to load

    known = {p: np.asarray(sample) for p, sample in sorted(times.items()) if np.size(sample)}
    medians = np.array([np.median(sample) for sample in known.values()])
    if len(known) < FEWEST or medians.min() <= 0:
        return None
    terms = [0, 2, 3] if weak else [0, 1, 2, 3]
    matrix = (_design([*known]) / medians[:, None])[:, terms]

    def solve(targets: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.zeros((len(targets), _TERMS))
        found[:, terms] = [nnls(matrix, target)[0] for target in targets]
        return found

    best = solve(np.ones((1, len(known))))[0]
    serial, parallel, logarithmic, linear = best.tolist()
    resamples = RESAMPLES if min(map(len, known.values())) >= SMALLEST else 0
    generator = np.random.default_rng(SEED)
    drawn = [resampled_medians(sample, generator, resamples) for sample in known.values()]
    residuals = medians - _design([*known]) @ best
    variance = ((medians - medians.mean()) ** 2).sum()
    return Model(
        series,
        variant,
        layer,
        serial,
        parallel,
        logarithmic,
        linear,
        r2=float(1 - (residuals**2).sum() / variance) if variance else np.nan,
        error=float(np.sqrt(np.mean((residuals / medians) ** 2))),
        points=len(known),
        replicates=solve(np.stack(drawn, axis=1) / medians) if resamples else np.empty((0, _TERMS)),
    )


def _design(p: ArrayLike) -> NDArray[np.float64]:
    p = np.asarray(p, np.float64)
    return np.stack([np.ones_like(p), 1 / p, np.log2(p), p], axis=-1)
