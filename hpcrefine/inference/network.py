"""Networks with piecewise-linear activations: nodes, shapes, and what is not a network of ours.

A network is a directed acyclic graph in topological order. Its arrays are float32; shapes leave out
the samples and are ``(features,)`` or ``(channels, height, width)``, as in ONNX.

==================  ===========================================================================
op                  weights; attributes
==================  ===========================================================================
dense               weight (out, in), bias (out,)
conv                weight (out, in / groups, kh, kw), bias (out,); stride (2), padding (top,
                    left, bottom, right), groups
maxpool             kernel (2), stride (2), padding (4)
averagepool         the same; what lies in the padding is not counted
globalaveragepool
add                 two inputs of equal shape
flatten
reshape             shape
relu
leakyrelu           slope
prelu               weight (channels,): a slope each
clip                low, high (relu6: 0 and 6; hard tanh: -1 and 1)
hardsigmoid         alpha, beta: max(0, min(1, alpha x + beta))
sigmoid, softmax    of the scores alone: the last node
==================  ===========================================================================
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError

Shape = tuple[int, ...]
Floats = NDArray[np.float32]

INPUT = "input"
LINEAR = ("dense", "conv")
ACTIVATIONS = ("relu", "leakyrelu", "prelu", "clip", "hardsigmoid")
POOLS = ("maxpool", "averagepool")
SHAPING = ("flatten", "reshape")
FINAL = ("sigmoid", "softmax")
OPS = (*LINEAR, *POOLS, "globalaveragepool", "add", *SHAPING, *ACTIVATIONS, *FINAL)

#: Activations that are not piecewise linear, and what to train with instead.
INSTEAD = {
    "sigmoid": "hardsigmoid",
    "tanh": "hard tanh (clip to -1..1)",
    "softplus": "relu",
    "elu": "leakyrelu",
    "selu": "leakyrelu",
    "celu": "leakyrelu",
    "gelu": "relu",
    "mish": "relu",
    "swish": "relu or hardsigmoid",
    "silu": "relu or hardsigmoid",
    "hardswish": "relu6 (clip to 0..6)",
    "erf": "hard tanh (clip to -1..1)",
    "softsign": "hard tanh (clip to -1..1)",
    "softmax": "relu",
    "logsoftmax": "relu",
}


@dataclass(frozen=True)
class Node:
    """One layer.

    Attributes
    ----------
    name : str
        Its own, unique in the network.
    op : str
        What it does, one of :data:`OPS`.
    inputs : tuple of str
        Nodes whose outputs it takes; :data:`INPUT` is the network's input.
    attributes : mapping of str to number or tuple of int
        See the table above.
    weights : mapping of str to ndarray of float32
        See the table above.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def described(self) -> str:
        """Name and operator, for messages."""
        return f"node {self.name!r} ({self.op})"


@dataclass(frozen=True)
class Network:
    """A network, checked.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of a sample.
    nodes : sequence of Node
        In topological order; the last one's output are the scores, shape (classes,). One class
        means a binary decision: positive or not.
    input_scale, input_offset : float
        Samples as they are in files are multiplied and shifted by them first.
    facts : mapping of str to str
        What is told of it: how it was trained, its accuracy.

    Raises
    ------
    InputError
        If it is none of ours; the message names the node, what was found and what was expected.
    """

    input_shape: Shape
    nodes: tuple[Node, ...]
    input_scale: float = 1.0
    input_offset: float = 0.0
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.nodes:
            raise InputError("network: found no nodes, expected at least a dense layer")
        self._check_graph()
        shapes = self.shapes
        last = self.nodes[-1]
        if len(shapes[last.name]) != 1:
            raise InputError(
                f"{last.described}: found scores of shape {shapes[last.name]}, expected (classes,)"
            )

    def _check_graph(self) -> None:
        known = {INPUT}
        for node in self.nodes:
            _check_node(node)
            for name in node.inputs:
                if name not in known:
                    raise InputError(
                        f"{node.described}: found input {name!r}, expected an earlier node"
                    )
            if node.name in known:
                raise InputError(f"{node.described}: found its name twice, expected another")
            known.add(node.name)
            if node.op in FINAL and node is not self.nodes[-1]:
                raise InputError(_not_piecewise_linear(node.name, node.op))
        if not any(node.op in LINEAR for node in self.nodes):
            raise InputError("network: found no layer with weights, expected dense or conv")

    @property
    def shapes(self) -> dict[str, Shape]:
        """Shape of each node's output, without the samples.

        Raises
        ------
        InputError
            If a node does not fit its input.
        """
        shapes = {INPUT: self.input_shape}
        for node in self.nodes:
            shapes[node.name] = output_shape(node, [shapes[name] for name in node.inputs])
        return shapes

    @property
    def classes(self) -> int:
        """Number of scores of a sample."""
        return self.shapes[self.nodes[-1].name][0]

    @property
    def final(self) -> str:
        """What is done to the scores: sigmoid, softmax, or "" for nothing."""
        return self.nodes[-1].op if self.nodes[-1].op in FINAL else ""

    @property
    def scoring(self) -> tuple[Node, ...]:
        """The nodes that make the scores, without a final sigmoid or softmax."""
        return self.nodes[:-1] if self.final else self.nodes

    def operations(self) -> dict[str, int]:
        """Return the multiply-adds of each linear node for one sample."""
        shapes = self.shapes
        return {
            node.name: node.weights["weight"].size * math.prod(shapes[node.name][1:])
            for node in self.nodes
            if node.op in LINEAR
        }

    def check_samples(self, samples: NDArray[Any], where: str = "samples") -> None:
        """Raise unless these are samples of this network, each of the input's shape.

        Raises
        ------
        InputError
            The message begins with ``where``.
        """
        if samples.ndim < 2 or samples.shape[1:] != self.input_shape:
            raise InputError(
                f"{where}: found shape {samples.shape}, expected (samples, "
                f"{', '.join(map(str, self.input_shape))})"
            )
        if samples.dtype.kind not in "iuf":
            raise InputError(f"{where}: found type {samples.dtype}, expected numbers")
        if samples.dtype.kind == "f" and not np.isfinite(samples).all():
            raise InputError(f"{where}: found NaN or infinity, expected finite numbers")


