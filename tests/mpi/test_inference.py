"""Inferences on the workers: the same scores, bit for bit, as evaluated here."""

import gc

import numpy as np
import pytest

from hpcrefine import Pool
from hpcrefine.errors import InputError
from hpcrefine.faults import Faults, Service
from hpcrefine.inference.evaluator import Evaluator, LocalMultiplier
from hpcrefine.inference.network import Network, Node
from hpcrefine.inference.precision import Precision
from hpcrefine.inference.quantise import quantise
from hpcrefine.inference.rules import fixed_margin, gray_interval, undecided
from hpcrefine.kernels import KERNELS

pytestmark = pytest.mark.mpi(min_size=2)

UPGRADES, SAMPLES, CLASSES = 3, 90, 5
BOTH = pytest.mark.parametrize("distribute", ["samples", "products"])
SLOW = Faults(service=Service("deterministic", 0.04))


@pytest.fixture(autouse=True)
def memory(comm):
    """Samples come by message; products are tried with and without shared memory below."""
    if comm.size > 3:
        pytest.skip("tried on 2 and 3 ranks")


@pytest.fixture
def network(rng):
    return a_network(rng)


def a_network(rng):
    """Make a network of a convolution and two dense layers; the first takes unsigned values."""

    def weights(*shape):
        bias = rng.normal(size=shape[0]).astype(np.float32)
        return {"weight": rng.normal(size=shape).astype(np.float32), "bias": bias}

    nodes = (
        Node("conv", "conv", ("input",), {"padding": (1, 1, 1, 1)}, weights(4, 2, 3, 3)),
        Node("relu", "relu", ("conv",)),
        Node("pool", "maxpool", ("relu",), {"kernel": (2, 2), "stride": (2, 2)}),
        Node("flat", "flatten", ("pool",)),
        Node("dense", "dense", ("flat",), {}, weights(7, 36)),
        Node("leaky", "leakyrelu", ("dense",), {"slope": 0.25}),
        Node("out", "dense", ("leaky",), {}, weights(CLASSES, 7)),
    )
    precision = Precision(upgrades=UPGRADES, digit_bits=4)
    network = Network((2, 6, 6), nodes, input_scale=1 / 255)
    return quantise(network, precision, draw(rng, 20))


@pytest.fixture
def samples(rng):
    return draw(rng, SAMPLES)


def draw(rng, count):
    return rng.integers(0, 256, (count, 2, 6, 6), dtype=np.uint8)


def alone(network, samples):
    """Return the scores of all samples after each upgrade, evaluated here."""
    evaluator = Evaluator(network, LocalMultiplier(network, KERNELS["float64"](None)))
    state = evaluator.begin(samples)
    return [evaluator.upgrade(state) for _ in range(network.upgrades)]


def a_rule(expected):
    """Return a rule that leaves about half of the samples undecided."""
    top = np.sort(expected[0], axis=1)
    return fixed_margin(float(np.median(top[:, -1] - top[:, -2])), UPGRADES)


def check_upgrades(found, network, samples, rule):
    """Compare upgrades with what they should be; return the last scores."""
    expected = alone(network, samples)
    scores = np.zeros((len(samples), CLASSES), np.float32)
    decided = np.zeros(len(samples), bool)
    for number, each in enumerate(found):
        entered = ~decided
        scores[entered] = expected[number][entered]
        decided = decided | (entered & rule.decided(scores, number))
        assert each.upgrade == number
        assert each.entered == entered.sum()
        assert each.operations == each.entered * network.operations(number)
        assert each.scores.dtype == np.float32
        assert np.array_equal(each.scores, scores)
        assert np.array_equal(each.decided, decided)
        assert each.last == decided.all()
    seconds = [each.seconds for each in found]
    assert seconds == sorted(seconds)
    return scores


