"""Every block by several workers; the first of its copies counts."""

from collections.abc import Mapping, Sequence, Set
from typing import ClassVar

from hpcrefine.codes.base import Code, Combination, Integers


class Replication(Code):
    """K blocks, dealt out in turn to N tasks."""

    name: ClassVar[str] = "replication"

    @property
    def threshold(self) -> int:
        """N less the copies of the block that has fewest, and one more."""
        return self.coded - self.coded // self.tasks + 1

    def left(self, task: int) -> Combination:
        """Return the block that a task copies."""
        return ((task % self.tasks, 1),)

    def block(self, task: int) -> int | None:
        """Return the block that a task copies."""
        return task % self.tasks

    def group(self, task: int) -> int:
        """Return the block: its copies belong to different workers."""
        return task % self.tasks

    def recoverable(self, finished: Set[int]) -> bool:
        """Say whether every block is covered."""
        return len({task % self.tasks for task in finished}) == self.tasks

    def decode(
        self, blocks: Sequence[Integers], missing: Sequence[int], coded: Mapping[int, Integers]
    ) -> None:
        """Nothing can be missing."""
        if missing:
            raise ValueError(f"{self.name} blocks {list(missing)} are missing, nothing gives them")
