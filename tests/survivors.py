"""What the ranks do in test_survival.py: ``mpiexec -n 5 python tests/survivors.py STORY FOLDER``.

Rank 0 tells a story: it kills workers and checks what it promised to deliver. A worker dies at a
moment that nothing outside can hit when the master has ordered so by a file in the folder.
"""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

import hpcrefine
from hpcrefine.errors import LostError
from hpcrefine.experiment.verify import Exact
from hpcrefine.faults import Faults, Service
from hpcrefine.inference.evaluator import Evaluator, LocalMultiplier
from hpcrefine.inference.network import Network, Node
from hpcrefine.inference.precision import Precision
from hpcrefine.inference.quantise import quantise as layered
from hpcrefine.inference.rules import fixed_margin, margins
from hpcrefine.kernels import KERNELS
from hpcrefine.resolution.digits import quantise
from hpcrefine.resolution.layers import layering

STORIES = {}
CODES = [
    {"code": "mds", "tasks": 8, "redundancy": 1.5},
    {"code": "mds", "tasks": 8, "redundancy": 1.5, "unit": "minijob"},
    {"code": "replication", "tasks": 6, "redundancy": 2.0},
    {"code": "polynomial", "tasks": 6, "redundancy": 1.5},
    {"code": "lt", "tasks": 10, "redundancy": 1.3},
    {"code": "speculative", "tasks": 12},
    {"code": "uncoded", "tasks": 12, "unit": "minijob"},
    {"code": "uncoded"},
]
SLOW = Faults(service=Service("deterministic", 0.02))
OPERANDS = (300, 12000), (12000, 1200)  # some 14 MB for each digit of the right one
NEVER_SENT = 0  # a tag
RESULTS = (4000, 40), (40, 2500)  # 10 MB from each of four workers


def story(tell):
    """Make a function one of the stories."""
    STORIES[tell.__name__] = tell
    return tell


class Master:
    """Rank 0, its workers, and what it knows of them."""

    def __init__(self, pool, folder):
        self.pool, self.folder = pool, folder
        self.pids = {row["rank"]: row["pid"] for row in pool.configure()}
        self.rng = np.random.default_rng(20250711)

    def kill(self, *ranks, number=signal.SIGKILL):
        """Kill workers, or send them another signal, from outside."""
        for rank in ranks:
            os.kill(self.pids[rank], number)

    def order(self, rank, moment):
        """Have a worker die at a moment to come."""
        (self.folder / f"{rank} {moment}").touch()

    def operands(self, *shapes):
        """Draw two matrices."""
        return [self.rng.standard_normal(shape) for shape in shapes or ((61, 31), (31, 47))]

    def last(self):
        """Return the last of the workers that are left."""
        return self.pool.roster.usable[-1]

    def events(self):
        """Return what befell the workers."""
        return [(event.rank, event.kind) for event in self.pool.roster.events]

    def lost(self, rank):
        """Settle; say that a worker died, and that its tasks are known to be lost."""
        self.pool.settle()
        assert self.events()[-1] == (rank, "died"), self.events()

    def multiply(self, a, b, before=None, between=None, resident=None, **options):
        """Compare a product with our own, resolution by resolution; return it settled.

        ``before`` and ``between`` are done as it has begun, and after its first resolution.
        """
        digits, layers = options.pop("digits", 2), options.pop("layers", "antidiagonal")
        left, right = quantise(a, digits, 8, axis=1), quantise(b, digits, 8, axis=0)
        exact = Exact(left, right, layering(layers, digits), "full", 2**60)
        if resident is None:
            product = self.pool.matmul(a, b, digits=digits, layers=layers, **options)
        else:
            product = resident.matmul(b, layers=layers, **options)
        if before is not None:
            before()
        found = []
        for resolution in product:
            found.append((resolution.value, resolution.value.copy()))
            if len(found) == 1 and between is not None:
                between()
        self.pool.settle()
        for (value, first), expected in zip(found, exact.values(), strict=True):
            assert np.array_equal(first, expected)  # as it was handed out
            assert np.array_equal(value, expected)  # whatever was repaired later
        return product


