"""Waiting without burning a core: the pause doubles while nothing happens."""

import time
from collections.abc import Callable, Iterable, Sequence

from mpi4py import MPI


class Backoff:
    """Sleeps longer and longer, up to about 1 ms, until traffic resets it."""

    FIRST = 1e-5
    LONGEST = 1e-3

    def __init__(self) -> None:
        self._pause = 0.0

    def reset(self) -> None:
        """Start again with short pauses: something arrived."""
        self._pause = 0.0

    def wait(self, most: float | None = None) -> None:
        """Pause once, for so many seconds at most; at first only give the core to who is ready."""
        time.sleep(self._pause if most is None else max(0.0, min(self._pause, most)))
        self._pause = min(max(2 * self._pause, self.FIRST), self.LONGEST)

    def until(self, done: Callable[[], bool]) -> None:
        """Pause until ``done()`` is true."""
        self.reset()
        while not done():
            self.wait()


def all_complete(requests: Iterable[MPI.Request]) -> bool:
    """Test requests in turn; say whether all are complete.

    ``Testall`` would say of one that failed no more than that some did, not why.
    """
    return all(request.Test() for request in requests)


def wait_all(requests: Sequence[MPI.Request]) -> None:
    """Complete all requests without busy-waiting."""
    Backoff().until(lambda: all_complete(requests))
