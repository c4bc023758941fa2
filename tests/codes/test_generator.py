"""Generators: no minor is zero, in integers, and decoding them in float64 is well conditioned."""

from itertools import combinations, permutations
from math import prod

import numpy as np
import pytest

from hpcrefine.codes.generator import parity_generator


def determinant(matrix):
    """Leibniz's formula in Python integers."""
    size, total = len(matrix), 0
    for order in permutations(range(size)):
        swaps = sum(order[i] > order[j] for i in range(size) for j in range(i + 1, size))
        total += (-1) ** swaps * prod(matrix[i][order[i]] for i in range(size))
    return total


def minors(generator):
    rows, columns = generator.shape
    entries = generator.tolist()
    for size in range(1, min(rows, columns) + 1):
        for chosen in combinations(range(rows), size):
            for kept in combinations(range(columns), size):
                yield [[entries[i][j] for j in kept] for i in chosen]


@pytest.mark.parametrize("parities", range(1, 5))
@pytest.mark.parametrize("tasks", range(1, 9))
def test_no_minor_is_zero(parities, tasks):
    generator = parity_generator(parities, tasks)
    assert generator.shape == (parities, tasks)
    assert generator.dtype == np.int64
    assert all(determinant(minor) != 0 for minor in minors(generator))


def test_no_parities_and_one():
    assert parity_generator(0, 5).shape == (0, 5)
    assert (parity_generator(1, 5) == 1).all()


@pytest.mark.parametrize(("parities", "tasks"), [(2, 4), (4, 16), (25, 100), (10, 300)])
def test_columns_are_the_smallest_of_their_multiples(parities, tasks):
    generator = parity_generator(parities, tasks)
    prime = next(q for q in range(parities + tasks, 1000) if all(q % x for x in range(2, q)))
    multiples = np.arange(1, prime)[:, None, None] * generator % prime
    sizes = np.minimum(multiples, prime - multiples).max(axis=1)
    assert (np.abs(generator).max(axis=0) == sizes.min(axis=0)).all()


def test_worst_recoverable_subset_is_well_conditioned(record_property):
    """Every choice of 16 of the 20 tasks of K = 16, r = 4."""
    tasks, parities = 16, 4
    whole = np.vstack([np.eye(tasks), parity_generator(parities, tasks)])
    subsets = np.array(list(combinations(range(tasks + parities), tasks)))
    worst = max(np.linalg.cond(whole[part]).max() for part in np.array_split(subsets, 8))
    record_property("worst_condition", float(worst))
    assert worst < 1e7