def check_repairs(product, victim):
    """Say that what went with a worker was handed out again, if the code needs it, and only then.

    A code that hands out anyhow to who is idle is not asked.
    """
    code, log = product.plan.code, product.log
    theirs = [entry for entry in log.values() if entry.worker == victim]
    assert any(entry.status == "lost" for entry in theirs)
    for unit in product.plan.units:
        mine = [entry for entry in log.values() if entry.unit == unit.index]
        assert code.recoverable({e.task for e in mine if e.status == "used"})
        lost = {e.task for e in mine if e.status == "lost"}
        others = {e.task for e in mine if e.attempt == 0} - lost
        if not (code.reissues or code.rateless):
            again = any(entry.attempt for entry in mine)
            assert again != code.recoverable(others), (code.name, unit.index, lost)


@story
def in_a_task(master):
    """With every code a worker dies in the middle of its first task."""
    for options in CODES:
        victim = master.last()
        master.pool.inject({victim: Faults(kill_after=1)})
        for _ in range(20):  # all it was given may be purged before it gets to a core
            product = master.multiply(*master.operands(), digits=2, **options)
            if (victim, "died") in master.events():
                break
        master.lost(victim)
        check_repairs(product, victim)
    return [(rank, "died") for rank in range(len(CODES) + 1, 1, -1)]


@story
def between_resolutions(master):
    """With every code a worker dies when the first resolution is there, the last is not."""
    for options, layers in zip(CODES, ["antidiagonal", "square", "product"] * 3, strict=False):
        victim = master.last()
        master.pool.inject(dict.fromkeys(master.pool.roster.usable, SLOW))
        product = master.multiply(
            *master.operands(), layers=layers, between=partial(master.kill, victim), **options
        )
        master.lost(victim)
        theirs = [e.status for e in product.log.values() if e.worker == victim and e.layer == 0]
        assert "used" in theirs or options["code"] != "uncoded"
        check_repairs(product, victim)
    return [(rank, "died") for rank in range(len(CODES) + 1, 1, -1)]


@story
def large_operands(master):
    """Workers die while their operands are on their way, at once and a little later."""
    a, b = master.operands(*OPERANDS)
    master.pool.inject(dict.fromkeys(master.pool.roster.usable, SLOW))
    for victim, seconds in ((5, 0.0), (4, 0.003), (3, 0.03)):

        def end(victim=victim, seconds=seconds):
            for _ in range(int(seconds / 1e-3)):  # large messages move while we call MPI
                master.pool.roster.poll()
                time.sleep(1e-3)
            master.kill(victim)

        product = master.multiply(a, b, before=end, tasks=12)
        master.lost(victim)
        check_repairs(product, victim)
    master.order(2, "receiving")
    check_repairs(master.multiply(a, b, code="mds", tasks=6, redundancy=1.5), 2)
    return [(5, "died"), (4, "died"), (3, "died"), (2, "died")]


@story
def large_results(master):
    """Workers die when they have begun to send a large result."""
    a, b = master.operands(*RESULTS)
    for victim, moment in ((5, "sending"), (4, "sending, soon")):
        master.order(victim, moment)
        product = master.multiply(a, b)
        master.lost(victim)
        check_repairs(product, victim)
    master.order(3, "sending, soon")
    master.multiply(a, b, code="mds", tasks=6, redundancy=1.5)
    return [(5, "died"), (4, "died"), (3, "died")]


@story
def quantising(master):
    """Workers die as they have found the largest entries, and as they have written digits."""
    a, b = master.operands((1200, 1100), (1100, 900))
    for victim, moment in ((4, "peaks"), (3, "sweep"), (2, "peaks")):
        master.order(victim, moment)
        product = master.multiply(a, b)
        assert all(entry.worker != victim for entry in product.log.values())
        assert master.events()[-1] == (victim, "died")
    return [(4, "died"), (3, "died"), (2, "died")]


@story
def idle(master):
    """Workers die between products: known at once, known late, and before the first of all."""
    master.kill(6)
    master.multiply(*master.operands())
    for victim, seconds, code in ((5, 0.0, "uncoded"), (4, 0.3, "uncoded"), (3, 0.0, "mds")):
        master.kill(victim)
        time.sleep(seconds)
        master.multiply(*master.operands(), code=code, redundancy=1.0 + (code == "mds"))
    master.kill(2)  # nothing comes after it: found when the others leave
    return [(rank, "died") for rank in (6, 5, 4, 3, 2)]


