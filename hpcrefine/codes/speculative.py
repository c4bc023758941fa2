"""No redundancy in the operands: workers that have nothing left copy what others have not done."""

from typing import ClassVar

from hpcrefine.codes.uncoded import Uncoded


class Speculative(Uncoded):
    """K blocks, K tasks, unfinished ones handed out again."""

    name: ClassVar[str] = "speculative"
    reissues: ClassVar[bool] = True
