"""Tests on real ranks: ``mpiexec -n 3 python -m pytest -s --with-mpi tests/mpi``.

All ranks run the same functions in the same order. A test that fails on any rank ends the run with
its traceback, since the others may be waiting for that rank. Nothing here may import mpi4py before
it is known that there is an MPI run: this file is also read by plain ones.
"""

import os
import sys
from fractions import Fraction

import numpy as np
import pytest

from hpcrefine.experiment.verify import Exact
from hpcrefine.resolution.bounds import exact_in_float64
from hpcrefine.resolution.digits import quantise
from hpcrefine.resolution.refine import Refiner

_SMALL = 200_000  # multiply-adds that Python's integers may take


def pytest_configure(config):
    if config.getoption("--with-mpi", default=False):
        from mpi4py import MPI

        if MPI.COMM_WORLD.rank:  # what went wrong is told on stderr
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        _abort(f"{report.nodeid} failed", report.longreprtext)
    return report


def pytest_collectreport(report):
    if report.failed:
        _abort(f"{report.nodeid} was not collected", report.longreprtext)


def _abort(what, trace):
    from mpi4py import MPI

    rank = MPI.COMM_WORLD.rank
    print(f"rank {rank}: {what}\n{trace}", file=sys.stderr, flush=True)
    MPI.COMM_WORLD.Abort(1)


@pytest.fixture
def comm():
    """All ranks of the run."""
    from mpi4py import MPI

    return MPI.COMM_WORLD


@pytest.fixture(autouse=True, params=["shared", "messages", "mixed"])
def memory(request, monkeypatch):
    """Every test runs on shared memory, on messages alone, and with workers of both kinds."""
    from mpi4py import MPI

    if request.param == "mixed" and MPI.COMM_WORLD.size < 3:
        pytest.skip("one worker alone cannot be mixed")
    share = {"shared": True, "messages": False, "mixed": MPI.COMM_WORLD.rank != 1}[request.param]
    monkeypatch.setenv("HPCREFINE_SHARED_MEMORY", str(int(share)))
    monkeypatch.setattr("hpcrefine.cluster.survey._WORTHWHILE", 1)
    return request.param


@pytest.fixture
def rng():
    """The same random numbers on all ranks."""
    return np.random.default_rng(20250612)


@pytest.fixture
def check(rng):
    """Run products and check all that is promised of them."""
    return Check(rng)