def infer(pool, network, samples, rule, **options):
    """Infer to the end and check everything; return the inference."""
    inference = pool.infer(network, samples, rule=rule, **options)
    found = list(inference)
    pool.settle()
    assert found[-1].last
    check_upgrades(found, network, samples, rule)
    check_log(inference)
    return inference


def check_log(inference, statuses=("used",)):
    log = inference.log
    for (unit, task, attempt), entry in log.items():
        assert (entry.unit, entry.task, entry.attempt) == (unit, task, attempt)
        assert entry.status in statuses
        assert 0 <= entry.sent <= entry.received
        assert np.isnan(entry.compute) == (entry.status == "purged")
    for upgrade in range(UPGRADES):
        mine = [entry.status for entry in log.values() if entry.layer == upgrade]
        assert inference.fates(upgrade)["used"] == mine.count("used")


def test_samples(comm, network, samples):
    with Pool(comm) as pool:
        if pool:
            for rule in (a_rule(alone(network, samples)), undecided(UPGRADES)):
                for block in (1, 7, 1000, None):
                    inference = infer(pool, network, samples, rule, block=block)
                    assert {each.unit for each in inference.log.values()} == {0, 1, 2}
            for few in (samples[:1], np.asfortranarray(samples), samples.astype(np.float32)):
                infer(pool, network, few, rule)


@pytest.mark.parametrize("shared", ["1", "0"], ids=["shared", "messages"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tasks": 2, "verify": "freivalds"},
        {"code": "mds", "tasks": 3, "redundancy": 2.0},
        {"code": "replication", "tasks": 2, "redundancy": 2.0, "split": "dynamic"},
    ],
    ids=["uncoded", "verified", "mds", "replication"],
)
def test_products(comm, network, samples, options, shared, monkeypatch):
    monkeypatch.setenv("HPCREFINE_SHARED_MEMORY", shared)
    statuses = ("used", "late", "purged")
    with Pool(comm) as pool:
        if pool:
            rule = a_rule(alone(network, samples))
            for block in (None, 40):
                kind = {"distribute": "products", "block": block, **options}
                inference = pool.infer(network, samples, rule=rule, **kind)
                check_upgrades(list(inference), network, samples, rule)
                pool.settle()
                check_log(inference, statuses)


@BOTH
def test_left_early(comm, network, samples, distribute):
    with Pool(comm) as pool:
        if pool:
            rule = undecided(UPGRADES)
            for taken in range(UPGRADES):
                left = pool.infer(network, samples, rule=rule, block=4, distribute=distribute)
                found = [next(left) for _ in range(taken)]
                left.close()
                assert next(left, None) is None
                check_upgrades(found, network, samples, rule)
                infer(pool, network, samples, rule, block=9)
                check_log(left, ("used", "late", "purged"))
                a, b = np.arange(12).reshape(4, 3), np.arange(15).reshape(3, 5)
                *_, last = pool.matmul(a, b)
                assert np.array_equal(last.value, a @ b)
            for upgraded in pool.infer(network, samples, rule=rule, distribute=distribute):
                assert not upgraded.last
                break


@BOTH
def test_deadline(comm, network, samples, distribute):
    """What is there in time is valid; the rest is given up, and nothing of it disturbs others."""
    rule, options = undecided(UPGRADES), {"block": 10, "distribute": distribute}
    with Pool(comm) as pool:
        if pool:
            assert list(pool.infer(network, samples, rule=rule, deadline=1e-9, **options)) == []
            pool.inject(dict.fromkeys(range(1, comm.size), SLOW))
            inference = pool.infer(network, samples, rule=rule, deadline=60.0, **options)
            found = [next(inference)]
            inference.deadline = found[0].seconds + 0.02
            assert list(inference) == []
            check_upgrades(found, network, samples, rule)
            pool.inject({})
            check_log(inference, ("used", "late", "purged"))
            infer(pool, network, samples, rule, **options)


