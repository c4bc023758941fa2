"""A systematic, rateless Luby transform (LT) code, decoded by peeling.

After the K blocks come sums and differences of a few blocks each, as many as it takes. Whoever
knows all blocks of such a task but one knows that one: recovered blocks are subtracted until
nothing is missing. Source: Luby, "LT codes", FOCS 2002. Degree 1, which only repeats blocks, is
left out of its robust soliton distribution.
"""

import itertools
import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import cache, cached_property
from random import Random
from typing import ClassVar

import numpy as np

from hpcrefine.codes.base import Code, Combination, Integers
from hpcrefine.codes.linear import store

_SPREAD, _FAILURE = 0.1, 0.5  # c and delta of the distribution
_STUCK_SETS = 50_000  # how many are looked at for the threshold


class LubyTransform(Code):
    """K plain tasks, then combinations of d >= 2 blocks with coefficients 1 and -1."""

    name: ClassVar[str] = "lt"
    rateless: ClassVar[bool] = True

    def __init__(self, tasks: int, redundancy: float = 1.0) -> None:
        super().__init__(tasks, redundancy)
        self._combinations: dict[int, Combination] = {}

    @cached_property
    def threshold(self) -> int:
        """Any so many of the N tasks suffice: the smallest such number, or an upper bound of it.

        Peeling stops at a set of blocks as soon as these and all tasks with exactly one of them are
        lost. Sets are looked at by size, up to 50,000 of them: the cheapest one found is exact
        once no larger set can be cheaper.
        """
        incidence = np.zeros((self.coded - self.tasks, self.tasks), np.int16)
        for row, task in zip(incidence, range(self.tasks, self.coded), strict=True):
            row[[b for b, _ in self.left(task)]] = 1
        fewest, looked_at = self.coded, 0
        for size in range(1, self.tasks + 1):
            looked_at += math.comb(self.tasks, size)
            if size >= fewest or looked_at > _STUCK_SETS:
                return self.coded - min(fewest, size) + 1
            sets = np.array(list(itertools.combinations(range(self.tasks), size)))
            for part in np.array_split(sets, 1 + len(sets) // 1000):
                alone = (incidence[:, part].sum(axis=2) == 1).sum(axis=0)
                fewest = min(fewest, size + int(alone.min()))
        return self.coded - fewest + 1

    def left(self, task: int) -> Combination:
        """Return a block, or the blocks that task t >= K adds up; t has no limit."""
        if task not in self._combinations:
            plain = task < self.tasks
            self._combinations[task] = ((task, 1),) if plain else _draw(self.tasks, task)
        return self._combinations[task]

    def block(self, task: int) -> int | None:
        """Return the block of a plain task; combinations have none."""
        return task if task < self.tasks else None

    def recoverable(self, finished: Set[int]) -> bool:
        """Say whether peeling leaves nothing."""
        if len(finished) < self.tasks:
            return False
        missing = [b for b in range(self.tasks) if b not in finished]
        return sum(1 for _ in self._peel(missing, finished)) == len(missing)

    def decode(
        self, blocks: Sequence[Integers], missing: Sequence[int], coded: Mapping[int, Integers]
    ) -> None:
        """Peel, subtracting known blocks."""
        order = list(self._peel(missing, coded.keys()))
        if len(order) < len(missing):
            raise ValueError(f"peeling stops with {len(missing) - len(order)} blocks missing")
        for task, wanted in order:
            total = coded[task].astype(np.int64)
            sign = 1
            for b, coefficient in self.left(task):
                rows, columns = blocks[b].shape[-2:]
                if b == wanted:
                    sign = coefficient
                elif coefficient > 0:
                    total[..., :rows, :columns] -= blocks[b]
                else:
                    total[..., :rows, :columns] += blocks[b]
            store(sign * total, blocks[wanted])

    def _peel(self, missing: Sequence[int], finished: Set[int]) -> Iterator[tuple[int, int]]:
        """Yield tasks and the blocks that they give, one after the other."""
        unknown = set(missing)
        meeting: dict[int, list[int]] = {b: [] for b in missing}
        degree: dict[int, int] = {}
        for task in sorted(finished):
            if task >= self.tasks:
                shared = [b for b, _ in self.left(task) if b in unknown]
                degree[task] = len(shared)
                for b in shared:
                    meeting[b].append(task)
        ready = [task for task, count in degree.items() if count == 1]
        while ready:
            task = ready.pop()
            if degree[task] == 0:  # another one gave its block
                continue
            block = next(b for b, _ in self.left(task) if b in unknown)
            yield task, block
            unknown.remove(block)
            for other in meeting[block]:
                degree[other] -= 1
                if degree[other] == 1:
                    ready.append(other)


def _draw(tasks: int, task: int) -> Combination:
    """Draw a combination; only the stream of ``random()`` is used, which no release changes."""
    uniform = Random(f"lt {tasks} {task}").random
    degree = min(tasks, 2 + bisect_left(robust_soliton(tasks), uniform()))
    chosen: dict[int, int] = {}
    while len(chosen) < degree:
        block = int(uniform() * tasks)
        if block not in chosen:
            chosen[block] = 1 if uniform() < 0.5 else -1
    return tuple(sorted(chosen.items()))


@cache
def robust_soliton(tasks: int) -> tuple[float, ...]:
    """Return the probabilities of degrees up to 2, 3, .., K (at least one entry)."""
    ripple = _SPREAD * math.log(tasks / _FAILURE) * math.sqrt(tasks)
    spike = round(tasks / ripple)
    weights = []
    for degree in range(2, max(tasks, 2) + 1):
        weight = 1 / (degree * (degree - 1))
        if degree < spike:
            weight += ripple / (degree * tasks)
        elif degree == spike:
            weight += ripple * math.log(max(ripple / _FAILURE, 1)) / tasks
        weights.append(weight)
    total = sum(weights)
    return tuple(w / total for w in itertools.accumulate(weights))
