"""Tasks: sums of digit products by significance, of plain blocks and of combinations in limbs."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcrefine.kernels import result_dtype
from hpcrefine.kernels.task import LIMB_PEAK, compute_task
from hpcrefine.resolution.layers import layering, significances


def limbs_of(integers, count):
    """Balanced base-256 digits of integers, most significant first."""
    rest, found = integers.astype(object), []
    for _ in range(count):
        limb = (rest + 128) % 256 - 128
        found.append(limb.astype(np.int8))
        rest = (rest - limb) // 256
    assert not rest.any()
    return found[::-1]


def expected_sums(left, right, minijobs):
    left, right = ([x.astype(object) for x in operand] for operand in (left, right))
    return np.stack(
        [
            sum(left[i] @ right[j] for i, j in minijobs if i + j == group)
            for group in significances(minijobs)
        ]
    )


LAYERS = [
    pytest.param(layering(name, digits)[index].minijobs, id=f"{name}-{digits}-{index}")
    for name, digits, index in [
        ("antidiagonal", 1, 0),
        ("antidiagonal", 3, 2),
        ("product", 3, 5),
        ("square", 2, 1),
        ("square", 4, 3),
    ]
]


@pytest.mark.parametrize("minijobs", LAYERS)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.differing_executors])
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 60), st.integers(1, 9)),
    kind=st.sampled_from(["random", "lowest", "signs"]),
    bits=st.integers(2, 8),
    seed=st.integers(0, 2**31),
    wide=st.booleans(),
)
def test_plain_blocks(kernel, digits, minijobs, shape, kind, bits, seed, wide):
    rows, inner, columns = shape
    left = [digits(seed + t, (rows, inner), kind, bits) for t in range(4)]
    right = [
        digits(seed - 1 - t if seed > 9 else t, (inner, columns), kind, bits) for t in range(4)
    ]
    groups, peak = len(significances(minijobs)), 1 << (bits - 1)
    dtype = np.int64 if wide else result_dtype(inner, len(minijobs), peak**2)
    out = np.full((groups, rows, columns), -99, dtype)
    loaded = ([[kernel.load(x)] for x in side] for side in (left, right))
    compute_task(kernel, *loaded, minijobs, out, peak)
    assert (out == expected_sums(left, right, minijobs)).all()


@pytest.mark.parametrize("minijobs", LAYERS)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.differing_executors])
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 60), st.integers(1, 9)),
    limbs=st.integers(2, 4),
    extreme=st.booleans(),
    bits=st.integers(1, 8),
    seed=st.integers(0, 2**31),
)
def test_combinations_in_limbs(kernel, digits, minijobs, shape, limbs, extreme, bits, seed):
    rows, inner, columns = shape
    generator = np.random.default_rng(seed)
    largest = 127 * (256**limbs - 1) // 255
    left = [generator.integers(-largest, largest + 1, (rows, inner)) for _ in range(4)]
    if extreme:
        left = [np.sign(x) * largest for x in left]
    kind = "signs" if extreme else "random"
    right = [digits(seed + t, (inner, columns), kind, bits) for t in range(4)]
    peak = 1 << (bits - 1)
    dtype = result_dtype(inner, len(minijobs), largest * peak)
    out = np.full((len(significances(minijobs)), rows, columns), -99, dtype)
    loaded = [[kernel.load(x) for x in limbs_of(plane, limbs)] for plane in left]
    compute_task(kernel, loaded, [[kernel.load(x)] for x in right], minijobs, out, peak)
    assert (out == expected_sums(left, right, minijobs)).all()


@pytest.mark.parametrize("minijobs", LAYERS)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.differing_executors])
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 60), st.integers(1, 9)),
    limbs=st.tuples(st.integers(1, 3), st.integers(2, 3)),
    extreme=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_combinations_of_both_operands(kernel, minijobs, shape, limbs, extreme, seed):
    rows, inner, columns = shape
    generator = np.random.default_rng(seed)
    sides, loaded, largest = [], [], [127 * (256**count - 1) // 255 for count in limbs]
    for most, count, size in zip(largest, limbs, ((rows, inner), (inner, columns)), strict=True):
        side = [generator.integers(-most, most + 1, size) for _ in range(4)]
        side = [np.sign(x) * most for x in side] if extreme else side
        sides.append(side)
        loaded.append([[kernel.load(x) for x in limbs_of(plane, count)] for plane in side])
    dtype = result_dtype(inner, len(minijobs), largest[0] * largest[1])
    out = np.full((len(significances(minijobs)), rows, columns), -99, dtype)
    compute_task(kernel, *loaded, minijobs, out, 128)
    assert (out == expected_sums(*sides, minijobs)).all()


def test_parts_of_limbs_beyond_int32(kernel):
    inner = 2**31 // (LIMB_PEAK * 128) + 1
    left = [[np.full((1, inner), limb, np.int8) for limb in (-128, 127)]]
    right = [np.full((inner, 1), -128, np.int8)]
    out = np.empty((1, 1, 1), np.int64)
    loaded = [[kernel.load(x) for x in left[0]]], [[kernel.load(right[0])]]
    compute_task(kernel, *loaded, [(0, 0)], out, 128)
    assert out[0, 0, 0] == (-128 * 256 + 127) * -128 * inner
