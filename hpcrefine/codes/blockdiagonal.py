"""Many blocks in small groups, each with an MDS code of its own: a block-diagonal generator.

Coefficients stay small and decoding cheap however many blocks there are; in return the code bears
only as many losses wherever they fall as the least protected group has parities.
"""

from collections.abc import Mapping, Sequence, Set
from typing import ClassVar

from hpcrefine.codes.base import Blocks, Code, Combination, Integers
from hpcrefine.codes.mds import Mds

MAX_GROUP = 8


class BlockDiagonal(Code):
    """Groups of at most 8 blocks; parities are dealt out to the groups in turn.

    Attributes
    ----------
    parts : tuple of Mds
        The code of each group.
    """

    name: ClassVar[str] = "blockdiagonal"

    def __init__(self, tasks: int, redundancy: float = 1.0) -> None:
        super().__init__(tasks, redundancy)
        count = -(-tasks // MAX_GROUP)
        self._slices = Blocks(tasks, count).slices
        self._firsts: list[int] = [cut.start for cut in self._slices]
        self._group_of = [g for g, cut in enumerate(self._slices) for _ in range(tasks)[cut]]
        self.parts = tuple(
            Mds(size := cut.stop - cut.start, 1 + len(range(g, self.coded - tasks, count)) / size)
            for g, cut in enumerate(self._slices)
        )

    @property
    def threshold(self) -> int:
        """N less the parities of the group that has fewest."""
        return self.coded - min(part.coded - part.tasks for part in self.parts)

    def left(self, task: int) -> Combination:
        """Blocks of one group."""
        group = self.group(task)
        first = self._firsts[group]
        terms = self.parts[group].left(self._within(task))
        return tuple((first + b, coefficient) for b, coefficient in terms)

    def block(self, task: int) -> int | None:
        """Return the block of a plain task; combinations have none."""
        return task if task < self.tasks else None

    def group(self, task: int) -> int:
        """Return the number of a task's group."""
        if task < self.tasks:
            return self._group_of[task]
        return (task - self.tasks) % len(self.parts)

    def recoverable(self, finished: Set[int]) -> bool:
        """Say whether every group has as many results as blocks."""
        found = [0] * len(self.parts)
        for task in finished:
            found[self.group(task)] += 1
        return all(n >= part.tasks for n, part in zip(found, self.parts, strict=True))

    def decode(
        self, blocks: Sequence[Integers], missing: Sequence[int], coded: Mapping[int, Integers]
    ) -> None:
        """Decode group by group."""
        for group in sorted({self.group(b) for b in missing}):
            cut = self._slices[group]
            lost = [b - cut.start for b in missing if self.group(b) == group]
            results = {self._within(t): r for t, r in coded.items() if self.group(t) == group}
            self.parts[group].decode(blocks[cut], lost, results)

    def _within(self, task: int) -> int:
        """Return the number of a task within its group."""
        group = self.group(task)
        if task < self.tasks:
            return task - self._firsts[group]
        return self.parts[group].tasks + (task - self.tasks) // len(self.parts)
