"""Networks from ONNX files.

Taken are the operators of :mod:`hpcrefine.inference.operators`. Weights must be constants, and all
dimensions but the samples' known.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpcrefine.errors import InputError
from hpcrefine.inference.fold import fold
from hpcrefine.inference.network import INPUT, INSTEAD, Network, Node, Shape
from hpcrefine.inference.onnxgraph import Graph, Operator
from hpcrefine.inference.operators import TAKEN

OLDEST = 7  # operator set: before it, broadcasting and batch normalisation were told otherwise
_DOMAINS = ("", "ai.onnx")


def load_onnx(path: Path) -> Network:
    """Read an ONNX file.

    Returns
    -------
    Network
        In float32; batch normalisations and constants added to channels are folded into the layers
        before.

    Raises
    ------
    InputError
        If package onnx is not installed, the file is damaged, or its graph is none of ours; the
        message names the node and its operator.
    """
    model = _read(path)
    operators = _operators(model.graph)
    for operator in operators:
        if operator.type not in TAKEN:
            raise _unsupported(operator)
    _check(model)
    graph = _graph(model.graph)
    for operator in operators:
        TAKEN[operator.type](graph, operator)
    nodes = fold(_reaching(graph, model.graph.output[0].name), graph.shapes)
    facts = {"producer": model.producer_name} if model.producer_name else {}
    return Network(graph.shapes[INPUT], tuple(nodes), facts=facts)


def _read(path: Path) -> Any:
    try:
        import onnx
    except ImportError:
        raise InputError(
            "found no package onnx, expected it: pip install 'hpcrefine[onnx]'"
        ) from None
    try:
        return onnx.load(path)
    except Exception as error:  # those of protobuf have no public base
        raise InputError(f"cannot be read as ONNX: {_line(error)}") from None


def _check(model: Any) -> None:
    import onnx

    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise InputError(f"cannot be read as ONNX: {_line(error)}") from None
    version = min((i.version for i in model.opset_import if i.domain in _DOMAINS), default=0)
    if version < OLDEST:
        raise InputError(f"found operator set {version}, expected {OLDEST} or later")


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _operators(graph: Any) -> list[Operator]:
    """Return the graph's nodes, each with a name of its own."""
    given = Counter(node.name for node in graph.node)
    names = {INPUT}
    operators = []
    for node in graph.node:
        name = node.name if given[node.name] == 1 else ""
        name = name or next(iter(node.output), "") or node.op_type
        while name in names:
            name += "'"
        names.add(name)
        kind = node.op_type if node.domain in _DOMAINS else f"{node.domain}.{node.op_type}"
        attributes = {a.name: _attribute(a) for a in node.attribute}
        operators.append(
            Operator(name, kind, tuple(node.input), next(iter(node.output), ""), attributes)
        )
    return operators


def _attribute(attribute: Any) -> Any:
    from onnx import TensorProto
    from onnx.helper import get_attribute_value
    from onnx.numpy_helper import to_array

    value = get_attribute_value(attribute)
    if isinstance(value, TensorProto):
        return to_array(value)
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _unsupported(operator: Operator) -> InputError:
    if operator.type.lower() in INSTEAD:
        return InputError(
            f"node {operator.name!r}: found activation {operator.type!r}, which is not piecewise "
            f"linear, expected {INSTEAD[operator.type.lower()]} instead"
        )
    return InputError(
        f"node {operator.name!r}: found operator {operator.type!r}, expected one of "
        f"{', '.join(TAKEN)}"
    )


def _graph(graph: Any) -> Graph:
    """Return what is known before the first node: constants, and the input."""
    from onnx.numpy_helper import to_array

    constants = {tensor.name: to_array(tensor) for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    for kind, values in (("input", inputs), ("output", graph.output)):
        if len(values) != 1:
            names = ", ".join(value.name for value in values) or "none"
            raise InputError(f"graph: found {len(values)} {kind}s ({names}), expected one {kind}")
    return Graph(constants, inputs[0].name, *_dimensions(inputs[0]))


def _dimensions(value: Any) -> tuple[int | None, Shape]:
    """Return the number of samples, if that is known, and the shape of a sample."""
    dimensions = value.type.tensor_type.shape.dim
    found = [d.dim_value if d.dim_value > 0 else d.dim_param or "?" for d in dimensions]
    lengths = [length for length in found[1:] if isinstance(length, int)]
    if len(found) not in (2, 4) or len(lengths) < len(found) - 1:
        raise InputError(
            f"input {value.name!r}: found shape ({', '.join(map(str, found))}), expected "
            "(samples, features) or (samples, channels, height, width), all but samples known"
        )
    return found[0] if isinstance(found[0], int) else None, tuple(lengths)


def _reaching(graph: Graph, output: str) -> Sequence[Node]:
    """Return the nodes that the output is made of."""
    if output not in graph.names:
        raise InputError(f"output {output!r}: found a constant, expected scores")
    needed = {graph.names[output]}
    for node in reversed(graph.nodes.values()):
        if node.name in needed:
            needed.update(node.inputs)
    return [node for node in graph.nodes.values() if node.name in needed]