def test_a_slow_worker_gets_fewer_blocks(comm, network, samples):
    if comm.size < 3:
        pytest.skip("one worker alone gets them all")
    with Pool(comm) as pool:
        if pool:
            pool.inject({1: SLOW})
            inference = infer(pool, network, samples, undecided(UPGRADES), block=2)
            workers = [each.worker for each in inference.log.values()]
            assert 1 in workers
            assert workers.count(1) < len(workers) / comm.size


def test_a_lie_misleads_but_breaks_nothing(comm, network, samples):
    """What master and workers take for decided is told from the same scores."""
    with Pool(comm) as pool:
        if pool:
            rule = a_rule(alone(network, samples))
            pool.inject({1: Faults(corrupt_rate=1.0, corrupt_kind="bit-flip")})
            *_, last = pool.infer(network, samples, rule=rule, block=5)
            assert last.last
            pool.inject({})
            infer(pool, network, samples, rule)


def test_networks_are_sent_once_and_dropped(comm, network, samples, rng):
    with Pool(comm) as pool:
        if pool:
            rule, guests, passing = undecided(UPGRADES), pool._networks._guests, a_network(rng)
            for distribute in ("samples", "products"):
                infer(pool, passing, samples, rule, distribute=distribute)
                number = next(pool._numbers)
                infer(pool, passing, samples, rule, distribute=distribute)
                assert next(pool._numbers) == number + 1
            (guest,) = guests.values()
            assert len(list(guest.numbers())) == 1 + len(list(passing.planes()))
            del passing
            gc.collect()
            infer(pool, network, samples, rule)
            assert [each.network() for each in guests.values()] == [network]


def test_mistakes(comm, network, samples):
    mistakes = [
        ({"distribute": "layers"}, "distribute: found 'layers'"),
        ({"block": 0}, "block: found 0"),
        ({"code": "mds"}, "distribute: found options of products"),
        ({"distribute": "products", "code": "matdot"}, "scheme: found matdot"),
        ({"rule": undecided(UPGRADES + 1)}, "rule: found thresholds of 4 upgrades"),
        ({"rule": gray_interval(0.2, 0.8, UPGRADES)}, "rule interval: found a network of 5"),
        ({"samples": samples[:0]}, r"samples: found shape \(0, 2, 6, 6\)"),
        ({"samples": samples[:, :, 0]}, r"samples: found shape \(90, 2, 6\)"),
        ({"samples": samples.astype(complex)}, "samples: found type complex128"),
        ({"samples": np.full_like(samples, np.nan, np.float32)}, "samples: found NaN"),
    ]
    with Pool(comm) as pool:
        if pool:
            for wrong, message in mistakes:
                options = {"rule": undecided(UPGRADES), "samples": samples, **wrong}
                with pytest.raises(InputError, match=message):
                    pool.infer(network, **options)
            infer(pool, network, samples, undecided(UPGRADES))


def test_remains_are_joined(comm, network, samples):
    """Blocks of later upgrades are made of several, and never too large."""
    with Pool(comm) as pool:
        if pool:
            rule = a_rule(alone(network, samples))
            inference = infer(pool, network, samples, rule, block=10)
            entered = np.count_nonzero(~rule.decided(alone(network, samples)[0], 0))
            later = [entry for entry in inference.log.values() if entry.unit == 1]
            assert entered / 10 <= len(later) < 9  # of as many before


def test_workers_keep_no_more_than_they_may(comm, network, samples, monkeypatch):
    """With little room samples go through all upgrades before others begin."""
    with Pool(comm) as pool:
        if pool:
            rule = undecided(UPGRADES)
            for room, early in ((1 << 30, False), (1, True)):
                monkeypatch.setattr("hpcrefine.cluster.networks._KEPT", room)
                log = infer(pool, network, samples, rule, block=3).log.values()
                sent = [[e.sent for e in log if e.unit == unit] for unit in range(UPGRADES)]
                assert (min(sent[-1]) < max(sent[0])) == early