class Check:
    """What is promised of a product, checked on the master."""

    def __init__(self, rng):
        self._rng = rng

    def operands(self, shape, dtype=np.float64):
        """Draw a and b over the whole range of integers, or with rows and columns wildly scaled."""
        n, k, p = shape
        return self._matrix(n, k, dtype, axis=1), self._matrix(k, p, dtype, axis=0)

    def _matrix(self, rows, columns, dtype, axis):
        dtype = np.dtype(dtype)
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            matrix = self._rng.integers(
                limits.min, limits.max, (rows, columns), dtype=dtype, endpoint=True
            )
            matrix.flat[0] = limits.min
            matrix.flat[-1] = limits.max
            return matrix
        decades = {2: 1, 4: 10, 8: 40}[dtype.itemsize]
        shape = (rows, 1) if axis == 1 else (1, columns)
        scales = 10.0 ** self._rng.uniform(-decades, decades, shape)
        return (self._rng.standard_normal((rows, columns)) * scales).astype(dtype)

    def __call__(self, pool, a, b, **options):
        """Multiply to the end, check everything; return the product and its resolutions."""
        keep = options.pop("keep_integers", bool(self._rng.integers(2)))
        product = pool.matmul(a, b, **options, keep_integers=keep)
        resolutions = list(product)
        pool.settle()
        self.resolutions(product, resolutions, a, b, kept=keep, **options)
        self.log(product)
        return product, resolutions

    def resolutions(
        self,
        product,
        resolutions,
        a,
        b,
        *,
        digits=2,
        digit_bits=8,
        scale="row",
        kept=False,
        **options,
    ):
        """Check all resolutions of a finished product: integers, values, bounds, order."""
        a, b, digits, digit_bits = np.asarray(a), np.asarray(b), int(digits), int(digit_bits)
        layers = product.plan.layers
        assert [r.layer for r in resolutions] == list(range(len(layers)))
        assert [r.last for r in resolutions] == [False] * (len(layers) - 1) + [True]
        assert [r.share for r in resolutions] == [layer.share for layer in layers]
        seconds = [r.seconds for r in resolutions]
        assert seconds == sorted(seconds)
        assert seconds[0] > 0

        left = quantise(a, digits, digit_bits, axis=1, scale=scale)
        right = quantise(b, digits, digit_bits, axis=0, scale=scale)
        exact = Exact(left, right, layers, mode="full", limit=2**60)
        assert not exact.sampled
        deviation = _deviation_from(a, b)
        refiner, value = Refiner.of(left, right), None
        for r in resolutions:
            integers = _integers(left, right, layers[r.layer].minijobs)
            if kept:
                assert exact.matches(r.layer, product.integers(r.layer))
                assert _same(product.integers(r.layer), integers)
            units = [unit for unit in product.plan.units if unit.layer == r.layer]
            value = _refined(refiner, value, left, right, units)
            assert np.array_equal(r.value, value, equal_nan=True)
            assert r.value.shape == (a.shape[0], b.shape[1])
            assert r.value.dtype == np.float64
            assert deviation(r.value) <= Fraction(r.error_bound)
        if sum(len(layer.minijobs) for layer in layers) == digits**2 and exact_in_float64(
            left, right
        ):
            whole = left.integers() @ right.integers()
            units = left.exponents[:, None] + right.exponents
            assert np.array_equal(resolutions[-1].value, np.ldexp(whole.astype(float), units))

    def log(self, product, *, complete=True):
        """Check the log of a settled product: one fate for each task, nothing impossible."""
        code, units = product.plan.code, product.plan.units
        log = product.log
        usable = sorted({entry.worker for entry in log.values()})
        planned = {(u.index, t, 0) for u in units for t in range(code.coded)}
        assert planned <= set(log)
        assert planned == set(log) or code.reissues or code.rateless
        for (unit, task, attempt), entry in log.items():
            assert (entry.unit, entry.task, entry.attempt) == (unit, task, attempt)
            assert entry.layer == units[unit].layer
            if (unit, task, attempt) in planned:
                assert entry.worker == usable[product.plan.owners[task]]
            if attempt:
                assert entry.worker != log[unit, task, attempt - 1].worker
            assert entry.status in {"used", "late", "purged"}
            assert 0 <= entry.sent <= entry.received
            assert np.isnan(entry.compute) == (entry.status == "purged")
            assert not entry.compute < 0
        for layer, seconds in enumerate(product.delivered):
            phases = product.phases(layer)
            assert sum(phases.values()) == pytest.approx(seconds)
            assert min(phases.values()) >= 0
        for layer in range(len(product.plan.layers)):
            mine = [e.status for e in log.values() if e.layer == layer]
            assert product.fates(layer) == {
                fate: mine.count(fate) for fate in ("used", "late", "purged", "lost")
            }
        for unit in units:
            mine = [e for e in log.values() if e.unit == unit.index and e.status == "used"]
            used = {entry.task for entry in mine}
            assert len(used) == len(mine)
            assert not complete or code.recoverable(used)
            assert len(used) <= code.tasks or code.rateless or code.name == "blockdiagonal"


def _integers(left, right, minijobs):
    """Multiply digit planes in int64 without BLAS, in another order than the package does."""
    sums = {}
    for i, j in reversed(minijobs):
        product = left.planes[i].astype(np.int64) @ right.planes[j].astype(np.int64)
        sums[i + j] = sums.get(i + j, 0) + product
    return sums


def _refined(refiner, value, left, right, units):
    """Return the next resolution, all rows at once."""
    for unit in units:
        sums = _integers(left, right, unit.minijobs)
        integers = np.stack([sums[s] for s in unit.significances])
        out = np.empty(integers.shape[1:])
        refiner.add(slice(0, len(out)), integers, unit.significances, value, out)
        value = out
    return value


def _same(found, expected):
    return found.keys() == expected.keys() and all(
        found[s].dtype == np.int64 and np.array_equal(found[s], expected[s]) for s in expected
    )


def _deviation_from(a, b):
    """Return a function of a value: its largest deviation from ``a @ b``, never too large."""
    if a.shape[0] * a.shape[1] * b.shape[1] <= _SMALL:
        (left, low_a), (right, low_b) = _scaled(a), _scaled(b)
        true, low = left @ right, low_a + low_b

        def exactly(value):
            approximate, low_value = _scaled(value)
            common = min(low, low_value)
            difference = (approximate << (low_value - common)) - (true << (low - common))
            return abs(difference).max() * Fraction(2) ** common

        return exactly
    reference = a.astype(np.longdouble) @ b.astype(np.longdouble)
    rounding = 2.0**-62 * a.shape[1] * (abs(a).astype(float) @ abs(b).astype(float))

    def nearly(value):
        return Fraction(float(np.maximum(abs(value - reference) - rounding, 0).max()))

    return nearly


def _scaled(matrix):
    """Return Python's integers q and an exponent e such that ``matrix == q * 2**e`` exactly."""
    if matrix.dtype.kind in "iu":
        return matrix.astype(object), 0
    mantissas, exponents = np.frexp(matrix.astype(np.float64))
    lowest = int(exponents.min())
    whole = np.ldexp(mantissas, 53).astype(np.int64).astype(object)
    return whole << (exponents - lowest).astype(object), lowest - 53