@story
def resident(master):
    """Workers die that hold an operand, or are just getting it."""
    a, b = master.operands()
    for victim, options in (
        (6, {}),
        (5, {"code": "mds", "tasks": 8, "redundancy": 1.5}),
        (4, {"code": "replication", "tasks": 5, "redundancy": 2.0}),
    ):
        with master.pool.resident(a, **options) as held:
            master.multiply(a, b, resident=held)
            master.kill(victim)
            for _ in range(3):
                master.multiply(a, master.operands()[1], resident=held)
            assert master.events()[-1] == (victim, "died")
    large = master.rng.standard_normal((1200, 12000))
    master.order(3, "receiving")
    with master.pool.resident(large) as held:
        for _ in range(2):
            master.multiply(large, master.rng.standard_normal((12000, 5)), resident=held)
    return [(6, "died"), (5, "died"), (4, "died"), (3, "died")]


@story
def nobody_left(master):
    """All workers die, one after the other and at once; it is said which, and the pool ends."""
    pool, (a, b) = master.pool, master.operands()
    pool.inject(dict.fromkeys(pool.roster.usable, SLOW))
    product = pool.matmul(a, b, layers="product", tasks=12)
    next(product)
    master.kill(2)
    master.kill(1, 3)
    try:
        while True:
            next(product)
    except LostError as error:
        told = str(error)
    assert sorted(told.removeprefix("no worker is left: ").split(", ")) == [
        f"rank {rank} died" for rank in (1, 2, 3)
    ]
    for again in (lambda: pool.matmul(a, b), lambda: pool.oneshot(a, b), lambda: pool.resident(a)):
        try:
            again()
        except LostError as error:
            assert str(error) == told
        else:
            raise AssertionError("nobody computed it")
    return [event for event in master.events() if event[1] == "died"]


@story
def frozen(master):
    """Workers that stop are given up and killed: in a product, and asked for one."""
    master.pool.guard(timeout=3.0)
    slow = dict.fromkeys(master.pool.roster.usable, SLOW)
    master.pool.inject(slow)
    master.multiply(
        *master.operands(), tasks=12, between=lambda: master.kill(4, number=signal.SIGSTOP)
    )
    assert master.events() == [(4, "silent")]
    master.kill(3, number=signal.SIGSTOP)
    master.multiply(*master.operands(), code="mds", tasks=6, redundancy=1.5)
    assert master.events() == [(4, "silent"), (3, "silent")]
    master.multiply(*master.operands())
    return [(4, "silent"), (3, "silent")]


@story
def frozen_at_the_end(master):
    """A worker that stopped when nothing was asked of it is found when all leave."""
    master.pool.guard(timeout=3.0)
    master.multiply(*master.operands())
    master.kill(2, number=signal.SIGSTOP)
    return [(2, "silent")]


@story
def streaming(master):
    """Workers die and freeze in the middle of streams; every job is whole, whatever the split."""
    pool, splits = master.pool, ("uniform", "optimal", "dynamic")
    pool.guard(timeout=2.0)
    pool.inject({rank: Faults(service=Service("exponential", 0.002)) for rank in range(1, 7)})
    a, _ = master.operands()
    cases = [(held, split) for held in (True, False) for split in splits]
    doomed = {1: (1, signal.SIGKILL), 3: (2, signal.SIGSTOP), 4: (3, signal.SIGKILL)}
    for number, (held, split) in enumerate(cases):
        options = {"code": "mds", "tasks": 8, "redundancy": 1.5, "split": split}
        bs = [master.operands()[1] for _ in range(8)]
        left = pool.resident(a, **options) if held else None
        operands = bs if held else [(a, b) for b in bs]
        for job in pool.stream(operands, [0] * 8, a=left, **({} if held else options)):
            if job.position == 3 and number in doomed:
                rank, deed = doomed[number]
                master.kill(rank, number=deed)
            for r in job:
                assert np.abs(r.value - a @ bs[job.position]).max() <= r.error_bound
            assert job.status == "done"
    return [(1, "died"), (2, "silent"), (3, "died")]


