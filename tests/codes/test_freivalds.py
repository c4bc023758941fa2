"""Freivalds' check: right results always pass, wrong ones never, or as seldom as stated."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcrefine.codes.base import WHOLE, Blocks, Code, Grid, is_plain
from hpcrefine.codes.freivalds import Freivalds, multiply_exactly
from hpcrefine.errors import InputError
from hpcrefine.resolution.layers import LAYERINGS, layering, significances


class Tabled(Code):
    """A code whose tasks are written out: the blocks of A and of B that each adds up."""

    name = "tabled"

    def __init__(self, grid, *tasks):
        super().__init__(len(tasks))
        self.table, self.cut = tasks, Grid(*grid)

    @property
    def grid(self):
        return self.cut

    @property
    def threshold(self):
        return self.tasks

    def left(self, task):
        return self.table[task][0]

    def right(self, task):
        return self.table[task][1]

    def block(self, task):
        raise NotImplementedError

    def recoverable(self, finished):
        raise NotImplementedError

    def decode(self, blocks, missing, coded):
        raise NotImplementedError


def plain(block):
    return ((block, 1),)


CODES = {
    "plain": Tabled((3, 1, 1), *((plain(b), WHOLE) for b in range(3))),
    "left": Tabled(
        (3, 1, 1), (plain(0), WHOLE), (((0, 1), (1, -2), (2, 3)), WHOLE), (((2, -1),), WHOLE)
    ),
    "right": Tabled((1, 1, 2), (WHOLE, plain(1)), (WHOLE, ((0, 1), (1, 1))), (WHOLE, ((1, 2),))),
    "both": Tabled(
        (2, 1, 3),
        (plain(1), plain(2)),
        (((0, 1), (1, -3)), plain(0)),
        (((0, 2), (1, 1)), ((0, 4), (1, -2), (2, 1))),
    ),
    "inner": Tabled(
        (1, 3, 1),
        (plain(2), plain(2)),
        (((0, 1), (1, 2), (2, 4)), ((0, 4), (1, 2), (2, 1))),
        (plain(0), ((0, 1), (2, -1))),
        (((0, -5), (2, 1)), plain(1)),
    ),
    "all": Tabled(
        (2, 2, 2), (plain(3), plain(2)), (((0, 1), (3, -2)), ((1, 1), (2, 7))), (plain(1), plain(1))
    ),
}


def combined(plane, rows, columns, combination):
    """Add up blocks cut from a plane, padded unless there is but one; ragged ones by zeros."""
    rows, columns = Blocks(plane.shape[0], rows), Blocks(plane.shape[1], columns)
    total = np.zeros((rows.height, columns.height), np.int64)
    for block, coefficient in combination:
        row, column = divmod(block, columns.count)
        part = plane[rows.slices[row], columns.slices[column]].astype(np.int64)
        total[: part.shape[0], : part.shape[1]] += coefficient * part
        if is_plain(combination):
            return total, part.shape
    return total, total.shape


def honest(code, left, right, minijobs, task, dtype=np.int64):
    """The result of a task, by integer arithmetic on combinations of padded blocks."""
    grid, sums = code.grid, {}
    for i, j in minijobs:
        a, (rows, _) = combined(left[i], grid.rows, grid.inner, code.left(task))
        b, (_, columns) = combined(right[j], grid.inner, grid.columns, code.right(task))
        product = (a @ b)[:rows, :columns]
        sums[i + j] = sums.get(i + j, 0) + product
    result = np.stack([sums[s] for s in significances(tuple(minijobs))])
    assert np.abs(result).max() <= np.iinfo(dtype).max
    return result.astype(dtype)


def planes(generator, shape, bits, kind="random"):
    low, high = -(1 << (bits - 1)), 1 << (bits - 1)
    if kind == "lowest":
        return np.full(shape, low, np.int8)
    if kind == "signs":
        return np.where(generator.random(shape) < 0.5, low, high - 1).astype(np.int8)
    return generator.integers(low, high, shape).astype(np.int8)


def operands(shape=(9, 11, 8), digits=2, bits=8, seed=0, kind="random"):
    (n, k, p), generator = shape, np.random.default_rng(seed)
    left = planes(generator, (digits, n, k), bits, kind)
    return left, planes(generator, (digits, k, p), bits, kind)


LAYER = layering("antidiagonal", 2)[1].minijobs


@pytest.mark.parametrize("name", CODES)
@settings(deadline=None, max_examples=60)
@given(
    shape=st.tuples(st.integers(3, 20), st.integers(3, 40), st.integers(3, 20)),
    digits=st.integers(1, 3),
    bits=st.integers(1, 8),
    kind=st.sampled_from(["random", "lowest", "signs"]),
    layers=st.sampled_from(LAYERINGS),
    dtype=st.sampled_from([np.int32, np.int64]),
    seed=st.integers(0, 2**32),
)
def test_right_results_are_accepted(name, shape, digits, bits, kind, layers, dtype, seed):
    code = CODES[name]
    left, right = operands(shape, digits, bits, seed, kind)
    check = Freivalds(code, left, right, bits)
    for layer, task in itertools.product(layering(layers, digits), range(code.tasks)):
        result = honest(code, left, right, layer.minijobs, task, dtype)
        assert check.accepts(layer.minijobs, task, result)
        result[seed % len(result), -1, -1] += 1
        assert not check.accepts(layer.minijobs, task, result)


def test_matrices_larger_than_a_chunk_and_of_any_memory_order():
    code = CODES["left"]
    left, right = operands((120, 300, 3000))
    check = Freivalds(code, left, right, 8)
    for task in range(code.tasks):
        result = honest(code, left, right, LAYER, task)
        strided = np.repeat(result, 2, axis=2)[:, :, ::2]
        assert check.accepts(LAYER, task, np.asfortranarray(result))
        assert check.accepts(LAYER, task, strided)
        strided[0, -1, 1700] -= 1
        assert not check.accepts(LAYER, task, strided)


def test_only_the_digits_of_the_checked_tasks_are_needed():
    code = CODES["both"]
    left, right = operands()
    later = right.copy()
    right[1] = 0
    check = Freivalds(code, left, right, 8)
    assert check.accepts([(0, 0)], 2, honest(code, left, right, [(0, 0)], 2))
    right[1] = later[1]
    assert check.accepts(LAYER, 2, honest(code, left, right, LAYER, 2))


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_every_flipped_bit_is_found(name, dtype):
    code = CODES[name]
    left, right = operands()
    check = Freivalds(code, left, right, 8)
    for task in range(code.tasks):
        result = honest(code, left, right, LAYER, task, dtype)
        for bit, entry in itertools.product(range(8 * result.itemsize), [0, 5, -1]):
            wrong = result.copy()
            wrong.reshape(-1).view(f"u{wrong.itemsize}")[entry] ^= 1 << bit
            assert not check.accepts(LAYER, task, wrong), (bit, entry)


def test_results_of_something_else_are_found():
    code = CODES["plain"]
    left, right = operands()
    result = honest(code, left, right, LAYER, 0)
    check = Freivalds(code, left, right, 8)
    stale = Freivalds(code, *operands(seed=1), 8)
    assert check.accepts(LAYER, 0, result)
    assert not stale.accepts(LAYER, 0, result)
    assert not check.accepts(LAYER, 1, result)  # another task's block
    assert not check.accepts([(1, 1)], 0, result)  # another layer's
    assert not check.accepts(LAYER, 0, result[:, [1, 0, 2]])
    assert not check.accepts(LAYER, 0, result[:, :, ::-1])
    assert not check.accepts(LAYER, 0, np.zeros_like(result))
    assert not check.accepts(LAYER, 0, -result)


def test_significances_are_told_apart():
    code, minijobs = CODES["plain"], [(1, 1), (0, 1), (1, 0)]
    left, right = operands()
    check = Freivalds(code, left, right, 8)
    result = honest(code, left, right, minijobs, 0)
    assert check.accepts(minijobs, 0, result)
    assert not check.accepts(minijobs, 0, result[::-1])


@pytest.mark.parametrize(
    "cut", [np.s_[0], np.s_[:0], np.s_[:, 1:], np.s_[:, :, :-1], np.s_[None], np.s_[:, :, :0]]
)
def test_wrong_shapes_are_rejected(cut):
    code = CODES["plain"]
    left, right = operands()
    result = honest(code, left, right, LAYER, 0)
    assert not Freivalds(code, left, right, 8).accepts(LAYER, 0, result[cut])


@pytest.mark.parametrize("dtype", [np.float64, np.uint64, object])
def test_only_signed_integers_are_results(dtype):
    code = CODES["plain"]
    left, right = map(np.abs, operands(bits=7))
    result = honest(code, left, right, LAYER, 0)
    check = Freivalds(code, left, right, 8)
    assert check.accepts(LAYER, 0, result)
    assert not check.accepts(LAYER, 0, result.astype(dtype))


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_none_of_ten_thousand_corrupted_blocks_is_accepted(dtype):
    code, generator = CODES["plain"], np.random.default_rng(5)
    left, right = operands((9, 11, 6))
    check = Freivalds(code, left, right, 8, seed=1)
    result = honest(code, left, right, LAYER, 0, dtype)
    blocks = np.tile(result, (10_000, 1, 1, 1))
    entries = generator.integers(result.size, size=10_000)
    errors = generator.integers(1, 1 << generator.integers(1, 17, 10_000), dtype=dtype)
    blocks.reshape(10_000, -1)[np.arange(10_000), entries] += errors
    blocks[::2] += generator.integers(-1, 2, blocks[::2].shape, dtype)  # half of them all over
    assert (blocks != result).any(axis=(1, 2, 3)).all()
    assert not any(check.accepts(LAYER, 0, block) for block in blocks)
    assert check.accepts(LAYER, 0, result)


class OneBit(Freivalds):
    value_bits, security = 1, 2


class TwoBits(Freivalds):
    value_bits, security = 2, 2


@pytest.mark.parametrize("weak", [OneBit, TwoBits])
def test_a_weak_check_errs_as_often_as_stated(weak):
    code = CODES["plain"]
    left, right = operands((3, 4, 5))
    result = honest(code, left, right, LAYER, 1)
    checks = [weak(code, left, right, 8, seed=seed) for seed in range(4000)]
    assert checks[0].error_probability == 1 / 4
    deviation = (1 / 4 * 3 / 4 / len(checks)) ** 0.5

    def accepted(*errors):
        wrong = result.copy()
        wrong[0, 0, : len(errors)] += errors
        return np.mean([check.accepts(LAYER, 1, wrong) for check in checks])

    assert accepted(0) == 1
    for errors in ((1,), (-6,), (1, 2), (3, 1, -7, 2)):
        assert accepted(*errors) <= 1 / 4 + 4 * deviation
    assert accepted(1) == pytest.approx(1 / 4, abs=4 * deviation)  # the bound is attained


@pytest.mark.parametrize("name", CODES)
def test_the_check_itself_errs_less_than_once_in_a_trillion(name):
    assert Freivalds(CODES[name], *operands(), 8).error_probability <= 1e-12


def test_the_random_values_are_new_each_time_unless_seeded():
    code, accepted = CODES["plain"], set()
    left, right = operands((3, 4, 5))
    wrong = honest(code, left, right, LAYER, 0)
    wrong[0, 0, 0] += 1
    fixed = {OneBit(code, left, right, 8, seed=3).accepts(LAYER, 0, wrong) for _ in range(50)}
    assert len(fixed) == 1
    accepted = {OneBit(code, left, right, 8).accepts(LAYER, 0, wrong) for _ in range(200)}
    assert accepted == {True, False}


def huge(coefficient):
    return Tabled((2, 1, 1), (plain(1), WHOLE), (((0, coefficient), (1, 1)), WHOLE))


@pytest.mark.parametrize("exponent", [20, 34, 40, 42])
def test_results_that_nearly_fill_int64(exponent):
    """Sums wrap around, but an error never becomes a multiple of 2**64."""
    code = huge(1 << exponent)
    left, right = operands((6, 15, 4), kind="lowest")
    left[:, 1] = 5
    check = Freivalds(code, left, right, 8)
    assert check.error_probability <= 1e-12
    result = honest(code, left, right, LAYER, 1)
    assert check.accepts(LAYER, 1, result)
    for bit in range(64):
        wrong = result.copy()
        wrong.view(np.uint64)[0, 1, 2] ^= np.uint64(1 << bit)
        assert not check.accepts(LAYER, 1, wrong), bit
    wrong = result.copy()
    wrong[0, :, 0] = np.iinfo(np.int64).min
    assert not check.accepts(LAYER, 1, wrong)


def test_results_out_of_range_are_rejected_whatever_the_random_values():
    """An error of 2**63 times an even number would be a multiple of 2**64."""
    code = huge(1 << 40)
    left, right = operands((6, 15, 4))
    result = honest(code, left, right, LAYER, 1)
    result.view(np.uint64)[0, 1, 2] ^= np.uint64(1 << 63)
    checks = [TwoBits(code, left, right, 8, seed=seed) for seed in range(200)]
    assert not any(check.accepts(LAYER, 1, result) for check in checks)


@pytest.mark.parametrize(
    ("dtype", "entry"), [(np.int32, -(2**31)), (np.int64, 2**36 - 1), (np.int64, 2**43 + 1)]
)
def test_long_sums_are_exact_modulo_two_to_the_64(dtype, entry):
    matrix = np.full((3, 40_001), entry, dtype)
    factors = np.stack([np.full(40_001, -512.0), np.arange(40_001) % 512])  # odd and even
    sums = [-512 * 40_001 * entry, int(factors[1].sum()) * entry]
    product = multiply_exactly(matrix, factors.T, abs(entry) * 512)
    assert product.view(np.uint64).tolist() == [[total % 2**64 for total in sums]] * 3


def test_results_beyond_int64_are_refused():
    with pytest.raises(InputError, match=r"^\[code\] verify: found results of up to 1\.7e\+19"):
        Freivalds(huge(1 << 45), *operands((6, 15, 4)), 8)


def test_a_rateless_task_may_be_too_large():
    code = huge(1 << 41)
    code.coded = 1  # the other is one beyond N
    left, right = operands((6, 15, 4))
    check = Freivalds(code, left, right, 8)
    assert check.accepts(LAYER, 0, honest(code, left, right, LAYER, 0))
    with pytest.raises(ValueError, match="task 1 has larger results than the 1 first ones"):
        check.accepts(LAYER, 1, honest(code, left, right, LAYER, 1))
