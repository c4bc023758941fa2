"""Load split: how many coded tasks each worker gets, and which."""

from collections import Counter
from collections.abc import Sequence

import numpy as np


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


SPLITS = {"uniform": uniform}
