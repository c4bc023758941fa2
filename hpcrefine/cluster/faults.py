"""Faults on purpose, on a real worker: it is slow, pauses, freezes, dies, or lies.

What is to happen stands in :class:`hpcrefine.faults.Faults`; here it is done.
"""

import json
import os
import signal
import threading
import time
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
        self, header: np.void, task: np.void, result: NDArray[Any], start: float
    ) -> NDArray[Any]:
        """Let a task have its consequences; return what is passed off as its result."""
        faults, self._tasks = self._faults, self._tasks + 1
        place = int(header["job"]), int(task["unit"]), int(task["task"])
        elapsed = MPI.Wtime() - start
        seconds = max(elapsed, self._draws.service(faults, *place)) * faults.slowdown
        time.sleep(max(0.0, seconds - elapsed) + self._pause())
        if faults.kill_after is not None and self._tasks >= faults.kill_after:
            die()
        if faults.silent_after is not None and self._tasks >= faults.silent_after:
            freeze()
        return self._lie(place, result)

    def _pause(self) -> float:
        now = time.monotonic() - self._begun
        due = {p for p in self._faults.pauses if p[0] <= now} - self._paused
        self._paused |= due
        return sum(seconds for _, seconds in due)

    def _lie(self, place: tuple[int, int, int], result: NDArray[Any]) -> NDArray[Any]:
        """Return the result, or what a lie makes of it, in the same memory."""
        if not self._faults.corrupt_rate:
            return result
        truth = result.copy()
        corruption = self._draws.corruption(self._faults, *place)
        if corruption is not None:
            kind, rng = corruption
            other = self._last if kind == "wrong-block" else self._stale(place)
            if kind != "bit-flip" and _can_stand_for(other, truth):
                result[...] = other
            else:
                _flip(result, rng)
        self._last = truth
        self._jobs = {job: kept for job, kept in self._jobs.items() if job >= place[0] - 1}
        self._jobs.setdefault(place[0], {})[place[1:]] = truth
        return result

    def _stale(self, place: tuple[int, int, int]) -> NDArray[Any] | None:
        return self._jobs.get(place[0] - 1, {}).get(place[1:])


def _can_stand_for(other: NDArray[Any] | None, truth: NDArray[Any]) -> bool:
    """Say whether a result can be passed off for another, and is a lie."""
    return other is not None and other.shape == truth.shape and not np.array_equal(other, truth)


def _flip(result: NDArray[Any], rng: np.random.Generator) -> None:
    """Flip one bit of one entry."""
    entry = tuple(int(rng.integers(length)) for length in result.shape)
    bits = np.dtype(f"u{result.itemsize}").type
    flipped = result[entry].view(bits) ^ bits(1 << int(rng.integers(8 * result.itemsize)))
    result[entry] = flipped.view(result.dtype)
