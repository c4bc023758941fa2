"""Operands, the results that workers would send for them, and decoding from some of these."""

import itertools

import numpy as np
import pytest

from hpcrefine.codes import Blocks
from hpcrefine.codes.base import encode


def combine(matrix, rows, columns, combination):
    """What encode() does, without digits."""
    total = np.zeros((rows.height, columns.height), np.int64)
    for block, coefficient in combination:
        row, column = divmod(block, columns.count)
        part = matrix[rows.slices[row], columns.slices[column]]
        total[: part.shape[0], : part.shape[1]] += coefficient * part
    return total


def multiply_limbs(left, right):
    """A product, limb by limb as kernels multiply them."""
    total = np.zeros((left.shape[1], right.shape[2]), np.int64)
    for (i, a), (j, b) in itertools.product(enumerate(left[::-1]), enumerate(right[::-1])):
        total += (a.astype(np.int64) @ b.astype(np.int64)) << (8 * (i + j))
    return total


def sums(first, second, multiply):
    """Products of significances 0 and 1 of two operands of two planes each."""
    (a, b), (c, d) = first, second
    return np.stack([multiply(a, c), multiply(a, d) + multiply(b, c)])


class Job:
    """A code, operands, and results of tasks on demand.

    ``planes`` are int8, shapes (2, n, k) and (2, k, m); or int64, to see how large numbers may get.
    """

    def __init__(self, code, left, right, dtype=np.int64):
        grid, (n, k), m = code.grid, left.shape[1:], right.shape[2]
        self.code, self.left, self.right = code, left, right
        self.cuts = Blocks(n, grid.rows), Blocks(k, grid.inner), Blocks(m, grid.columns)
        wide = left.astype(np.int64), right.astype(np.int64)
        self.truth = sums(*wide, np.matmul).astype(dtype)
        assert (self.truth == sums(*wide, np.matmul)).all()
        self.results = {}

    def result(self, task):
        if task not in self.results:
            rows, inner, columns = self.cuts
            digits = self.left.dtype == np.int8
            cut, multiply = (encode, multiply_limbs) if digits else (combine, np.matmul)
            a, b = self.code.left(task), self.code.right(task)
            left = [cut(plane, rows, inner, a) for plane in self.left]
            right = [cut(plane, inner, columns, b) for plane in self.right]
            self.results[task] = sums(left, right, multiply)
        return self.results[task]

    def corrupt(self, task, place, value):
        self.results[task] = self.result(task).copy()
        self.results[task][place] += value

    def decoded(self, finished):
        """The product from finished tasks; blocks that none of them is hold rubbish first."""
        rows, _, columns = self.cuts
        whole = np.full_like(self.truth, 77)
        blocks = [whole[:, r, c] for r in rows.slices for c in columns.slices]
        missing, coded = set(range(len(blocks))), {}
        for task in finished:
            result, block = self.result(task), self.code.block(task)
            if block is None:
                coded[task] = result
            else:
                blocks[block][...] = result[:, : blocks[block].shape[1], : blocks[block].shape[2]]
                missing.discard(block)
        self.code.decode(blocks, sorted(missing), coded)
        return whole


@pytest.fixture(scope="session")
def make_job():
    """Return a function: code and shape to a job of random, or else extreme, digits."""

    def make(code, shape, seed=0, kind="random", dtype=np.int64):
        n, k, m = shape
        if kind == "extreme":
            planes = (np.full((2, n, k), -128, np.int8), np.full((2, k, m), -128, np.int8))
        else:
            generator = np.random.default_rng(seed)
            planes = (
                generator.integers(-128, 128, (2, n, k)).astype(np.int8),
                generator.integers(-128, 128, (2, k, m)).astype(np.int8),
            )
        return Job(code, *planes, dtype)

    return make


@pytest.fixture(scope="session")
def make_large_job():
    """Return a function: code to a job whose plain results are 2**31 in magnitude.

    Signs are those that make the result of the last task as large as any can be.
    """

    def signs(combination, rows, columns):
        coefficients = dict(combination)
        found = [-1 if coefficients.get(b, 1) < 0 else 1 for b in range(rows * columns)]
        return np.array(found, np.int64).reshape(rows, columns)

    def make(code):
        rows, inner, columns = code.grid
        left = signs(code.left(code.coded - 1), rows, inner) << 15
        right = signs(code.right(code.coded - 1), inner, columns) << 16
        return Job(code, np.stack([left, -left]), np.stack([right, 0 * right]))

    return make
