"""Upgrades: in the end bit for bit the network in one piece, and nothing is computed twice."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcrefine.errors import InputError
from hpcrefine.inference.evaluate import evaluate
from hpcrefine.inference.evaluator import Evaluator, LocalMultiplier
from hpcrefine.inference.layered import LayeredNetwork
from hpcrefine.inference.network import Network, decisions
from hpcrefine.inference.precision import Precision
from hpcrefine.inference.quantise import quantise
from hpcrefine.inference.state import State
from hpcrefine.kernels import Peaks, choose_kernel
from tests.inference import definitions
from tests.inference.networks import Builder, make_samples, networks

PRECISIONS = st.one_of(
    st.builds(
        Precision,
        digit_bits=st.integers(2, 7),
        upgrades=st.integers(1, 3),
        grid_bits=st.sampled_from([4, 8, 8, 11, 15]),
    ),
    st.builds(
        Precision,
        digits=st.just("truncate"),
        digit_bits=st.sampled_from([1, 1, 2, 4]),
        upgrades=st.integers(1, 4),
        grid=st.integers(-8, -2),
    ),
)
KERNELS = ("int8", "float32", "float64")
THOROUGH = settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow])


def evaluator(network, name="auto", block=None):
    kernel = choose_kernel(name, peaks=Peaks(*network.peaks)).kernel
    return Evaluator(network, LocalMultiplier(network, kernel), block)


@THOROUGH
@given(networks(), PRECISIONS, st.sampled_from(KERNELS), st.integers(1, 5), st.data())
def test_upgrades_end_bit_for_bit_where_one_piece_is(network, precision, kernel, block, data):
    samples = make_samples(network, 7)
    layered = quantise(network, precision, make_samples(network, 20, seed=1))
    each = evaluator(layered, kernel, block)
    state, left = each.begin(samples), np.arange(7)
    for upgrade in range(layered.upgrades):
        scores = each.upgrade(state)
        integers = each._input(samples[left], upgrade)
        expected = definitions.evaluate(layered, integers, upgrade)
        if layered.layers[-1].rescale is None or layered.layers[-1].rescale.grid is not None:
            expected = expected * np.float32(layered.grid(len(layered.layers)).scale)
        np.testing.assert_array_equal(scores, expected.astype(np.float32))
        if upgrade + 1 < layered.upgrades:  # some leave, the others meet again in other pieces
            stay = np.flatnonzero([True, *data.draw(st.lists(st.booleans(), max_size=6))])
            stay = stay[stay < len(left)]
            parts = stay[: len(stay) // 2], stay[len(stay) // 2 :]
            state = State.join([state.take(part) for part in parts])
            left = left[stay]
    np.testing.assert_array_equal(scores, each.oneshot(samples)[left])


@THOROUGH
@given(networks(), st.integers(2, 7), st.integers(1, 3))
def test_no_upgrade_computes_anything_twice(network, digit_bits, upgrades):
    layered = quantise(
        network,
        Precision(digit_bits=digit_bits, upgrades=upgrades, grid_bits=7),
        make_samples(network, 20, seed=1),
    )
    each = evaluator(layered, "float64")
    samples, counter = make_samples(network, 5), each._multiplier
    state = each.begin(samples)
    for upgrade in range(upgrades):
        before = counter.multiply_adds
        each.upgrade(state)
        assert counter.multiply_adds - before == 5 * layered.operations(upgrade)
    total = sum(network.operations().values())
    linear = [layer for layer in layered.layers if layer.linear]
    for layer in linear:  # an upgrade multiplies once by each plane known, and once by the new one
        once = layer.multiply_adds(layer.new[0])
        assert [layer.multiply_adds(new) for new in layer.new] == [once] * upgrades
        limbs = [-(-upgrade * digit_bits // 7) for upgrade in range(upgrades)]
        most = [(limbs[u] + 1) * once for u in range(upgrades)]
        assert all(layer.multiply_adds(old) <= m for old, m in zip(layer.old, most, strict=True))
    assert layered.operations(0) == total


@THOROUGH
@given(networks())
def test_many_digits_come_close_to_the_network_itself(network):
    samples = make_samples(network, 30, seed=1)  # of the calibration: nothing lies off the grids
    layered = quantise(network, Precision(upgrades=3, grid_bits=15), samples)
    found, expected = evaluator(layered).oneshot(samples), evaluate(network, samples)
    assert np.abs(found - expected).max() <= 0.02 * max(1.0, np.abs(expected).max())


@given(networks(), PRECISIONS)
@settings(deadline=None, max_examples=30)
def test_bytes_tell_all_of_a_network(network, precision):
    layered = quantise(network, precision, make_samples(network, 10))
    again = LayeredNetwork.from_bytes(layered.to_bytes())
    assert again.to_bytes() == layered.to_bytes()
    samples = make_samples(network, 4)
    np.testing.assert_array_equal(
        evaluator(again).oneshot(samples), evaluator(layered).oneshot(samples)
    )


def dense(seed=0, inner=40, width=30, scale=1 / 255):
    builder = Builder(seed, (inner,))
    builder.dense(width)
    builder.activation("relu")
    builder.dense(5)
    return Network((inner,), tuple(builder.nodes), scale)


def test_upgrades_sharpen():
    network = dense()
    samples = make_samples(network, 300)
    layered = quantise(network, Precision(digit_bits=4, upgrades=3, grid_bits=12), samples)
    each, exact = evaluator(layered), evaluate(network, samples)
    state = each.begin(samples)
    errors = [np.abs(each.upgrade(state) - exact).max() for _ in range(3)]
    assert errors[0] > 4 * errors[1] > 16 * errors[2]


def test_truncated_digits_say_little_at_first():
    network = dense()
    samples = make_samples(network, 300)
    each = evaluator(quantise(network, Precision("truncate", 4, 1), samples))
    rounded = evaluator(quantise(network, Precision(), samples))
    exact = decisions(evaluate(network, samples))
    agree = [(decisions(e.upgrade(e.begin(samples))) == exact).mean() for e in (each, rounded)]
    assert agree[0] < 0.8 < 0.9 < agree[1]


def test_the_decided_leave_and_their_state_goes_with_them():
    network = dense()
    samples = make_samples(network, 100)
    each = evaluator(quantise(network, Precision(), samples), block=16)
    state = each.begin(samples)
    whole = each.begin(samples)
    each.upgrade(whole)
    scores = each.upgrade(state, lambda scores, upgrade: scores[:, 0] > 0)
    stay = np.flatnonzero(scores[:, 0] <= 0)
    assert (len(scores), state.samples) == (100, len(stay))
    assert state.nbytes == whole.take(stay).nbytes < whole.nbytes
    before = each._multiplier.multiply_adds
    later = each.upgrade(state)
    assert each._multiplier.multiply_adds - before == len(stay) * each.network.operations(1)
    np.testing.assert_array_equal(later, each.oneshot(samples)[stay])
    assert state.samples == 0


def test_sums_beyond_32_bits_are_exact():
    builder = Builder(0, (3000,))
    builder.dense(4)
    weight = np.full((4, 3000), 0.5, np.float32)
    node = builder.nodes[0]
    node.weights["weight"][:] = weight
    network = Network((3000,), tuple(builder.nodes), 1 / 255)
    samples = np.full((3, 3000), 255, np.uint8)
    layered = quantise(network, Precision(), samples)
    assert layered.layers[0].wide
    each = evaluator(layered)
    state = each.begin(samples)
    each.upgrade(state)
    np.testing.assert_array_equal(each.upgrade(state), definitions.evaluate(layered, samples, 1))
    assert definitions.sums_of(layered.layers[0], samples, 1).max() > 2**31


def test_wrong_samples_are_refused():
    network = dense()
    layered = quantise(network, Precision(), make_samples(network, 10))
    with pytest.raises(InputError, match=r"samples: found shape \(3, 7\), expected .*40"):
        evaluator(layered).begin(np.zeros((3, 7), np.uint8))
    with pytest.raises(InputError, match="calibration: found no samples"):
        quantise(network, Precision(), np.zeros((0, 40), np.uint8))
    with pytest.raises(InputError, match=r"leading: found 1 exponents, expected 2"):
        quantise(network, Precision("truncate", 4, 1, leading=(0,)), np.zeros((3, 40), np.uint8))


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x03\x04 damaged"])
def test_other_bytes_are_no_network(data):
    with pytest.raises(InputError, match="layered network: found"):
        LayeredNetwork.from_bytes(data)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"digit_bits": 8}, "digit_bits: found 8, expected 1..7"),
        ({"upgrades": 0}, "upgrades: found 0"),
        ({"upgrades": 5, "digit_bits": 7}, "upgrades: found 5, expected 1..4"),
        ({"digit_bits": 1}, "expected 2..7 for balanced"),
        ({"grid_bits": 16}, "grid_bits: found 16"),
        ({"grid": -15, "digits": "truncate"}, "grid: found -15"),
    ],
)
def test_precisions_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Precision(**settings)
