"""How well the systems that decoding solves are conditioned."""

import math
from collections.abc import Iterator
from itertools import combinations

import numpy as np

from hpcrefine.codes.base import Code
from hpcrefine.codes.blockdiagonal import BlockDiagonal
from hpcrefine.codes.linear import Linear, System

_SUBSETS = 20_000
_SEED = 0


def worst_condition(code: Code, lost: int) -> float:
    """Return the condition number of the worst recoverable decoding system.

    Parameters
    ----------
    code : Code
        Codes that solve no system (copies, peeling) have condition 1.
    lost : int
        Up to so many of the N tasks are missing.

    Returns
    -------
    float
        In the 2-norm, each equation scaled to a largest coefficient of 1. Of all sets of lost tasks
        if these are at most 20,000, else of a seeded sample of so many: a lower bound then. Groups
        of a block-diagonal code are looked at one by one.
    """
    if isinstance(code, BlockDiagonal):
        parts = {(part.tasks, part.coded): part for part in code.parts}.values()
        return max(worst_condition(part, min(lost, part.coded - part.tasks)) for part in parts)
    if not isinstance(code, Linear):
        return 1.0
    rows = {t: code.combination(t) for t in range(code.tasks, code.coded)}
    conditions = (
        System(np.stack([rows[t] for t in used])[:, list(missing)]).condition
        for missing, used in decoding_systems(code, lost)
    )
    return max(conditions, default=1.0)


def decoding_systems(code: Linear, lost: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return the missing blocks and the combinations used for them, for each set of lost tasks."""
    systems: dict[tuple[tuple[int, ...], tuple[int, ...]], None] = {}
    for gone in _subsets(code.coded, lost):
        missing = tuple(sorted(t for t in gone if t < code.tasks))
        used = code.choose(missing, [t for t in range(code.tasks, code.coded) if t not in gone])
        if missing and len(used) == len(missing):
            systems[missing, tuple(used)] = None
    return list(systems)


def _subsets(count: int, size: int) -> Iterator[set[int]]:
    if math.comb(count, size) <= _SUBSETS:
        yield from map(set, combinations(range(count), size))
        return
    generator = np.random.default_rng(_SEED)
    for _ in range(_SUBSETS):
        yield set(generator.permutation(count)[:size].tolist())
