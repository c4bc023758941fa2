"""Systems of integer equations: solved exactly, or said to have no solution; rows chosen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcrefine.codes import DecodeError
from hpcrefine.codes.linear import Linear, System, independent_rows, store
from hpcrefine.codes.mds import Mds


class Repeating(Linear):
    """Sums of pairs and, between them, the same once more and a multiple."""

    ROWS = ((1, 1, 0), (1, 1, 0), (-2, -2, 0), (0, 1, 1), (0, 3, 0))
    name = "repeating"

    def combination(self, task):
        return np.array(self.ROWS[task - self.tasks])


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 12), bits=st.integers(0, 52))
def test_integer_systems_are_solved_exactly(seed, size, bits):
    generator = np.random.default_rng(seed)
    matrix = generator.integers(-9, 10, (size, size)) + 20 * np.eye(size, dtype=np.int64)
    wanted = generator.integers(-(2**bits), 2**bits + 1, (size, 2, 3))
    right = np.tensordot(matrix, wanted, 1)
    assert (System(matrix).solve(right) == wanted).all()
    with pytest.raises(DecodeError, match="a result is wrong"):
        System(2 * matrix).solve(2 * right + 1)


@pytest.mark.parametrize("size", [4, 8, 9])
def test_ill_conditioned_systems_are_solved(size):
    """Powers 1..n of 1..n: condition up to 1e10, determinant large."""
    matrix = np.arange(1, size + 1)[:, None] ** np.arange(size)
    wanted = np.random.default_rng(size).integers(-(2**31), 2**31, (size, 50))
    system = System(matrix)
    assert (system.solve(matrix @ wanted) == wanted).all()
    assert system.condition > 10 ** (size / 2)


@pytest.mark.filterwarnings("error")
def test_numbers_beyond_int64_are_refused():
    matrix = np.array([[1000, 1001], [999, 1000]])  # its inverse has the same entries
    with pytest.raises(DecodeError, match="a result is wrong"):
        System(matrix).solve(np.array([[2**62], [-(2**62)]]))


def test_condition_does_not_depend_on_the_scale_of_rows():
    matrix = np.array([[1, 1], [1, -1]])
    assert System(matrix).condition == pytest.approx(1)
    assert System(matrix * [[1], [10**6]]).condition == pytest.approx(1)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), columns=st.integers(1, 6), rank=st.integers(0, 6))
def test_first_independent_rows(seed, columns, rank):
    generator = np.random.default_rng(seed)
    matrix = generator.integers(-3, 4, (9, rank)) @ generator.integers(-3, 4, (rank, columns))
    chosen = independent_rows(matrix)
    greedy = []
    for row in range(len(matrix)):
        if np.linalg.matrix_rank(matrix[[*greedy, row]]) > len(greedy):
            greedy.append(row)
    assert chosen == greedy


def test_dependent_combinations_are_passed_over():
    code = Repeating(3, 8 / 3)
    assert code.choose([0, 1], {2, 3, 4, 5, 6}) == [3, 6]
    assert code.choose([0, 1], {3, 4, 5}) == [3]
    assert code.choose([], {0, 1, 2, 3}) == []
    assert not code.recoverable({2, 3, 4, 5})
    assert code.recoverable({2, 5, 7})
    assert not code.recoverable({1, 2})
    assert code.threshold == 8
    assert code.left(6) == ((1, 1), (2, 1))


def test_dependent_combinations_are_decoded(make_job):
    code = Repeating(3, 8 / 3)
    job = make_job(code, (8, 4, 3))
    for finished in ([2, 3, 4, 5, 6], [3, 4, 6, 7], [0, 5, 7, 2], [1, 5, 6]):
        assert (job.decoded(finished) == job.truth).all()
    with pytest.raises(ValueError, match="2 blocks missing, 1 combinations at hand"):
        job.decoded([2, 3, 4, 5])


@pytest.mark.parametrize("shape", [(15, 3, 9001), (40001, 1, 2), (5, 1, 40000)])
def test_blocks_larger_than_a_chunk(make_job, shape):
    job = make_job(Mds(4, 1.5), shape, seed=5)
    assert (job.decoded([1, 2, 4, 5]) == job.truth).all()


def test_store_crops_zeros_only():
    found = np.arange(12).reshape(1, 3, 4)
    block = np.zeros((1, 2, 4), np.int32)
    for short in (block, np.zeros((1, 3, 3), np.int32)):
        with pytest.raises(DecodeError, match="beyond its rows or columns"):
            store(found, short)
    found[:, 2] = 0
    store(found, block)
    assert (block == found[:, :2]).all()
    found[0, 1, 1] = 2**31
    with pytest.raises(DecodeError, match="outside int32"):
        store(found, block)
