"""What a simulated stream leaves, before it becomes rows of tables."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Costs:
    """What takes time besides tasks.

    Attributes
    ----------
    communication : ndarray of float, shape (P,)
        Seconds from a job's start until each worker begins.
    decode : float
        Seconds from a layer's last result to its release.
    purge : float
        Seconds from a recovery until workers know that tasks are purged.
    """

    communication: Floats
    decode: float = 0.0
    purge: float = 0.0


@dataclass(frozen=True)
class Course:
    """What became of one job, times in seconds since the stream began.

    Attributes
    ----------
    recovered : ndarray of float, shape (U,)
        When each unit was recovered; infinite if it was not.
    used, late, purged : ndarray of int, shape (U,)
        Tasks by what became of them.
    computed : ndarray of float, shape (U,)
        Digit products of tasks that were begun.
    free : ndarray of float, shape (P,)
        When each worker is done with it.
    workers : ndarray of int, shape (tasks begun,)
        Who did each task that was begun, in any order.
    seconds : ndarray of float, shape (tasks begun,)
        How long that took, per digit product.
    """

    recovered: Floats
    used: Integers
    late: Integers
    purged: Integers
    computed: Floats
    free: Floats
    workers: Integers
    seconds: Floats


@dataclass(frozen=True)
class Estimate:
    """What was known of the workers when a job was split.

    Attributes
    ----------
    job : int
        Place of the job in its stream.
    loads : ndarray of int, shape (P,)
        Tasks of a unit that each worker got.
    means, deviations : ndarray of float, shape (P,)
        Seconds per digit product; NaN where unknown.
    observed : ndarray of int, shape (P,)
        Task times seen.
    """

    job: int
    loads: Integers
    means: Floats
    deviations: Floats
    observed: Integers


@dataclass(frozen=True)
class Outcome:
    """Jobs of a stream.

    Attributes
    ----------
    start, end : ndarray of float, shape (J,)
        Seconds since the stream began.
    ready : ndarray of float, shape (J, L)
        When layers were released, since the start; of no meaning where they were not.
    released : ndarray of bool, shape (J, L)
        Whether they were, in time.
    used, late, purged : ndarray of int, shape (J, L)
        Tasks by what became of them.
    computed : ndarray of float, shape (J, L)
        Digit products that workers computed.
    estimates : list of Estimate
        For the first job, and for each that was split in another way than the one before.
    """

    start: Floats
    end: Floats
    ready: Floats
    released: NDArray[np.bool_]
    used: Integers
    late: Integers
    purged: Integers
    computed: Floats
    estimates: list[Estimate] = field(default_factory=list)
