"""Every code on real ranks, bit for bit: with all workers well, one slow, one lying."""

from itertools import product

import numpy as np
import pytest

from hpcrefine import InputError, Pool
from hpcrefine.errors import LostError
from hpcrefine.faults import Faults, Service

pytestmark = pytest.mark.mpi(min_size=2)

CODES = [
    {"code": "uncoded"},
    {"code": "speculative", "tasks": 12},
    {"code": "replication", "tasks": 6, "redundancy": 2},
    {"code": "replication", "tasks": 6, "redundancy": 1.5},
    {"code": "mds", "tasks": 7, "redundancy": 1.5},
    {"code": "blockdiagonal", "tasks": 18, "redundancy": 1.4},
    {"code": "polynomial", "tasks": 6, "redundancy": 1.5},
    {"code": "matdot", "tasks": 5, "redundancy": 1.6},
    {"code": "lt", "tasks": 9, "redundancy": 1.4},
]
every_code = pytest.mark.parametrize(
    "options", CODES, ids=lambda o: f"{o['code']}-{o.get('redundancy', 1)}"
)


@every_code
def test_exact(comm, check, options):
    with Pool(comm) as pool:
        if pool:
            for shape, digits in (((31, 23, 19), 2), ((67, 41, 130), 3)):
                for unit, verify in product(["layer", "minijob"], ["none", "freivalds"]):
                    how = {"digits": digits, "unit": unit, "verify": verify}
                    check(pool, *check.operands(shape), **how, **options)
            assert pool.roster.events == []


@every_code
def test_exact_with_a_slow_worker(comm, check, options):
    with Pool(comm) as pool:
        if pool:
            pool.inject({1: Faults(service=Service("deterministic", 0.003), slowdown=3.0)})
            for layers in ("antidiagonal", "square"):
                check(pool, *check.operands((40, 30, 20)), layers=layers, **options)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        *((options, "any") for options in CODES),
        *product(CODES[:1], ["bit-flip", "wrong-block", "stale-job"]),
    ],
)
def test_lies_are_found(comm, check, options, kind):
    """One worker lies always: it is dropped, its tasks go to others or are decoded around."""
    with Pool(comm) as pool:
        if pool:
            pool.guard(lies=2)
            pool.inject({1: Faults(corrupt_rate=1.0, corrupt_kind=kind)}, seed=3)
            a, b = check.operands((40, 30, 20))
            if pool.workers == 1:
                with pytest.raises(LostError, match="no worker is left: rank 1 dropped"):
                    list(pool.matmul(a, b, verify="freivalds", **options))
                with pytest.raises(LostError):
                    pool.matmul(a, b, verify="freivalds", **options)
                return
            while 1 in pool.roster.usable:
                found = pool.matmul(a, b, verify="freivalds", keep_integers=True, **options)
                resolutions = list(found)
                pool.settle()
                check.resolutions(found, resolutions, a, b, kept=True)
                theirs = {e.status for e in found.log.values() if e.worker == 1}
                assert "used" not in theirs
            told = [(event.rank, event.kind) for event in pool.roster.events]
            assert told[:2] == [(1, "lied")] * 2
            assert (1, "dropped") in told
            found, _ = check(pool, a, b, verify="freivalds", **options)
            assert all(entry.worker != 1 for entry in found.log.values())


@pytest.mark.mpi(min_size=3)
@every_code
def test_rare_lies_do_not_cost_the_worker(comm, check, options):
    with Pool(comm) as pool:
        if pool:
            pool.guard(lies=10**6)
            pool.inject({1: Faults(corrupt_rate=0.3), 2: Faults(corrupt_rate=0.3)}, seed=5)
            for _ in range(3):
                a, b = check.operands((40, 30, 20))
                found = pool.matmul(a, b, verify="freivalds", keep_integers=True, **options)
                resolutions = list(found)
                pool.settle()
                check.resolutions(found, resolutions, a, b, kept=True)
            rejected = [e for e in found.log.values() if e.status == "rejected"]
            assert len(rejected) <= len(pool.roster.events)
            assert pool.roster.usable == list(range(1, comm.size))


@pytest.mark.mpi(min_size=3)
def test_unchecked_lies_pass(comm, check):
    """The faults are real: without verification a wrong result goes through."""
    with Pool(comm) as pool:
        if pool:
            pool.inject({1: Faults(corrupt_rate=1.0, corrupt_kind="bit-flip")}, seed=1)
            a, b = check.operands((40, 30, 20))
            wrong = [r.value for r in pool.matmul(a, b)]
            pool.inject({})
            right = [r.value for r in pool.matmul(a, b)]
            assert not np.array_equal(wrong[0], right[0])


