"""Streams: jobs in order, operands ahead of their turn, deadlines, nobody disturbed."""

import time

import numpy as np
import pytest

from hpcrefine import InputError, Pool
from hpcrefine.faults import Faults, Service
from hpcrefine.resolution.layers import layering
from hpcrefine.schedule.split import SPLITS, Split

SHAPE = (37, 29, 23)
JOBS = 6


@pytest.fixture
def timed(comm, memory):
    """Clocks are the same whatever the memory, and however many workers sleep."""
    if memory != "shared" or comm.size != 3:
        pytest.skip("tried on shared memory, on 3 ranks")


def everywhere(pool, **faults):
    """Let all workers fail in the same way."""
    pool.inject({rank: Faults(**faults) for rank in range(1, pool.size)})


@pytest.mark.parametrize(
    ("split", "code", "redundancy", "unit"),
    [
        ("uniform", "mds", 1.5, "layer"),
        ("optimal", "uncoded", 1, "minijob"),
        ("optimal", "mds", 1.5, "layer"),
        ("dynamic", "uncoded", 1, "layer"),
        ("dynamic", "mds", 1.5, "minijob"),
        ("dynamic", "speculative", 1, "layer"),
    ],
)
def test_every_resolution_of_every_job(comm, check, split, code, redundancy, unit):
    with Pool(comm) as pool:
        if pool:
            pairs = [check.operands(SHAPE) for _ in range(JOBS)]
            a = pairs[0][0]
            options = {"code": code, "tasks": 5, "redundancy": redundancy, "split": split}
            with pool.resident(a, **options) as held:
                for left in (None, held):
                    mine = [(a, b) for _, b in pairs] if left else pairs
                    asked = {"unit": unit, "keep_integers": True} | ({} if left else options)
                    operands = (pair[1] if left else pair for pair in mine)
                    stream, settled = pool.stream(operands, [0] * JOBS, a=left, **asked), []
                    stream.settled = settled.append
                    seen = [(job, list(job)) for job in stream]
                    assert [job.position for job, _ in seen] == list(range(JOBS))
                    assert {job.status for job, _ in seen} == {"done"}
                    pool.settle()
                    for job, resolutions in seen:
                        check.resolutions(job.product, resolutions, *mine[job.position], kept=True)
                        check_log(job.product)
                    assert sorted(job.position for job in settled) == list(range(JOBS))


def check_log(product):
    """Each task has one fate, whoever did it."""
    code, units = product.plan.code, product.plan.units
    for unit in units:
        mine = [e for e in product.log.values() if e.unit == unit.index]
        used = [entry.task for entry in mine if entry.status == "used"]
        assert code.recoverable(set(used))
        assert len(set(used)) == len(used)
        assert {entry.status for entry in mine} <= {"used", "late", "purged"}
    for layer, seconds in enumerate(product.delivered):
        phases = product.phases(layer)
        assert sum(phases.values()) == pytest.approx(seconds)


@pytest.mark.parametrize("split", SPLITS)
def test_a_product_alone_with_each_split(comm, check, split):
    with Pool(comm) as pool:
        if pool:
            everywhere(pool, service=Service("exponential", 0.002))
            for _ in range(3):
                a, b = check.operands(SHAPE)
                product = pool.matmul(a, b, tasks=9, split=Split(split, prefetch=3))
                resolutions = list(product)
                pool.settle()
                check.resolutions(product, resolutions, a, b)
                check_log(product)
            assert (pool.estimates.observed > 0).all()


def test_oneshot_jobs(comm, check):
    with Pool(comm) as pool:
        if pool:
            pairs = [
                (np.arange(12.0).reshape(4, 3) + at, np.arange(15.0).reshape(3, 5))
                for at in range(JOBS)
            ]
            stream = pool.stream(pairs, np.arange(JOBS) / 500, oneshot=True, tasks=4)
            for job in stream:
                (r,) = job
                assert np.array_equal(r.value, pairs[job.position][0] @ pairs[job.position][1])
                assert r.last


