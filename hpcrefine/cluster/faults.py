"""Faults on purpose, on a real worker: it is slow, pauses, freezes, dies, or lies.

What is to happen stands in :class:`hpcrefine.faults.Faults`; here it is done.
"""

import json
import os
import signal
import threading
import time
from collections import Counter
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcrefine.faults import Draws, Faults


def die() -> None:
    """End this process at once, as a node does that loses power."""
    os.kill(os.getpid(), signal.SIGKILL)


def freeze() -> None:
    """Stop this process for good: it holds its memory and connections and answers nothing."""
    os.kill(os.getpid(), signal.SIGSTOP)


def order(faults: Faults, seed: int) -> NDArray[np.uint8]:
    """Return the message that tells a worker how to fail."""
    text = json.dumps({"seed": seed, "faults": faults.to_json()})
    return np.frombuffer(text.encode(), np.uint8)


class Misbehaviour:
    """How a worker fails.

    Parameters
    ----------
    rank : int
        The worker.
    """

    def __init__(self, rank: int) -> None:
        self._rank, self._begun = rank, time.monotonic()
        self._faults, self._draws = Faults(), Draws(0, rank)
        self._timers: dict[str, threading.Timer] = {}
        self._paused: set[tuple[float, float]] = set()
        self._tasks = 0
        self._last: NDArray[Any] | None = None
        self._done: Counter[tuple[int, int]] = Counter()  # of this job, by unit and task
        self._jobs: dict[int, dict[tuple[int, int], NDArray[Any]]] = {}

    def take(self, message: str) -> None:
        """Fail from now on as a message of :func:`order` says; times count from the first one."""
        said = json.loads(message)
        self._faults = Faults.from_json(said["faults"])
        self._draws = Draws(said["seed"], self._rank)
        for at, deed in ((self._faults.kill_at, die), (self._faults.silent_at, freeze)):
            if at is not None and deed.__name__ not in self._timers:
                left = max(0.0, at - (time.monotonic() - self._begun))
                timer = self._timers[deed.__name__] = threading.Timer(left, deed)
                timer.daemon = True
                timer.start()

    def end(self) -> None:
        """Fail no more."""
        for timer in self._timers.values():
            timer.cancel()

    def after(
        self,
        job: int,
        position: int,
        place: tuple[int, int],
        digit_products: float,
        result: NDArray[Any],
        start: float,
    ) -> NDArray[Any]:
        """Let a task have its consequences; return what is passed off as its result.

        Parameters
        ----------
        job : int
            The product.
        position : int
            Its place in a stream.
        place : (int, int)
            Unit and task.
        digit_products : float
            Size of the task, in digit products of full size.
        result : ndarray
            The truth; a lie overwrites it.
        start : float
            ``MPI.Wtime()`` when the task was begun.
        """
        faults, self._tasks = self._faults, self._tasks + 1
        if job not in self._jobs:  # the one before is kept: its results can be passed off
            self._jobs = {job: {}} | {k: kept for k, kept in self._jobs.items() if k == job - 1}
            self._done.clear()
        attempt = self._done[place]
        self._done[place] += 1
        elapsed = MPI.Wtime() - start
        service = self._draws.service(faults, job, *place, attempt, digit_products)
        seconds = max(elapsed, service) * faults.slowness(position)
        time.sleep(max(0.0, seconds - elapsed) + self._pause())
        if faults.kill_after is not None and self._tasks >= faults.kill_after:
            die()
        if faults.silent_after is not None and self._tasks >= faults.silent_after:
            freeze()
        lie = self._draws.corruption(faults, job, *place, attempt)
        return result if faults.corrupt_rate == 0 else self._lie(job, place, lie, result)

    def _pause(self) -> float:
        now = time.monotonic() - self._begun
        due = {p for p in self._faults.pauses if p[0] <= now} - self._paused
        self._paused |= due
        return sum(seconds for _, seconds in due)

    def _lie(
        self,
        job: int,
        place: tuple[int, int],
        lie: tuple[str, np.random.Generator] | None,
        result: NDArray[Any],
    ) -> NDArray[Any]:
        """Return the result, or what a lie makes of it, in the same memory."""
        truth = result.copy()
        if lie is not None:
            kind, rng = lie
            stale = self._jobs.get(job - 1, {}).get(place)
            other = self._last if kind == "wrong-block" else stale
            if kind != "bit-flip" and other is not None and _can_stand_for(other, truth):
                result[...] = other
            else:
                _flip(result, rng)
        self._last = self._jobs[job][place] = truth
        return result


def _can_stand_for(other: NDArray[Any], truth: NDArray[Any]) -> bool:
    """Say whether a result can be passed off for another, and is a lie."""
    return other.shape == truth.shape and not np.array_equal(other, truth)


def _flip(result: NDArray[Any], rng: np.random.Generator) -> None:
    """Flip one bit of one entry."""
    entry = tuple(int(rng.integers(length)) for length in result.shape)
    bits = np.dtype(f"u{result.itemsize}").type
    flipped = result[entry].view(bits) ^ bits(1 << int(rng.integers(8 * result.itemsize)))
    result[entry] = flipped.view(result.dtype)
