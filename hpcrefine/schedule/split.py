"""Load split: how many coded tasks each worker gets, and which."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpcrefine.errors import InputError
from hpcrefine.schedule.loads import Moments, optimal

SPLITS = ("uniform", "optimal", "dynamic")


@dataclass(frozen=True)
class Split:
    """How tasks are shared out.

    Attributes
    ----------
    name : {"uniform", "optimal", "dynamic"}
        The same number for each worker; in accordance with how fast each is, as far as that is
        known; or the next task to whoever is ready for it.
    gamma : float
        With ``optimal``, see :func:`hpcrefine.schedule.loads.optimal`.
    prefetch : int
        With ``dynamic``: tasks that a worker has at a time.

    Raises
    ------
    InputError
        If one of them is out of range.
    """

    name: str = "uniform"
    gamma: float = 1.0
    prefetch: int = 2

    def __post_init__(self) -> None:
        if self.name not in SPLITS:
            expected = ", ".join(SPLITS)
            raise InputError(f"[schedule] split: found {self.name!r}, expected one of {expected}")
        if not self.gamma >= 0:
            raise InputError(f"[schedule] gamma: found {self.gamma}, expected a number >= 0")
        if self.prefetch < 1:
            raise InputError(f"[schedule] prefetch: found {self.prefetch}, expected 1 or more")

    @classmethod
    def of(cls, split: "str | Split") -> "Split":
        """Return a split by its name, or as it is."""
        return cls(split) if isinstance(split, str) else split

    @property
    def dynamic(self) -> bool:
        """Whether nobody knows beforehand who gets what."""
        return self.name == "dynamic"

    def counts(self, tasks: int, workers: int, moments: Moments | None) -> tuple[int, ...]:
        """Return how many of a unit's tasks each worker gets.

        Parameters
        ----------
        tasks : int
            Coded tasks N.
        workers : int
            Number P of workers.
        moments : Moments or None
            What is known of the times of their tasks; without it, and with ``dynamic`` (where it
            says who would get which task if all were alike), the split is even.
        """
        if self.name == "optimal" and moments is not None:
            return optimal(tasks, moments, self.gamma)
        return uniform(tasks, workers)


def uniform(tasks: int, workers: int) -> tuple[int, ...]:
    """Split tasks evenly; the first workers get one more where they do not divide."""
    share, rest = divmod(tasks, workers)
    return tuple(share + (w < rest) for w in range(workers))


def deal(counts: Sequence[int], groups: Sequence[int] | None = None) -> tuple[int, ...]:
    """Deal tasks 0, 1, 2, ... to workers so that each gets its count at an even pace.

    Low tasks go out first everywhere: systematic codes put their plain blocks there, and results
    that need no decoding arrive before the redundant ones. Tasks of one group go to different
    workers where that is possible: what one worker takes with it, others can replace.

    Parameters
    ----------
    counts : sequence of int
        Tasks kappa_p of each worker.
    groups : sequence of int, optional
        Group of each task; by default each is its own.

    Returns
    -------
    tuple of int
        Worker of each task.
    """
    turns = [((turn + 0.5) / count, w) for w, count in enumerate(counts) for turn in range(count)]
    order = [w for _, w in sorted(turns)]
    if groups is None or len(set(groups)) == len(order):
        return tuple(order)
    return tuple(_spread(order, groups))


def _spread(owners: list[int], groups: Sequence[int]) -> list[int]:
    """Swap tasks between workers until none has two of a group, or no swap helps."""
    held = Counter(zip(owners, groups, strict=True))
    for task, group in enumerate(groups):
        if held[owners[task], group] < 2:
            continue
        for other in (*range(task + 1, len(groups)), *range(task)):
            mine, theirs = owners[task], owners[other]
            if mine != theirs and not held[theirs, group] and not held[mine, groups[other]]:
                held.subtract([(mine, group), (theirs, groups[other])])
                held.update([(theirs, group), (mine, groups[other])])
                owners[task], owners[other] = theirs, mine
                break
    return owners


def together(counts: Sequence[int]) -> tuple[int, ...]:
    """Give each worker neighbouring tasks: where all are needed, their order is nobody's concern.

    Parameters
    ----------
    counts : sequence of int
        Tasks kappa_p of each worker.

    Returns
    -------
    tuple of int
        Worker of each task.
    """
    return tuple(w for w, count in enumerate(counts) for _ in range(count))


def worst_loss(owners: Sequence[int], workers: int, lost: int) -> int:
    """Return the most tasks that ``lost`` workers can take with them."""
    counts = np.bincount(np.asarray(owners, np.int64), minlength=workers)
    return int(np.sort(counts)[::-1][:lost].sum())
