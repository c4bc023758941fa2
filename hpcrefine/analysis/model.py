"""A model of run times: T(p) = serial + parallel / p + logarithmic * log2(p) + linear * p.

The terms are Amdahl's serial and parallel parts, a reduction or broadcast along a tree, and a
master that serves its p workers one by one.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
        raise NotImplementedError

    def band(self, p: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the 95 % bounds of T(p) in seconds, each of the shape of `p`.

        The times are resampled within each worker count (percentile bootstrap); NaN if one of
        them has fewer than 6 times.
        """
        raise NotImplementedError