@pytest.mark.mpi(min_size=3)
def test_idle_workers_make_copies(comm, check):
    """With speculation a slow worker's tasks are done by others; uncoded waits for it."""
    with Pool(comm) as pool:
        if pool:
            pool.inject({1: Faults(service=Service("deterministic", 0.05))})
            a, b = check.operands((40, 30, 20))
            found, _ = check(pool, a, b, digits=1, code="speculative", tasks=8 * pool.workers)
            copies = [e for e in found.log.values() if e.attempt and e.status == "used"]
            assert len(copies) >= 5
            assert all(entry.worker != 1 for entry in copies)
            found, _ = check(pool, a, b, digits=1, code="uncoded", tasks=8 * pool.workers)
            assert all(entry.attempt == 0 for entry in found.log.values())


@pytest.mark.mpi(min_size=3)
def test_rateless_codes_make_as_many_tasks_as_it_takes(comm, check):
    with Pool(comm) as pool:
        if pool:
            pool.inject({1: Faults(service=Service("deterministic", 0.05))})
            a, b = check.operands((60, 30, 20))
            options = {"digits": 1, "code": "lt", "tasks": 8 * pool.workers}
            check(pool, a, b, keep_integers=False, **options)
            found, _ = check(pool, a, b, **options)
            beyond = [e for e in found.log.values() if e.task >= found.plan.code.coded]
            assert any(entry.status == "used" for entry in beyond)
            assert all(entry.worker != 1 for entry in beyond)


@pytest.mark.mpi(min_size=3)
def test_replicas_are_at_different_workers(comm, check):
    with Pool(comm) as pool:
        if pool:
            for tasks in range(1, 9):
                found, _ = check(
                    pool, *check.operands((40, 9, 8)), code="replication", tasks=tasks, redundancy=2
                )
                owners = found.plan.owners
                assert all(owners[t] != owners[t + tasks] for t in range(tasks))


@pytest.mark.mpi(min_size=3)
def test_survival_is_promised_by_any_code(comm, check):
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands((40, 30, 20))
            twice = {"code": "replication", "tasks": 4, "redundancy": 2}
            check(pool, a, b, survive=1, **twice)
            with pytest.raises(InputError, match=r"survive: found 2"):
                pool.matmul(a, b, survive=2, **twice)


@pytest.mark.parametrize("code", ["replication", "mds", "blockdiagonal", "lt", "speculative"])
@pytest.mark.parametrize("verify", ["none", "freivalds"])
def test_resident(comm, check, code, verify):
    with Pool(comm) as pool:
        if pool:
            a, _ = check.operands((31, 23, 19))
            redundancy = 1.0 if code == "speculative" else 1.5
            with pool.resident(a, tasks=6, code=code, redundancy=redundancy) as resident:
                for columns in (19, 4):
                    _, b = check.operands((31, 23, columns))
                    found = resident.matmul(b, keep_integers=True, verify=verify)
                    resolutions = list(found)
                    pool.settle()
                    check.resolutions(found, resolutions, a, b, kept=True)


@pytest.mark.parametrize(("code", "tasks"), [("polynomial", 6), ("matdot", 5)])
def test_resident_operands_need_a_whole_right_one(comm, check, code, tasks):
    with Pool(comm) as pool:
        if pool:
            a, _ = check.operands((31, 23, 19))
            with pytest.raises(InputError, match=f"found {code} for a resident operand"):
                pool.resident(a, tasks=tasks, code=code)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"code": "matdot", "tasks": 4}, "4"),
        ({"code": "speculative", "redundancy": 2}, "redundancy: found 2"),
        ({"code": "parity"}, "scheme: found 'parity', expected one of uncoded, "),
        ({"code": "polynomial", "tasks": 49}, "K = 49 tasks for 5 columns of b"),
        ({"code": "matdot", "tasks": 9}, "K = 9 tasks for 3 columns of a"),
        ({"verify": "crc"}, "verify: found 'crc', expected one of none, freivalds"),
    ],
)
def test_mistakes(comm, options, message):
    with Pool(comm) as pool:
        if pool:
            with pytest.raises(InputError, match=message):
                pool.matmul(np.ones((60, 3)), np.ones((3, 5)), **options)