@story
def inferring(master):
    """Workers die or freeze in an inference, in a block, with what they keep, and in products."""
    pool, (network, samples) = master.pool, a_network(master.rng)
    evaluator = Evaluator(network, LocalMultiplier(network, KERNELS["float64"](None)))
    state = evaluator.begin(samples)
    expected = [evaluator.upgrade(state) for _ in range(network.upgrades)]
    rule = fixed_margin(float(np.median(margins(expected[0]))), network.upgrades)

    def infer(victim, before=None, between=None, **options):
        inference = pool.infer(network, samples, rule=rule, **options)
        if before is not None:
            before()
        scores, entered = expected[0].copy(), np.full(len(samples), True)
        for found in inference:
            scores[entered] = expected[found.upgrade][entered]
            assert np.array_equal(found.scores, scores)
            entered &= ~rule.decided(scores, found.upgrade)
            if between is not None and found.upgrade == 0:
                between()
        assert found.last
        pool.settle()
        assert master.events()[-1][0] == victim
        return inference.log.values()

    def lost(log, victim):
        lost = {(e.unit, e.task): e.attempt for e in log if e.status == "lost"}
        assert {e.worker for e in log if e.status == "lost"} == {victim}
        assert all(any((e.unit, e.task) == at for e in log if e.status == "used") for at in lost)
        return lost

    pool.inject(dict.fromkeys(pool.roster.usable, SLOW) | {8: Faults(kill_after=2)})
    assert lost(infer(8, block=5), 8)
    log = infer(7, block=5, between=partial(master.kill, 7))
    used = {entry.unit for entry in log if entry.worker == 7 and entry.status == "used"}
    assert 0 in used
    pool.guard(timeout=1.0)
    assert lost(infer(6, block=5, before=partial(master.kill, 6, number=signal.SIGSTOP)), 6)
    pool.guard()
    brisk = Faults(service=Service("deterministic", 0.002))
    pool.inject(dict.fromkeys(pool.roster.usable, brisk))
    coded = {"code": "mds", "tasks": 3, "redundancy": 2.0}
    for victim, options in ((5, {}), (4, coded), (3, {"split": "dynamic"})):
        infer(victim, between=partial(master.kill, victim), distribute="products", **options)
        infer(victim, distribute="products", **options)  # what it held is handed out again
    pool.inject(dict.fromkeys(pool.roster.usable, SLOW))
    try:
        infer(0, block=5, between=partial(master.kill, 1, 2))
    except LostError as error:
        assert str(error).startswith("no worker is left: rank 8 died, rank 7 died, rank 6 silent")
    else:
        raise AssertionError("nobody computed it")
    return sorted({rank: "silent" if rank == 6 else "died" for rank in range(1, 9)}.items())


def a_network(rng):
    """Return a layered network of two dense layers, and samples."""
    first, second = (rng.normal(size=shape).astype(np.float32) for shape in ((30, 40), (5, 30)))
    nodes = (
        Node("a", "dense", ("input",), {}, {"weight": first, "bias": first[:, 0]}),
        Node("b", "relu", ("a",)),
        Node("c", "dense", ("b",), {}, {"weight": second, "bias": second[:, 0]}),
    )
    samples = rng.integers(0, 256, (200, 40), dtype=np.uint8)
    network = Network((40,), nodes, input_scale=1 / 255)
    return layered(network, Precision(upgrades=3, digit_bits=4), samples[:50]), samples


@story
def two_at_once(master):
    """Two workers die at once."""
    pool = master.pool
    for pair, options in (
        ((6, 5), {"code": "mds", "tasks": 6, "redundancy": 2.0, "survive": 2}),
        ((4, 3), {"tasks": 12}),
    ):
        pool.inject(dict.fromkeys(pool.roster.usable, SLOW))
        product = master.multiply(
            *master.operands(), between=lambda pair=pair: master.kill(*pair), **options
        )
        assert sorted(rank for rank, _ in master.events()[-2:]) == sorted(pair)
        for victim in pair:
            assert any(e.status == "lost" for e in product.log.values() if e.worker == victim)
        if "survive" in options:
            assert all(e.attempt == 0 for e in product.log.values())
    return sorted(master.events())


@story
def liar(master):
    """A worker that always lies is used no more, and still leaves with the others."""
    master.pool.guard(lies=2)
    master.pool.inject({3: Faults(corrupt_rate=1.0)})
    for options in ({"tasks": 12}, {"code": "mds", "tasks": 6, "redundancy": 1.5}):
        master.multiply(*master.operands(), verify="freivalds", **options)
    assert master.pool.roster.usable == [1, 2]
    return [(3, "lied"), (3, "lied"), (3, "dropped")]