def test_jobs_wait_for_their_arrival_and_for_each_other(comm, timed):
    with Pool(comm) as pool:
        if pool:
            everywhere(pool, service=Service("deterministic", 0.06))
            a, b = np.ones((8, 8)), np.ones((8, 8))
            arrivals = [0.0, 0.001, 0.002, 1.5]
            stream = pool.stream([(a, b)] * 4, arrivals, tasks=pool.workers)
            jobs = []
            for job in stream:
                list(job)
                jobs.append(job)
            for before, job in zip([None, *jobs], jobs, strict=False):
                free = before.end if before else 0.0
                assert job.start == max(free, job.arrival)
                assert job.end == job.arrival + job.delays[-1]
                assert job.delays == sorted(job.delays)
            assert jobs[2].start > 0.3  # three layers of 60 ms in each of the two before
            assert jobs[3].start == 1.5
            for job in jobs[1:3]:  # they were prepared and sent while others were computed
                assert job.product.phases(0)["prepare"] == 0.0
                assert all(entry.sent < 0 for entry in job.product.log.values())


def test_no_task_is_begun_before_its_job(comm, timed):
    with Pool(comm) as pool:
        if pool:
            everywhere(pool, service=Service("deterministic", 0.01))
            a, b = np.ones((8, 8)), np.ones((8, 8))
            stream = pool.stream([(a, b)] * 3, [0.0] * 3, tasks=2 * pool.workers)
            for job in stream:
                list(job)
                pool_log = job.product.log.values()
                assert all(entry.received >= 0.01 for entry in pool_log)


@pytest.mark.parametrize("split", SPLITS)
def test_strict_deadlines_end_every_job(comm, timed, split):
    layers = len(layering("antidiagonal", 2))
    with Pool(comm) as pool:
        if pool:
            everywhere(pool, service=Service("deterministic", 0.2))
            a = np.random.default_rng(0).standard_normal((8, 8))
            stream = pool.stream(
                [(a, a)] * 4,
                [0.0, 0.0, 1.0, 2.0],
                deadline=0.35,
                policy="strict",
                tasks=pool.workers,
                split=split,
            )
            seen = [(job, list(job)) for job in stream]
            pool.settle()
            assert {job.status for job, _ in seen} == {"stopped"}
            for job, resolutions in seen:
                assert len(resolutions) < layers
                assert job.end - job.arrival == pytest.approx(0.35, abs=0.15)
                for r in resolutions:
                    assert np.abs(r.value - a @ a).max() <= r.error_bound
                    assert job.start + r.seconds <= job.arrival + 0.35
            assert not seen[1][1]  # it came while the first one was served
            assert len(seen[2][1]) == 1
            # What was left of a job disturbs nobody: another product is whole and exact.
            r = list(pool.matmul(a, a, digits=2))[-1]
            assert np.abs(r.value - a @ a).max() <= r.error_bound


def test_with_queue_only_who_keeps_another_waiting_ends(comm, timed):
    with Pool(comm) as pool:
        if pool:
            everywhere(pool, service=Service("deterministic", 0.4))
            a = np.ones((8, 8))
            arrivals = [0.0, 0.7, 4.0, 4.01]
            stream = pool.stream([(a, a)] * 4, arrivals, deadline=0.65, tasks=pool.workers)
            seen = [(job, list(job)) for job in stream]
            assert [job.status for job, _ in seen] == ["stopped", "done", "stopped", "done"]
            assert [len(resolutions) for _, resolutions in seen] == [1, 3, 1, 3]
            assert seen[0][0].end == pytest.approx(0.7, abs=0.15)  # when the next one came
            assert seen[2][0].end == pytest.approx(4.65, abs=0.15)  # at the deadline
            assert seen[3][0].start == seen[2][0].end


def test_a_job_may_be_left(comm, check):
    with Pool(comm) as pool:
        if pool:
            pairs = [check.operands(SHAPE) for _ in range(JOBS)]
            stream = pool.stream(pairs, [0] * JOBS, tasks=6)
            for job in stream:
                for r in job:
                    if job.position % 2 and r.layer == 0:
                        break
                assert job.status == ("stopped" if job.position % 2 else "done")
            for job in pool.stream(pairs, [0] * JOBS, tasks=6):
                next(job)
            stream = pool.stream(pairs, [0] * JOBS, tasks=6)
            next(stream)  # the rest is forgotten
            check(pool, *pairs[0])


