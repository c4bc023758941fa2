"""Encoding: a combination of blocks of a plane, in as few int8 digits as can hold it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcrefine.codes import Blocks
from hpcrefine.codes.base import encode, growth, is_plain, limbs


def join(planes):
    joined = np.zeros(planes.shape[1:], np.int64)
    for plane in planes:
        joined = joined * 256 + plane
    return joined


def combined(plane, rows, columns, combination):
    padded = np.zeros((rows.height, columns.height), np.int64)
    for block, coefficient in combination:
        row, column = divmod(block, columns.count)
        for i, r in enumerate(range(rows.rows)[rows.slices[row]]):
            for j, c in enumerate(range(columns.rows)[columns.slices[column]]):
                padded[i, j] += coefficient * int(plane[r, c])
    return padded


@st.composite
def cuts(draw):
    parts = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    rows, columns = (Blocks(p + draw(st.integers(0, 5)), p) for p in parts)
    blocks = draw(st.sets(st.integers(0, parts[0] * parts[1] - 1), min_size=1))
    size = draw(st.sampled_from([1, 3, 1000, 1 << 24, 1 << 30]))
    coefficients = st.integers(-size, size).filter(bool)
    return rows, columns, tuple((b, draw(coefficients)) for b in sorted(blocks))


@settings(deadline=None, max_examples=100)
@given(cut=cuts(), seed=st.integers(0, 2**32), extreme=st.booleans())
def test_limbs_hold_the_combination(cut, seed, extreme):
    rows, columns, combination = cut
    shape = rows.rows, columns.rows
    plane = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
    if extreme:
        plane[...] = np.where(plane < 0, -128, 127)
    digits = encode(plane, rows, columns, combination)
    assert digits.dtype == np.int8
    assert digits.shape == (limbs(combination), rows.height, columns.height)
    assert (join(digits) == combined(plane, rows, columns, combination)).all()


@pytest.mark.parametrize(
    "magnitude", [1, 2, 127, 128, 32639 // 128, 1 << 16, (1 << 24) - 1, 1 << 24]
)
def test_largest_digits(magnitude):
    """All digits -128, coefficients of either sign: the extremes of what limbs have to hold."""
    plane = np.full((2, 3), -128, np.int8)
    for combination in (((0, magnitude),), ((0, -magnitude),), ((0, magnitude), (1, -1))):
        digits = encode(plane, Blocks(2, 2), Blocks(3, 1), combination)
        total = -128 * sum(coefficient for _, coefficient in combination)
        assert (join(digits) == total).all()


@pytest.mark.parametrize(
    ("combination", "plain", "times", "digits"),
    [
        (((0, 1),), True, 1, 1),
        (((3, 1),), True, 1, 1),
        (((0, -1),), False, 1, 2),
        (((0, 1), (1, -1)), False, 2, 2),
        (((0, 100), (5, -154)), False, 254, 2),  # 254 * 128 = 32512 of at most 32639
        (((0, 255),), False, 255, 3),
    ],
)
def test_growth_and_limbs(combination, plain, times, digits):
    assert is_plain(combination) == plain
    assert growth(combination) == times
    assert limbs(combination) == digits
