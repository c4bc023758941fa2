r"""When the K-th of N tasks is done that workers compute side by side.

Worker p does its kappa_p tasks one after the other; what is asked for is the time of the K-th
result of all. Where times are exponential it is drawn exactly at a cost that does not grow with K:

As long as all workers are busy, their results form a Poisson process of rate R = sum r_p. Its first
D = K events take Gamma(D) / R, and who they are of is multinomial. Results of a worker beyond its
kappa_p do not exist: so many are still missing, and the workers that have reached kappa_p are out.
By the strong Markov property the others go on as a Poisson process of their own from there, so the
same is done with the missing ones until none is missing. Each time at least one worker is out, so
there are at most P rounds; usually there are two or three.

Elsewhere, or where workers have so few tasks that counting does not pay, all times are drawn.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpcrefine.codes.base import Code

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_FEW_TASKS = 8  # for each worker: drawing them all is faster up to here


def counting_pays(loads: Integers, needed: int) -> bool:
    """Say whether :func:`exponential` is faster than drawing all times."""
    tasks = int(loads.sum())
    return needed == tasks or tasks > _FEW_TASKS * len(loads)


def exponential(
    rng: np.random.Generator, needed: int, loads: Integers, rates: Floats, jobs: int
) -> Floats:
    """Draw when so many results are there, of tasks that take exponential times.

    Parameters
    ----------
    rng : Generator
        Where from.
    needed : int
        Results K that are waited for, at most the sum of loads.
    loads : ndarray of int, shape (P,)
        Tasks kappa_p of each worker.
    rates : ndarray of float, shape (P,)
        Tasks a second that each does.
    jobs : int
        How many times are drawn.

    Returns
    -------
    ndarray of float, shape (jobs,)
        Seconds.
    """
    used = loads > 0
    loads, rates = loads[used], rates[used]
    if needed == loads.sum():
        return np.asarray((rng.standard_gamma(loads, (jobs, len(loads))) / rates).max(axis=1))
    total = rates.sum()
    times = rng.standard_gamma(needed, jobs) / total
    counts = rng.multinomial(needed, rates / total, jobs)
    left = loads - counts
    missing = -np.minimum(left, 0).sum(axis=1)
    (lacking,) = np.nonzero(missing)
    left, missing = np.maximum(left[lacking], 0), missing[lacking]
    while len(lacking):
        active = np.where(left > 0, rates, 0.0)
        totals = active.sum(axis=1)
        times[lacking] += rng.standard_gamma(missing) / totals
        left = left - rng.multinomial(missing, active / totals[:, None])
        missing = -np.minimum(left, 0).sum(axis=1)
        again = missing > 0
        lacking, missing = lacking[again], missing[again]
        left = np.maximum(left[again], 0)
    return np.asarray(times)


class Order:
    """The tasks of a unit, those of each worker together in the order in which it does them.

    Parameters
    ----------
    owners : sequence of int
        Worker of each of the N tasks.

    Attributes
    ----------
    tasks : ndarray of int, shape (N,)
        Tasks in this order.
    workers : ndarray of int, shape (N,)
        Their workers.
    busy : ndarray of int
        Workers that have tasks, ascending.
    starts, loads : ndarray of int
        Where the tasks of each of these begin, and how many they are.
    """

    def __init__(self, owners: Sequence[int]) -> None:
        given = np.asarray(owners, np.int64)
        self.tasks: Integers = np.argsort(given, kind="stable")
        self.workers: Integers = given[self.tasks]
        self.busy, self.starts, self.loads = np.unique(
            self.workers, return_index=True, return_counts=True
        )

    def finishing(self, times: Floats) -> Floats:
        """Return when tasks are done, since their worker's beginning.

        Parameters
        ----------
        times : ndarray of float, shape (..., N)
            What each takes, in this order.
        """
        done = np.cumsum(times, axis=-1)
        before = np.zeros((*times.shape[:-1], len(self.starts)))
        before[..., 1:] = done[..., self.starts[1:] - 1]
        done -= np.repeat(before, self.loads, axis=-1)
        return np.asarray(done)


def is_a_matter_of_counting(code: Code) -> bool:
    """Say whether any ``code.threshold`` tasks recover a unit, and no fewer do.

    So many blocks cannot come from fewer results than there are blocks.
    """
    return code.threshold == code.outputs


def recovery(code: Code, tasks: Integers, done: Floats) -> tuple[float, int]:
    """Return when a unit is recovered, and how many results there are by then.

    Parameters
    ----------
    code : Code
        How it is coded.
    tasks : ndarray of int, shape (N,)
        Its tasks.
    done : ndarray of float, shape (N,)
        When each is done.
    """
    if is_a_matter_of_counting(code):
        return float(np.partition(done, code.threshold - 1)[code.threshold - 1]), code.threshold
    order = np.argsort(done, kind="stable")
    coming = tasks[order].tolist()
    low, high = 1, len(coming)
    while low < high:
        middle = (low + high) // 2
        if code.recoverable(set(coming[:middle])):
            high = middle
        else:
            low = middle + 1
    return float(done[order[low - 1]]), low