@story
def oneshot(master):
    """Workers die in a one-shot product: in their task, and with large operands on their way."""
    pool = master.pool
    a, b = master.operands((900, 1000), (1000, 1100))
    pool.inject({5: Faults(kill_after=1)})
    for number in range(3):
        product = pool.oneshot(a, b, tasks=9)
        if number == 1:
            master.kill(4)
        (resolution,) = product
        assert (abs(resolution.value - a @ b) <= 1e-13 * (abs(a) @ abs(b))).all()
        pool.settle()
    return [(5, "died"), (4, "died")]


@story
def raises_after_a_death(master):
    """One worker dies, another one raises: that ends the run."""
    master.kill(2)
    master.multiply(*master.operands())
    print("outlived rank 2", flush=True)
    master.order(5, "in vain")  # others are in the middle of something
    master.order(1, "raise")
    master.multiply(*master.operands())


@story
def master_raises_after_a_death(master):
    """A worker dies, then the user's program raises: that ends the run."""
    master.kill(2)
    master.multiply(*master.operands())
    print("outlived rank 2", flush=True)
    raise ZeroDivisionError("the user's")


@story
def master_idle(master):
    """The master dies with nothing under way."""
    master.multiply(*master.operands())
    print("the master dies", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


@story
def master_busy(master):
    """The master dies in a product with large operands."""
    master.pool.inject(dict.fromkeys(master.pool.roster.usable, SLOW))
    next(master.pool.matmul(*master.operands(*OPERANDS), tasks=12, layers="product"))
    print("the master dies", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


@story
def master_mapped(master):
    """The master dies before a worker maps a segment, and MPI need not know yet."""
    master.order(1, "mapping")
    print("the master dies", flush=True)
    master.multiply(*master.operands(*OPERANDS))


@story
def master_read(master):
    """The master dies before a worker reads an operand in its memory."""
    master.order(1, "reading")
    print("the master dies", flush=True)
    master.multiply(*master.operands(*OPERANDS))


def obey(folder, rank):
    """Have this worker die, or do as ordered, at the moments that the master may order."""
    from hpcrefine.cluster import arena, planes, remote, serving, survey
    from hpcrefine.cluster.backoff import wait_all

    def after(owner, name, moment, deed):
        do = getattr(owner, name)

        def fatal(*arguments):
            result = do(*arguments)
            if (folder / f"{rank} {moment}").exists():
                deed()
            return result

        setattr(owner, name, fatal)

    def first_end_the_master(owner, name, moment):
        do = getattr(owner, name)

        def late(pid, *arguments):
            if (folder / f"{rank} {moment}").exists():
                os.kill(pid, signal.SIGKILL)
                while not remote.has_ended(pid):
                    time.sleep(0.001)
            return do(pid, *arguments)

        setattr(owner, name, late)

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def die_soon():
        signal.setitimer(signal.ITIMER_REAL, 0.002)  # SIGALRM ends it wherever it is then

    receive = serving.receive_table

    def receive_in_vain(comm, *arguments):
        if (folder / f"{rank} in vain").exists():
            wait_all([comm.Irecv(bytearray(1), 0, NEVER_SENT)])
        return receive(comm, *arguments)

    serving.receive_table = receive_in_vain
    first_end_the_master(arena, "_map", "mapping")
    first_end_the_master(remote, "read_memory", "reading")
    after(survey, "strip_peaks", "peaks", die)
    after(survey.Sweep, "run", "sweep", die)
    after(planes.Arrivals, "_post", "receiving", die)
    after(serving.Serving, "_send", "sending", die)
    after(serving.Serving, "_send", "sending, soon", die_soon)
    after(serving, "compute_task", "raise", lambda: 1 / 0)


def main(name, folder):
    """Tell a story on rank 0, obey on the others."""
    from mpi4py import MPI

    rank = MPI.COMM_WORLD.rank
    if rank:
        obey(Path(folder), rank)
    with hpcrefine.Pool() as pool:
        if pool is None:
            return
        expected = STORIES[name](master := Master(pool, Path(folder)))
    events = master.events()
    assert sorted(events) == sorted(expected), events
    open_requests = [rank for rank in pool.roster.kept if not pool.roster.gone(rank)]
    assert open_requests == []
    print(f"{name}: all is well", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