def decisions(scores: NDArray[Any]) -> NDArray[np.int64]:
    """Return the class that scores say, shape (samples,): the first largest, or positive or not."""
    if scores.shape[1] == 1:
        return (scores[:, 0] > 0).astype(np.int64)
    return np.asarray(np.argmax(scores, axis=1), np.int64)


def probabilities(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Return the sigmoid of single scores, or the softmax of several, shape of the scores."""
    scores = scores.astype(np.float64)
    if scores.shape[1] == 1:
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * scores)))
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def window(node: Node, key: str) -> tuple[int, int]:
    """Return a pair of a node's attributes: kernel or stride, vertical and horizontal."""
    if key == "kernel" and node.op == "conv":
        rows, columns = node.weights["weight"].shape[2:]
    else:
        rows, columns = node.attributes.get(key, (1, 1))
    return int(rows), int(columns)


def padding(node: Node) -> tuple[int, int, int, int]:
    """Return what is added to an image: top, left, bottom, right."""
    top, left, bottom, right = node.attributes.get("padding", (0, 0, 0, 0))
    return int(top), int(left), int(bottom), int(right)


def output_shape(node: Node, inputs: Sequence[Shape]) -> Shape:
    """Return the shape of a node's output.

    Raises
    ------
    InputError
        If it does not fit its input.
    """
    shape = inputs[0]
    if node.op == "dense":
        return _dense_shape(node, shape)
    if node.op in ("conv", *POOLS):
        return _windowed_shape(node, shape)
    if node.op == "globalaveragepool":
        _expect_image(node, shape)
        return (shape[0],)
    if node.op == "add" and inputs[0] != inputs[1]:
        raise InputError(f"{node.described}: found inputs of shapes {inputs[0]} and {inputs[1]}")
    if node.op == "prelu" and node.weights["weight"].shape not in ((1,), shape[:1]):
        found = node.weights["weight"].shape
        raise InputError(f"{node.described}: found slopes of shape {found}, expected {shape[:1]}")
    if node.op == "flatten":
        return (math.prod(shape),)
    if node.op == "reshape":
        target = tuple(int(length) for length in node.attributes["shape"])
        if math.prod(target) != math.prod(shape) or min(target) < 1:
            raise InputError(f"{node.described}: found input of shape {shape}, expected {target}")
        return target
    return shape


def _dense_shape(node: Node, shape: Shape) -> Shape:
    out, inner = node.weights["weight"].shape
    if shape != (inner,):
        raise InputError(f"{node.described}: found input of shape {shape}, expected ({inner},)")
    return (out,)


def _windowed_shape(node: Node, shape: Shape) -> Shape:
    _expect_image(node, shape)
    channels = shape[0]
    if node.op == "conv":
        out, inner = node.weights["weight"].shape[:2]
        groups = int(node.attributes.get("groups", 1))
        if channels != inner * groups or out % groups:
            raise InputError(
                f"{node.described}: found {channels} channels, expected {inner * groups} "
                f"({groups} groups, weight {node.weights['weight'].shape})"
            )
        channels = out
    kernel, stride = window(node, "kernel"), window(node, "stride")
    top, left, bottom, right = padding(node)
    padded = shape[1] + top + bottom, shape[2] + left + right
    lengths = tuple((p - k) // s + 1 for p, k, s in zip(padded, kernel, stride, strict=True))
    if node.op in POOLS and any(p >= k for p, k in zip(padding(node), 2 * kernel, strict=True)):
        raise InputError(
            f"{node.described}: found padding {padding(node)}, expected less than its kernel "
            f"{kernel}: a window needs a pixel"
        )
    if min(lengths) < 1:
        raise InputError(
            f"{node.described}: found an image of {padded[0]} x {padded[1]} with its padding, "
            f"expected at least {kernel[0]} x {kernel[1]}"
        )
    return channels, *lengths


def _expect_image(node: Node, shape: Shape) -> None:
    if len(shape) != 3:
        raise InputError(
            f"{node.described}: found input of shape {shape}, expected (channels, height, width)"
        )


def _check_node(node: Node) -> None:
    if node.op not in OPS:
        if node.op.lower() in INSTEAD:
            raise InputError(_not_piecewise_linear(node.name, node.op))
        raise InputError(
            f"node {node.name!r}: found operator {node.op!r}, expected one of {', '.join(OPS)}"
        )
    count = 2 if node.op == "add" else 1
    if len(node.inputs) != count:
        raise InputError(f"{node.described}: found {len(node.inputs)} inputs, expected {count}")
    for key, dimensions in _WEIGHTS.get(node.op, {}).items():
        _check_weight(node, key, dimensions)
    for key, (fits, expected) in _ATTRIBUTES.get(node.op, {}).items():
        found = node.attributes.get(key)
        if (found is None and key not in _OPTIONAL) or (found is not None and not fits(found)):
            raise InputError(f"{node.described}: {key}: found {found!r}, expected {expected}")
    if node.op == "clip" and not node.attributes["low"] < node.attributes["high"]:
        raise InputError(f"{node.described}: found low >= high, expected low < high")


def _check_weight(node: Node, key: str, dimensions: int) -> None:
    array = node.weights.get(key)
    if array is None or array.ndim != dimensions or array.size == 0:
        found = "none" if array is None else f"shape {array.shape}"
        raise InputError(f"{node.described}: {key}: found {found}, expected {dimensions} axes")
    if not np.isfinite(array).all():
        wrong = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(
            f"{node.described}: {key}: found {array[wrong]} at {list(wrong)}, expected finite "
            "numbers"
        )
    if key == "bias" and array.shape != node.weights["weight"].shape[:1]:
        expected = node.weights["weight"].shape[:1]
        raise InputError(f"{node.described}: bias: found shape {array.shape}, expected {expected}")


def _not_piecewise_linear(name: str, op: str) -> str:
    last = " (a final sigmoid or softmax on the scores is fine)"
    return (
        f"node {name!r}: found activation {op!r}, which is not piecewise linear, expected "
        f"{INSTEAD[op.lower()]} instead{last if op.lower() in FINAL else ''}"
    )


def _lengths(count: int, least: int) -> Callable[[Any], bool]:
    def fits(found: Any) -> bool:
        return len(found) == count and min(found) >= least

    return fits


def _finite(found: Any) -> bool:
    return not math.isnan(found)


_OPTIONAL = ("stride", "padding", "groups")
_WEIGHTS = {
    "dense": {"weight": 2, "bias": 1},
    "conv": {"weight": 4, "bias": 1},
    "prelu": {"weight": 1},
}
_STRIDE = (_lengths(2, 1), "two integers >= 1")
_PADDING = (_lengths(4, 0), "four integers >= 0")
_POOL = {"kernel": _STRIDE, "stride": _STRIDE, "padding": _PADDING}
_NUMBER = (_finite, "a number")
_ATTRIBUTES: dict[str, dict[str, tuple[Callable[[Any], bool], str]]] = {
    "conv": {
        "stride": _STRIDE,
        "padding": _PADDING,
        "groups": (lambda found: found >= 1, "an integer >= 1"),
    },
    "maxpool": _POOL,
    "averagepool": _POOL,
    "reshape": {"shape": (lambda found: len(found) in (1, 3), "1 or 3 lengths")},
    "leakyrelu": {"slope": _NUMBER},
    "clip": {"low": _NUMBER, "high": _NUMBER},
    "hardsigmoid": {"alpha": _NUMBER, "beta": _NUMBER},
}
