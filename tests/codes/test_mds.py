"""MDS: whatever is lost, as long as K results are there, comes back bit for bit."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcrefine.codes import Blocks, DecodeError
from hpcrefine.codes.mds import Mds, solve_exactly

CODES = {
    "4+2": (4, 1.5),
    "5+3": (5, 1.6),
    "1+2": (1, 3.0),
    "16+4": (16, 1.25),
    "100+25": (100, 1.25),
}


def code_of(name):
    return Mds(*CODES[name])


def join(limbs):
    joined = np.zeros(limbs.shape[1:], np.int64)
    for limb in limbs:
        joined = joined * 256 + limb
    return joined


def stacked(plane, code):
    """The blocks of a plane, short ones padded by zero rows."""
    blocks = Blocks(plane.shape[0], code.tasks)
    padded = np.zeros((code.tasks, blocks.height, plane.shape[1]), np.int64)
    for block, rows in zip(padded, blocks.slices, strict=True):
        block[: rows.stop - rows.start] = plane[rows]
    return padded


def make_planes(seed, shape, kind):
    if kind == "random":
        return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
    return np.full(shape, -128, np.int8)


class Job:
    """Results of all tasks for sums of two significances, as workers would send them."""

    def __init__(self, code, rows, inner, columns, kind="random", seed=0, dtype=np.int64):
        a = make_planes(seed, (2, rows, inner), kind)
        b = make_planes(seed + 1, (2, inner, columns), kind)

        def sums(left):  # significances 0 and 1
            first, second = (x.astype(np.int64) for x in left)
            return np.stack([first @ b[0], first @ b[1] + second @ b[0]])

        self.code, self.truth = code, sums(a).astype(dtype)
        assert (self.truth == sums(a)).all()
        self.rows = Blocks(rows, code.tasks).slices
        self.coded = {}
        for task in range(code.tasks, code.coded):
            limbs = [code.encode(plane, task) for plane in a]
            total = 0
            for limb in range(code.limbs(task)):  # each limb by itself, as kernels multiply them
                total = total * 256 + sums([digit[limb] for digit in limbs])
            self.coded[task] = total

    def decoded(self, lost, coded=None):
        """All blocks, those of lost tasks overwritten by rubbish and then decoded."""
        missing = [task for task in range(self.code.tasks) if task in lost]
        blocks = [self.truth[:, rows].copy() for rows in self.rows]
        for b in missing:
            blocks[b][...] = 77
        coded = self.coded if coded is None else coded
        finished = {task: result for task, result in coded.items() if task not in lost}
        self.code.decode(blocks, missing, finished)
        return np.concatenate(blocks, axis=1)


def largest_losses(code):
    return combinations(range(code.coded), code.coded - code.tasks)


@pytest.mark.parametrize("name", ["4+2", "5+3", "1+2"])
@pytest.mark.parametrize("kind", ["random", "extreme"])
@pytest.mark.parametrize("more", [0, 1, 3, 6])
def test_every_erasure_pattern(name, kind, more):
    code = code_of(name)
    job = Job(code, code.tasks + more, 9, 3, kind)
    for lost in largest_losses(code):
        assert code.recoverable(set(range(code.coded)) - set(lost))
        assert (job.decoded(lost) == job.truth).all()
        assert (job.decoded(lost[1:]) == job.truth).all()


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize(
    ("name", "rows", "tries"), [("16+4", 37, 30), ("16+4", 64, 30), ("100+25", 203, 4)]
)
def test_random_erasures_of_large_codes(name, rows, tries, dtype):
    code, generator = code_of(name), np.random.default_rng(rows)
    for kind in ("random", "extreme"):
        job = Job(code, rows, 40, 7, kind, dtype=dtype)
        for _ in range(tries):
            lost = generator.choice(code.coded, code.coded - code.tasks, replace=False)
            assert (job.decoded(set(lost.tolist())) == job.truth).all()
        worst = set(range(code.coded - code.tasks))  # as many plain blocks as can be lost
        assert (job.decoded(worst) == job.truth).all()


def test_blocks_wider_than_a_chunk():
    code = code_of("4+2")
    job = Job(code, 15, 3, 9001, seed=5)
    assert (job.decoded({0, 3}) == job.truth).all()


@pytest.mark.parametrize("name", CODES)
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**32), bits=st.integers(1, 8), more=st.integers(0, 7))
def test_limbs_hold_the_combination_and_peak_bounds_it(name, seed, bits, more):
    code, generator = code_of(name), np.random.default_rng(seed)
    rows, top = code.tasks + more, 1 << (bits - 1)
    random = generator.integers(-top, top, (rows, 5)).astype(np.int8)
    for task in range(code.tasks, code.coded):
        row = code.generator[task - code.tasks]
        signs = np.repeat(np.sign(row), [s.stop - s.start for s in Blocks(rows, code.tasks).slices])
        aligned = np.clip(signs[:, None] * [top, -top], -128, 127).astype(np.int8)
        for plane in (random, aligned, np.full((rows, 2), -top, np.int8)):
            limbs = code.encode(plane, task)
            expected = np.tensordot(row, stacked(plane, code), 1)
            assert limbs.dtype == np.int8
            assert len(limbs) == code.limbs(task)
            assert (join(limbs) == expected).all()
            assert np.abs(expected).max() <= code.peak(task, top)
        if bits < 8:  # then the digits can have either sign, and the peak is reached
            assert np.abs(join(code.encode(aligned, task))).max() == code.peak(task, top)


@pytest.mark.parametrize("name", CODES)
def test_plain_tasks_are_the_blocks(name):
    code = code_of(name)
    for task in range(code.coded):
        plain = task < code.tasks
        assert code.block(task) == (task if plain else None)
        assert (code.limbs(task) == 1) == plain
        assert (code.peak(task, 8) == 8) == plain or code.tasks == 1
    for count in range(code.coded + 1):
        assert code.recoverable(set(range(count))) == (count >= code.tasks)


def test_too_few_results_are_refused():
    job = Job(code_of("4+2"), 8, 3, 2)
    with pytest.raises(ValueError, match="2 blocks missing, 1 combinations at hand"):
        job.decoded({0, 1, 5})
    with pytest.raises(ValueError, match="1 blocks missing, 0 combinations at hand"):
        Job(Mds(3), 3, 3, 2).decoded({1})


def corrupted(job, task, place, value):
    wrong = {t: result.copy() for t, result in job.coded.items()}
    wrong[task][place] += value
    return wrong


def test_corrupted_padding_is_noticed():
    """Block 0 of 2, 2, 2, 3 rows is short: its third row can only come out as zero."""
    job = Job(Mds(4, 1.25), 9, 5, 3)
    assert (job.decoded({0}) == job.truth).all()
    for significance in (0, 1):
        with pytest.raises(DecodeError, match="beyond its rows: a result is wrong"):
            job.decoded({0}, corrupted(job, 4, (significance, 2, 1), 1))


def test_values_outside_the_result_type_are_noticed():
    job = Job(Mds(4, 1.25), 8, 5, 3, dtype=np.int32)
    for value in (2**40, -(2**40)):
        with pytest.raises(DecodeError, match="entries outside int32"):
            job.decoded({0}, corrupted(job, 4, (0, 0, 0), value))


@pytest.mark.parametrize("name", ["4+2", "5+3", "16+4"])
def test_corruption_without_an_integer_solution_is_noticed(name):
    """Adding 1 to a result is hidden only where the determinant of the system divides."""
    code = code_of(name)
    job, noticed = Job(code, 2 * code.tasks, 5, 3), 0
    for missing in combinations(range(min(code.tasks, 6)), 2):
        (a, b), (c, d) = code.generator[:2, list(missing)].tolist()
        if all(x % (a * d - b * c) == 0 for x in (a, b)):
            continue  # the blocks come out as other integers
        with pytest.raises(DecodeError, match=r"left a residual of \d+, expected 0"):
            job.decoded(set(missing), corrupted(job, code.tasks + 1, (1, 0, 2), 1))
        noticed += 1
    assert noticed


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 12), bits=st.integers(0, 52))
def test_integer_systems_are_solved_exactly(seed, size, bits):
    generator = np.random.default_rng(seed)
    matrix = generator.integers(-9, 10, (size, size)) + 20 * np.eye(size, dtype=np.int64)
    wanted = generator.integers(-(2**bits), 2**bits + 1, (size, 2, 3))
    right = np.tensordot(matrix, wanted, 1)
    assert (solve_exactly(matrix, right) == wanted).all()
    with pytest.raises(DecodeError):
        solve_exactly(2 * matrix, 2 * right + 1)
