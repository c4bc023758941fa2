"""A run that is asked to end before its end, by SIGUSR1: whether it was, and when to cut its job.

Who waits for something asks; nothing is done, and nothing raised, where a signal comes in. Imports
next to nothing: a signal that finds nobody listening ends the process.
"""

import functools
import signal
import time
from types import FrameType

GRACE = 30.0  # seconds: half of the minute that batch systems are usually asked for

_SAME = 1.0  # seconds in which a signal is the same one, on another way


class Ending:
    """What a run has been asked.

    Parameters
    ----------
    grace : float
        Seconds that the present job may still take.
    """

    def __init__(self, grace: float = GRACE) -> None:
        self.grace = grace
        self._asked: float | None = None
        self._urged = self._cut = False

    def ask(self) -> None:
        """Ask to end after the present job; asked again, a second later or more, to cut it."""
        now = time.monotonic()
        if self._asked is None:
            self._asked = now
        self._urged |= now - self._asked > _SAME

    @property
    def asked(self) -> bool:
        """Whether no further job is to begin."""
        return self._asked is not None

    @property
    def overdue(self) -> bool:
        """Whether there is no time left."""
        if self._asked is None:
            return False
        return self._urged or time.monotonic() - self._asked > self.grace

    def cuts(self) -> bool:
        """Say whether the present job is to be cut; whoever is told so cuts it."""
        self._cut |= self.overdue
        return self._cut

    @property
    def cut(self) -> bool:
        """Whether somebody was told to cut a job."""
        return self._cut


@functools.cache
def listen() -> Ending:
    """Return what this process is asked; the first call begins to listen for SIGUSR1."""
    ending = Ending()

    def take(number: int, frame: FrameType | None) -> None:
        ending.ask()

    signal.signal(signal.SIGUSR1, take)
    return ending
