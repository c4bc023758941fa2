"""What becomes of an ONNX graph: its operators, and the nodes, shapes and constants they make."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError
from hpcrefine.inference.network import INPUT, SHAPING, Node, Shape, output_shape

Array = NDArray[Any]


@dataclass(frozen=True)
class Operator:
    """A node of ONNX.

    Attributes
    ----------
    name : str
        Its own, unique in the graph.
    type : str
        What it does, with its domain if that is not ONNX's own.
    inputs : tuple of str
        Values that it takes, "" for an optional one that is left out.
    output : str
        The first value that it makes.
    attributes : mapping of str to number, str, list or ndarray
        Those that are given.
    """

    name: str
    type: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any]

    def wrong(self, text: str) -> InputError:
        """Return an error that names this node."""
        return InputError(f"node {self.name!r} ({self.type}): {text}")

    def given(self, index: int) -> bool:
        """Tell whether it has an optional input."""
        return len(self.inputs) > index and self.inputs[index] != ""

    def expect(self, key: str, *allowed: Any) -> None:
        """Raise unless an attribute has one of some values, the first of which is its default."""
        found = self.attributes.get(key, allowed[0])
        if found not in allowed:
            raise self.wrong(f"{key}: found {found!r}, expected {' or '.join(map(repr, allowed))}")

    def lengths(self, key: str, count: int, least: int) -> Shape:
        """Return an attribute that is a list of integers, by default the least ones."""
        found = tuple(self.attributes.get(key, [least] * count))
        if len(found) != count or min(found) < least:
            raise self.wrong(f"{key}: found {found}, expected {count} integers >= {least}")
        return found


class Graph:
    """What the operators so far have made.

    Parameters
    ----------
    constants : dict of str to ndarray
        By name in ONNX.
    name : str
        The input's, in ONNX.
    samples : int, optional
        How many the input holds, if that is fixed.
    shape : tuple of int
        Of a sample.
    """

    def __init__(
        self, constants: dict[str, Array], name: str, samples: int | None, shape: Shape
    ) -> None:
        self.constants = constants
        self.names = {name: INPUT}  # of our nodes, by name of the value in ONNX
        self.samples = samples
        self.shapes: dict[str, Shape] = {INPUT: shape}
        self.nodes: dict[str, Node] = {}

    def value(self, operator: Operator, index: int = 0) -> str:
        """Return the name of our node that makes an operator's input."""
        name = operator.inputs[index]
        if name not in self.names:
            found = "a constant" if name in self.constants else "an output that is not supported"
            raise operator.wrong(f"input {name!r}: found {found}, expected a layer's output")
        return self.names[name]

    def shape(self, operator: Operator) -> Shape:
        """Return the shape of an operator's first input, without the samples."""
        return self.shapes[self.value(operator)]

    def constant(self, operator: Operator, index: int, axes: int | None = None) -> Array:
        """Return an operator's input that must be a constant, of some number of axes."""
        name = operator.inputs[index]
        if name not in self.constants:
            raise operator.wrong(f"input {name!r}: found a computed value, expected a constant")
        array = self.constants[name]
        if axes is not None and array.ndim != axes:
            raise operator.wrong(f"input {name!r}: found shape {array.shape}, expected {axes} axes")
        return array

    def vector(self, operator: Operator, index: int, length: int) -> Array:
        """Return an operator's input that must be a constant, of shape (length,)."""
        array = self.constant(operator, index, 1)
        if len(array) != length:
            name = operator.inputs[index]
            raise operator.wrong(f"input {name!r}: found shape {array.shape}, expected ({length},)")
        return array

    def number(self, operator: Operator, index: int) -> float:
        """Return an operator's input that must be a single constant."""
        array = self.constant(operator, index)
        if array.size != 1:
            name = operator.inputs[index]
            raise operator.wrong(f"input {name!r}: found shape {array.shape}, expected a number")
        return float(array.item())

    def channels(self, operator: Operator, index: int) -> NDArray[np.float64]:
        """Return a constant that has one number, or one for each channel of the first input."""
        array = self.constant(operator, index)
        channels, *rest = self.shape(operator)
        expected = (1, channels, *[1] * len(rest))
        lengths = (1,) * (len(expected) - array.ndim) + array.shape
        if lengths not in (expected, (1,) * len(expected)):
            raise operator.wrong(
                f"input {operator.inputs[index]!r}: found shape {array.shape}, expected "
                f"{expected[1:]}, a number for each channel"
            )
        return np.broadcast_to(array.reshape(-1).astype(np.float64), (channels,))

    def add(
        self,
        operator: Operator,
        op: str,
        *inputs: str,
        weights: Mapping[str, Array] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a node of ours that makes an operator's output, by default of its first input."""
        inputs = inputs or (self.value(operator),)
        node = Node(operator.name, op, inputs, attributes or {}, weights or {})
        self.shapes[node.name] = output_shape(node, [self.shapes[name] for name in inputs])
        if node.name in self.nodes:
            raise operator.wrong("found its name twice, expected another")
        self.nodes[node.name] = node
        self.names[operator.output] = node.name

    def reshape(self, operator: Operator, target: Shape) -> None:
        """Give an operator's input another shape, or the one that it had before."""
        source = self.value(operator)
        while self.shapes[source] != target and source != INPUT:
            if self.nodes[source].op not in SHAPING:
                break
            source = self.nodes[source].inputs[0]
        if self.shapes[source] == target:
            self.names[operator.output] = source
        elif len(target) == 1:
            self.add(operator, "flatten", source)
        else:
            self.add(operator, "reshape", source, attributes={"shape": target})
