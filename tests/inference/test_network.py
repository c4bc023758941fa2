"""Networks: what is none of ours is refused by name."""

import numpy as np
import pytest

from hpcrefine.errors import InputError
from hpcrefine.inference.network import INSTEAD, Network, Node, decisions, probabilities

ONES = np.ones((3, 4), np.float32)


def dense(name="dense", inputs=("input",), weight=ONES, bias=None):
    bias = np.zeros(len(weight), np.float32) if bias is None else bias
    return Node(name, "dense", inputs, {}, {"weight": weight, "bias": bias})


def conv(weight=(2, 1, 3, 3), **attributes):
    weights = {"weight": np.ones(weight, np.float32), "bias": np.zeros(weight[0], np.float32)}
    return Node("conv", "conv", ("input",), attributes, weights)


def refusal(shape, *nodes):
    with pytest.raises(InputError) as error:
        Network(shape, nodes)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("op", ["tanh", "Gelu", "erf", "softplus", "swish"])
def test_curved_activations_are_named_with_what_to_use_instead(op):
    found = refusal((4,), dense(), Node("curve", op, ("dense",)))
    assert f"node 'curve': found activation {op!r}, which is not piecewise linear" in found
    assert f"expected {INSTEAD[op.lower()]} instead" in found


def test_sigmoid_is_for_scores_alone():
    Network((4,), (dense(), Node("last", "sigmoid", ("dense",))))
    later = dense("later", ("inner",), np.ones((2, 3), np.float32))
    found = refusal((4,), dense(), Node("inner", "sigmoid", ("dense",)), later)
    assert "node 'inner'" in found
    assert "hardsigmoid instead (a final sigmoid or softmax on the scores is fine)" in found


def test_unknown_operators_are_named():
    found = refusal((4,), dense(), Node("lstm7", "lstm", ("dense",)))
    assert found.startswith("node 'lstm7': found operator 'lstm', expected one of dense, conv")


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(wrong):
    weight = ONES.copy()
    weight[1, 2] = wrong
    found = refusal((4,), dense(weight=weight))
    assert found.startswith(f"node 'dense' (dense): weight: found {wrong} at [1, 2]")


@pytest.mark.parametrize(
    ("shape", "nodes", "message"),
    [
        ((4,), (), "found no nodes"),
        ((5,), (dense(),), r"found input of shape (5,), expected (4,)"),
        ((4,), (dense(), dense()), "found input of shape (3,)|found its name twice"),
        ((4,), (dense(inputs=("nobody",)),), "found input 'nobody', expected an earlier node"),
        ((4,), (dense(inputs=("input", "input")),), "found 2 inputs, expected 1"),
        ((4,), (dense(bias=np.zeros(2, np.float32)),), "bias: found shape (2,), expected (3,)"),
        ((4,), (Node("d", "dense", ("input",)),), "weight: found none, expected 2 axes"),
        ((4,), (Node("r", "relu", ("input",)),), "found no layer with weights"),
        ((1, 8, 8), (conv(),), "found scores of shape (2, 6, 6), expected (classes,)"),
        ((4,), (conv(),), "found input of shape (4,), expected (channels, height, width)"),
        ((3, 8, 8), (conv(),), "found 3 channels, expected 1"),
        ((2, 8, 8), (conv((3, 1, 3, 3), groups=2),), "found 2 channels, expected 2 (2 groups"),
        ((1, 2, 2), (conv(),), "found an image of 2 x 2 with its padding, expected at least 3 x 3"),
        ((1, 8, 8), (conv(stride=(0, 1)),), "stride: found (0, 1), expected two integers >= 1"),
        ((1, 8, 8), (conv(padding=(1, 1)),), "padding: found (1, 1), expected four integers"),
        (
            (1, 8, 8),
            (Node("m", "maxpool", ("input",), {"kernel": (2, 2), "padding": (0, 2, 0, 0)}), conv()),
            "found padding (0, 2, 0, 0), expected less than its kernel (2, 2)",
        ),
        (
            (4,),
            (dense(), Node("c", "clip", ("dense",), {"low": 1.0, "high": 1.0})),
            "found low >= high",
        ),
        ((4,), (dense(), Node("l", "leakyrelu", ("dense",))), "slope: found None, expected a numb"),
        (
            (4,),
            (dense(), Node("p", "prelu", ("dense",), {}, {"weight": ONES[0]})),
            "found slopes of shape (4,), expected (3,)",
        ),
        ((4,), (dense(), Node("s", "reshape", ("dense",), {"shape": (7,)})), "expected (7,)"),
        ((4,), (dense(), Node("a", "add", ("dense", "input"))), "found inputs of shapes (3,) and"),
    ],
)
def test_what_does_not_fit_is_refused(shape, nodes, message):
    found = refusal(shape, *nodes)
    assert any(part in found for part in message.split("|"))


def test_samples_are_checked():
    network = Network((4,), (dense(),))
    network.check_samples(np.zeros((2, 4)))
    for samples, message in [
        (np.zeros((2, 3)), r"images: found shape \(2, 3\), expected \(samples, 4\)"),
        (np.full((2, 4), np.nan), "found NaN or infinity"),
        (np.zeros((2, 4), complex), "found type complex128, expected numbers"),
    ]:
        with pytest.raises(InputError, match=message):
            network.check_samples(samples, "images")


def test_decisions_and_probabilities():
    many = np.array([[1.0, 3.0, 3.0], [0.0, -1.0, -2.0]], np.float32)
    assert decisions(many).tolist() == [1, 0]
    assert probabilities(many).sum(axis=1) == pytest.approx([1, 1])
    one = np.array([[0.0], [2.0], [-800.0]], np.float32)
    assert decisions(one).tolist() == [0, 1, 0]
    assert probabilities(one)[:, 0] == pytest.approx([0.5, 1 / (1 + np.exp(-2)), 0])


def test_operations_are_those_of_the_linear_layers():
    flat = Node("flat", "flatten", ("conv",))
    last = dense("dense", ("flat",), np.ones((3, 72), np.float32))
    network = Network((1, 8, 8), (conv(), flat, last))
    assert network.operations() == {"conv": 2 * 9 * 36, "dense": 3 * 72}
    assert network.classes == 3
