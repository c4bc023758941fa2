"""When jobs of a stream arrive, and when their time is over."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError

POLICIES = ("queue", "strict")


@dataclass(frozen=True)
class Terms:
    """When jobs arrive and how long they may take.

    Attributes
    ----------
    arrivals : ndarray of float64, shape (jobs,)
        Seconds since the stream began, ascending.
    deadline : float or None
        Seconds that a job has.
    policy : {"queue", "strict"}
        ``queue``: a job ends once it has taken longer than the deadline since its start and the
        next one has arrived (the published rule, but that the next one begins when this one ends,
        not before). ``strict``: it ends at the deadline after its arrival, whatever waits.

    Raises
    ------
    InputError
        If one of them is out of range.
    """

    arrivals: NDArray[np.float64]
    deadline: float | None = None
    policy: str = "queue"

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise InputError(
                f"[stream] policy: found {self.policy!r}, expected one of {', '.join(POLICIES)}"
            )
        if self.deadline is not None and not self.deadline > 0:
            raise InputError(f"[stream] deadline: found {self.deadline}, expected a number > 0")
        later = np.diff(self.arrivals, prepend=0.0)
        if not np.all(later >= 0):
            raise InputError("[stream] arrivals: found times out of order, or before 0")

    def end(self, position: int, start: float) -> float:
        """Return until when a job may go on that has started then; infinite if it may for ever."""
        if self.deadline is None:
            return np.inf
        if self.policy == "strict":
            return float(self.arrivals[position]) + self.deadline
        if position + 1 == len(self.arrivals):
            return np.inf
        return max(start + self.deadline, float(self.arrivals[position + 1]))