def test_the_split_follows_the_workers(comm, timed):
    with Pool(comm) as pool:
        if pool:
            service = Service("deterministic", 0.004)
            faults = {rank: Faults(service=service) for rank in range(1, pool.size)}
            faults[1] = Faults(service=service, slows=((6, 4.0),))
            pool.inject(faults)
            a, b = np.ones((64, 8)), np.ones((8, 4))
            with pool.resident(a, tasks=20, split="optimal") as held:
                counts = []
                for job in pool.stream([b] * 16, [0] * 16, a=held, unit="minijob"):
                    list(job)
                    counts.append(job.product.plan.counts(pool.workers))
            assert all(sum(each) == 20 for each in counts)
            assert counts[0][0] >= 20 // pool.workers
            assert counts[-1][0] < counts[-1][1] / 2.5  # four times slower
            means = pool.estimates.means
            assert means[0] / means[1:].mean() == pytest.approx(4, rel=0.25)


def test_dynamic_gives_more_to_who_is_faster(comm, timed):
    with Pool(comm) as pool:
        if pool:
            service = Service("deterministic", 0.004)
            faults = {rank: Faults(service=service) for rank in range(1, pool.size)}
            faults[1] = Faults(service=service, slowdown=4.0)
            pool.inject(faults)
            a, b = np.ones((64, 8)), np.ones((8, 4))
            product = pool.matmul(a, b, tasks=32, split=Split("dynamic", prefetch=1))
            list(product)
            pool.settle()
            done = [entry.worker for entry in product.log.values()]
            assert len(done) == 3 * 32
            assert done.count(1) < done.count(2) / 2


def test_bad_streams(comm):
    with Pool(comm) as pool:
        if pool:
            a = np.ones((4, 3))
            with pytest.raises(InputError, match="deadline: found 0"):
                pool.stream([], [], deadline=0)
            with pytest.raises(InputError, match="policy: found 'lax', expected one of queue"):
                pool.stream([], [], policy="lax")
            with pytest.raises(InputError, match="out of order"):
                pool.stream([(a, a.T)] * 2, [1.0, 0.5])
            with pytest.raises(InputError, match="split: found 'fair'"):
                pool.stream([(a, a.T)], [0.0], split="fair")
            with pytest.raises(TypeError, match="digit"):
                pool.stream([(a, a.T)], [0.0], digit=3)
            with pytest.raises(InputError, match="survive: found 1 with split optimal"):
                pool.matmul(a, a.T, code="mds", tasks=3, redundancy=2, survive=1, split="optimal")
            jobs = iter(pool.stream([(a, a.T), (a, a)], [0.0, 0.0]))
            assert len(list(next(jobs))) == 3  # the mistake is the next one's
            with pytest.raises(InputError, match="as many columns of a"):
                next(jobs)
            with pytest.raises(InputError, match="fewer than arrivals"):
                list(map(list, pool.stream([(a, a.T)], [0.0, 0.0])))
            with pytest.raises(InputError, match="as many columns of a as rows of b"):
                list(pool.stream([(a, a)], [0.0]))
            with pytest.raises(InputError, match="finite"):
                list(pool.stream([(a, a.T * np.nan)], [0.0]))
            assert list(pool.stream([], [])) == []


def test_operands_are_drawn_one_ahead(comm):
    with Pool(comm) as pool:
        if pool:
            drawn = []

            def operands():
                for at in range(4):
                    drawn.append(at)
                    yield np.ones((4, 3)), np.ones((3, 4))

            for job in pool.stream(operands(), [0.0, 0.1, 0.2, 0.3]):
                time.sleep(0.02)
                assert len(drawn) <= job.position + 3
                list(job)
            assert drawn == [0, 1, 2, 3]
