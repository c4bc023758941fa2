"""A slow worker costs nothing: its tasks are decoded from others' and purged."""

import time

import numpy as np
import pytest

import hpcrefine.cluster.serving
from hpcrefine import Pool

SLEEP = 0.15
BEGUN, RELEASED = 1, 2


@pytest.fixture
def slow(comm, monkeypatch):
    """Make every task of the last rank take its time; give that rank."""
    rank = comm.size - 1
    if comm.rank == rank:
        _before_each_task(monkeypatch, lambda: time.sleep(SLEEP))
    return rank


class Held:
    """The last rank, which waits in the middle of its first task until it is released."""

    def __init__(self, comm):
        self._comm, self._empty = comm, np.empty(0)
        self.rank = comm.size - 1
        self.released = False

    def hold(self):
        """Wait, on that rank."""
        if not self.released:
            self._comm.Send(self._empty, 0, BEGUN)
            release = self._comm.Irecv(self._empty, 0, RELEASED)
            while not release.Test():
                time.sleep(1e-3)
            self.released = True

    def begun(self):
        """Wait on the master until that rank is in its first task."""
        self._comm.Recv(self._empty, self.rank, BEGUN)

    def release(self):
        """Let that rank go on."""
        self._comm.Send(self._empty, self.rank, RELEASED)


@pytest.fixture
def held(comm, monkeypatch):
    """Hold the last rank."""
    held = Held(comm)
    if comm.rank == held.rank:
        _before_each_task(monkeypatch, held.hold)
    return held


def _before_each_task(monkeypatch, wait):
    compute = hpcrefine.cluster.serving.compute_task

    def compute_slowly(*arguments):
        wait()
        compute(*arguments)

    monkeypatch.setattr(hpcrefine.cluster.serving, "compute_task", compute_slowly)
    monkeypatch.setattr(hpcrefine.cluster.serving, "_WORTHWHILE", 0)  # each task is a call


def redundant(pool):
    """Return a code that survives one worker: K and Omega = N / K."""
    each = 4 if pool.workers < 4 else 2
    coded = each * pool.workers
    tasks = coded - each
    return {"code": "mds", "tasks": tasks, "redundancy": coded / tasks, "survive": 1}


def multiply_without(held, pool, check, a, b, **options):
    """Multiply while a worker is held; check everything after it was released."""
    options = {**redundant(pool), **options}
    product = pool.matmul(a, b, **options)
    held.begun()
    resolutions = list(product)
    before = [product.integers(r.layer) for r in resolutions]
    values = [r.value.copy() for r in resolutions]
    held.release()
    pool.settle()
    check.resolutions(product, resolutions, a, b, **options)
    check.log(product)
    for r, integers, value in zip(resolutions, before, values, strict=True):
        after = product.integers(r.layer)
        assert all(np.array_equal(after[s], integers[s]) for s in integers)
        assert np.array_equal(r.value, value)
    return product


@pytest.mark.mpi(min_size=3)
@pytest.mark.parametrize("layers", ["antidiagonal", "product", "square"])
@pytest.mark.parametrize("unit", ["layer", "minijob"])
def test_decoded_around(comm, check, held, layers, unit):
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands((31, 23, 19))
            options = {"digits": 3, "layers": layers, "unit": unit}
            product = multiply_without(held, pool, check, a, b, **options)
            plan = product.plan
            theirs = [e.status for e in product.log.values() if e.worker == held.rank]
            assert set(theirs) == {"late", "purged"}  # what it was at; all else it drops
            assert theirs.count("late") <= 2
            for entry in product.log.values():
                combination = entry.task >= plan.code.tasks
                assert combination or entry.worker == held.rank or entry.status == "used"
            for each in plan.units:
                combinations = range(plan.code.tasks, plan.code.coded)
                assert any(product.log[each.index, t, 0].status == "used" for t in combinations)


@pytest.mark.mpi(min_size=3)
@pytest.mark.parametrize("kernel", ["int8", "float32", "float64"])
@pytest.mark.parametrize("dtype", [np.float64, np.uint8])
def test_decoded_from_each_kernel(comm, check, held, kernel, dtype):
    with Pool(comm, kernel=kernel) as pool:
        if pool:
            a, b = check.operands((67, 130, 71), dtype)
            product = multiply_without(held, pool, check, a, b, digits=2)
            theirs = [e.status for e in product.log.values() if e.worker == held.rank]
            assert "used" not in theirs


@pytest.mark.mpi(min_size=3)
@pytest.mark.parametrize("digit_bits", [1, 4, 8])
def test_decoded_from_narrow_digits(comm, check, held, digit_bits):
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands((31, 23, 19))
            multiply_without(held, pool, check, a, b, digits=7, digit_bits=digit_bits)


@pytest.mark.mpi(min_size=3)
def test_late_results_beyond_the_eager_limit(comm, check, held):
    """A late result lands where the decoded block stands, while the caller has its values."""
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands((240, 90, 220))
            product = multiply_without(held, pool, check, a, b)
            late = [e for e in product.log.values() if e.status == "late"]
            assert any(e.worker == held.rank and e.task < product.plan.code.tasks for e in late)


@pytest.mark.mpi(min_size=3)
def test_with_a_tolerance(comm, check, held):
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands((31, 23, 19))
            product = multiply_without(
                held, pool, check, a, b, digits=4, relative_tolerance=2.0**-12
            )
            assert 1 < len(product.plan.layers) < 7
            assert product.bounds[-1].relative <= 2.0**-12 < product.bounds[-2].relative


@pytest.mark.mpi(min_size=3)
def test_next_product_waits_for_the_slow_worker(comm, check, slow):
    with Pool(comm) as pool:
        if pool:
            for shape in ((9, 8, 7), (31, 5, 3)):
                a, b = check.operands(shape)
                for r in pool.matmul(a, b, tasks=2, code="mds", redundancy=2):
                    assert r.layer == 0
                    break
            a, b = check.operands((11, 9, 10))
            (r,) = pool.oneshot(a, b)
            assert (np.abs(r.value - a @ b) <= 1e-14 * (np.abs(a) @ np.abs(b))).all()


@pytest.mark.mpi(min_size=2)
def test_uncoded_waits_for_the_slow_worker(comm, check, slow):
    with Pool(comm) as pool:
        if pool:
            product, resolutions = check(pool, *check.operands((6, 5, 4)), digits=1, tasks=4)
            mine = [e for e in product.log.values() if e.worker == slow]
            assert resolutions[-1].seconds >= SLEEP * len(mine)
            assert all(e.compute >= SLEEP for e in mine)


@pytest.mark.mpi(min_size=2)
def test_purged_before_they_begin(comm, check, slow):
    """Left at once, the slow worker ends what it was at and drops the rest."""
    with Pool(comm) as pool:
        if pool:
            product = pool.matmul(*check.operands((40, 5, 4)), digits=7, layers="product")
            product.close()
            pool.settle()
            check.log(product, complete=False)
            mine = [e.status for e in product.log.values() if e.worker == slow]
            assert set(mine) <= {"late", "purged"}
            assert mine.count("purged") >= len(mine) - 3
