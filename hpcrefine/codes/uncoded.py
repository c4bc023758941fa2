"""No redundancy: every task is needed."""

from collections.abc import Mapping, Sequence, Set
from typing import ClassVar

from hpcrefine.codes.base import Code, Combination, Integers
from hpcrefine.errors import InputError


class Uncoded(Code):
    """K blocks, K tasks."""

    name: ClassVar[str] = "uncoded"

    def __init__(self, tasks: int, redundancy: float = 1.0) -> None:
        super().__init__(tasks, redundancy)
        if self.coded != tasks:
            raise InputError(
                f"[code] redundancy: found {redundancy} for the scheme {self.name}, expected 1 "
                "(or the scheme mds)"
            )

    @property
    def threshold(self) -> int:
        """K."""
        return self.tasks

    def left(self, task: int) -> Combination:
        """Every task is its own block."""
        return ((task, 1),)

    def block(self, task: int) -> int | None:
        """Every task is its own block."""
        return task

    def recoverable(self, finished: Set[int]) -> bool:
        """All are needed."""
        return len(finished) == self.tasks

    def decode(
        self, blocks: Sequence[Integers], missing: Sequence[int], coded: Mapping[int, Integers]
    ) -> None:
        """Nothing can be missing."""
        if missing:
            raise ValueError(f"{self.name} blocks {list(missing)} are missing, nothing gives them")
