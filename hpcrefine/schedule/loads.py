"""The load split: tasks in accordance with how fast each worker is.

Source: Esfahanizadeh, Cohen, Medard, "Stream Distributed Coded Computing", IEEE JSAIT 2021.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Times of workers 0..P-1, in seconds.

    Attributes
    ----------
    means : ndarray of float64, shape (P,)
        Mean time m_p of a task, above 0.
    deviations : ndarray of float64, shape (P,)
        Standard deviation sigma_p of that.
    delays : ndarray of float64, shape (P,)
        Fixed delay c_p before the first task.
    """

    means: Floats
    deviations: Floats
    delays: Floats

    @classmethod
    def of(cls, means: ArrayLike, deviations: ArrayLike, delays: ArrayLike = 0.0) -> "Moments":
        """Make them of what can be broadcast."""
        arrays = np.broadcast_arrays(
            *(np.asarray(x, np.float64) for x in (means, deviations, delays))
        )
        return cls(*(np.atleast_1d(array) for array in arrays))

    def of_workers(self, workers: Sequence[int]) -> "Moments":
        """Return those of some workers."""
        chosen = list(workers)
        return Moments(self.means[chosen], self.deviations[chosen], self.delays[chosen])

    def finishing(self, loads: ArrayLike, gamma: float) -> Floats:
        """Return E[T_p] + gamma E[T_p^2] for so many tasks of each worker."""
        kappa = np.asarray(loads, np.float64)
        mean = self.delays + kappa * self.means
        return mean + gamma * (mean**2 + kappa * self.deviations**2)


def real_loads(tasks: int, moments: Moments, gamma: float) -> Floats:
    """Return the loads kappa_p, not rounded, at which all workers used finish alike.

    ``E[T_p] + gamma E[T_p^2] = theta`` is a quadratic equation in kappa_p; theta is the root of
    ``sum_p kappa_p(theta) = N``.

    Parameters
    ----------
    tasks : int
        Coded tasks N.
    moments : Moments
        Of the times of workers.
    gamma : float
        Weight of the second moment, in 1/s, 0 or more.
    """
    from scipy.optimize import brentq  # workers import this module and need none of it

    m, c, sigma = moments.means, moments.delays, moments.deviations
    idle = moments.finishing(0.0, gamma)  # a
    linear = 2 * gamma * c * m + m + gamma * sigma**2  # b

    def loads(theta: float) -> Floats:
        over = np.maximum(theta - idle, 0)
        root = np.sqrt(1 + 4 * gamma * m**2 * over / linear**2)
        return np.asarray(2 * over / (linear * (1 + root)))  # no cancellation, gamma = 0 included

    highest = float(moments.finishing(float(tasks), gamma).min())  # one worker with all of it ...
    highest *= 1 + 1e-9  # ... and not a rounding less
    theta = brentq(lambda t: loads(t).sum() - tasks, idle.min(), highest, xtol=1e-300, rtol=1e-14)
    return loads(theta)


def optimal(tasks: int, moments: Moments, gamma: float = 1.0) -> tuple[int, ...]:
    """Return whole loads kappa_p that add up to N with the least of the largest finishing values.

    Rounded down, every load is part of the best whole ones (no value exceeds theta there); what is
    left goes one by one to whoever finishes first with one more, which is optimal because
    ``E[T_p] + gamma E[T_p^2]`` grows with kappa_p.

    Parameters
    ----------
    tasks, moments, gamma
        As for :func:`real_loads`.
    """
    found = real_loads(tasks, moments, gamma)
    loads = np.floor(found * (1 - 1e-12)).astype(np.int64)
    value = moments.finishing(loads + 1, gamma)
    queue = [(finish, worker) for worker, finish in enumerate(value.tolist())]
    heapq.heapify(queue)
    for _ in range(tasks - int(loads.sum())):
        _, worker = queue[0]
        loads[worker] += 1
        finish = moments.of_workers([worker]).finishing(loads[worker] + 1, gamma).item()
        heapq.heapreplace(queue, (finish, worker))
    return tuple(loads.tolist())
