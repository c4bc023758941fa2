"""The queue of a stream whose service times are known: when jobs start and end, and with what."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcrefine.schedule.terms import Terms

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Served:
    """What became of the jobs of a stream.

    Attributes
    ----------
    start, end : ndarray of float, shape (J,)
        Seconds since the stream began.
    released : ndarray of bool, shape (J, L)
        Layers that were released in time.
    """

    start: Floats
    end: Floats
    released: NDArray[np.bool_]


def release(recovered: Floats, firsts: NDArray[np.int64], decode: float) -> Floats:
    """Return when layers are released, one after the other, each once it has been decoded.

    Parameters
    ----------
    recovered : ndarray of float, shape (..., U)
        When the results are there that each unit needs.
    firsts : ndarray of int, shape (L,)
        The first unit of each layer.
    decode : float
        Seconds for each layer.
    """
    ready = np.maximum.reduceat(recovered, firsts, axis=-1)
    ready[..., 0] += decode
    for layer in range(1, len(firsts)):
        ready[..., layer] = np.maximum(ready[..., layer], ready[..., layer - 1]) + decode
    return np.asarray(ready)


def serve(terms: Terms, ready: Floats, overhead: float = 0.0) -> Served:
    """Serve jobs in order by the rules of the sources.

    With the policy ``queue`` a job ends after the first layer that takes longer than the deadline
    while the next job waits: that layer and all later ones fail, and the next job starts at its own
    arrival, even if that is past (Esfahanizadeh, Cohen, Shamai, Medard, "Successive Refinement in
    Large-Scale Computation", IEEE TSP 2025). With ``strict`` it ends that long after its arrival.

    Parameters
    ----------
    terms : Terms
        Arrivals and deadlines.
    ready : ndarray of float, shape (J, L)
        When each layer is released, since the start of its job.
    overhead : float
        Seconds from a job's end to the next one's start at the earliest.
    """
    arrivals = terms.arrivals
    deadline = math.inf if terms.deadline is None else terms.deadline
    if terms.policy == "strict":
        return _strict(arrivals, ready, deadline, overhead)
    following = np.append(arrivals[1:], math.inf)
    service = ready[:, -1]
    if terms.deadline is None:
        start = _all_starts(arrivals, service + overhead)
    else:
        start = np.array(_starts(arrivals, service, deadline, overhead))
    done = start[:, None] + ready
    late = (ready > deadline) & (following[:, None] < done)
    released = ~late
    stopped = late.any(axis=1)
    at = np.where(stopped, late.argmax(axis=1), ready.shape[1] - 1)
    return Served(start, np.take_along_axis(done, at[:, None], axis=1)[:, 0], released)


def _all_starts(arrivals: Floats, service: Floats) -> Floats:
    """Return when jobs start that all come to their end: Lindley's recursion, unrolled."""
    before = np.zeros_like(service)
    np.cumsum(service[:-1], out=before[1:])
    start = before + np.maximum.accumulate(arrivals - before)
    return np.asarray(np.maximum(start, arrivals))


def _starts(arrivals: Floats, service: Floats, deadline: float, overhead: float) -> list[float]:
    """Return when jobs start: Lindley's recursion, broken off by jobs that outlive the deadline."""
    starts: list[float] = []
    end, late = -math.inf, False
    for arrival, takes in zip(arrivals.tolist(), service.tolist(), strict=True):
        start = arrival if late and end > arrival else max(end + overhead, arrival)
        starts.append(start)
        end, late = start + takes, takes > deadline
    return starts


def _strict(arrivals: Floats, ready: Floats, deadline: float, overhead: float) -> Served:
    starts: list[float] = []
    free = -math.inf
    for arrival, takes in zip(arrivals.tolist(), ready[:, -1].tolist(), strict=True):
        start = min(max(free, arrival), arrival + deadline)
        starts.append(start)
        if start < arrival + deadline:
            free = min(start + takes, arrival + deadline) + overhead
    start, cut = np.array(starts), arrivals + deadline
    done = start[:, None] + ready
    released = done <= cut[:, None]
    return Served(start, np.minimum(done[:, -1], cut), released)
