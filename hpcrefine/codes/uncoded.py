"""No redundancy: every task is needed."""

from collections.abc import Mapping, Sequence, Set
from typing import ClassVar

from hpcrefine.codes.base import Code, Integers, Plane
from hpcrefine.errors import InputError


class Uncoded(Code):
    """K blocks, K tasks."""

    name: ClassVar[str] = "uncoded"
    exact: ClassVar[bool] = True

    def __init__(self, tasks: int, redundancy: float = 1.0) -> None:
        super().__init__(tasks, redundancy)
        if self.coded != tasks:
            raise InputError(
                f"[code] redundancy: found {redundancy} for the scheme uncoded, expected 1 "
                "(or the scheme mds)"
            )

    def block(self, task: int) -> int | None:
        """Every task is its own block."""
        return task

    def limbs(self, task: int) -> int:
        """Plain digits fit int8."""
        return 1

    def peak(self, task: int, digit_peak: int) -> int:
        """Digits stay what they are."""
        return digit_peak

    def encode(self, plane: Plane, task: int) -> Plane:
        """Nothing is combined."""
        raise ValueError("uncoded tasks are sent as they are")

    def recoverable(self, finished: Set[int]) -> bool:
        """All are needed."""
        return len(finished) == self.tasks

    def decode(
        self, blocks: Sequence[Integers], missing: Sequence[int], coded: Mapping[int, Integers]
    ) -> None:
        """Nothing can be missing."""
        if missing:
            raise ValueError(f"uncoded blocks {list(missing)} are missing and cannot be decoded")
