"""Which tasks are handed out again: to replace what is lost, and to employ who is idle."""

from collections.abc import Mapping, Sequence, Set

from hpcrefine.codes.base import Code


def repairs(code: Code, finished: Set[int], outstanding: Set[int]) -> list[int]:
    """Return the tasks to hand out again so that a unit can be recovered, the fewest that do.

    Parameters
    ----------
    code : Code
        How the unit is coded.
    finished : set of int
        Tasks whose results are used.
    outstanding : set of int
        Tasks that workers are still expected to answer.

    Returns
    -------
    list of int
        Empty where the code recovers the unit without.
    """
    there = set(finished) | set(outstanding)
    again: list[int] = []
    for task in range(code.coded):  # systematic codes have their cheap, plain tasks first
        if code.recoverable(there):
            break
        if task not in there:
            there.add(task)
            again.append(task)
    return again


def to_copy(unfinished: Sequence[int], attempts: Mapping[int, int], tried: Set[int]) -> int | None:
    """Return the task of which an idle worker makes a copy; None if there is none for it.

    Fewest attempts first; among those the last, since owners work from the first on.

    Parameters
    ----------
    unfinished : sequence of int
        Tasks that are wanted and not answered.
    attempts : mapping of int to int
        How many workers each was given to.
    tried : set of int
        Tasks that this worker was given already.
    """
    fresh = [task for task in unfinished if task not in tried]
    return min(fresh, key=lambda task: (attempts[task], -task), default=None)
