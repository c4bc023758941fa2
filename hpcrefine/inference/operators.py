"""Operators of ONNX, each as a node of ours."""

import math
from collections.abc import Callable

import numpy as np

from hpcrefine.inference.fold import AFFINE, normalisation
from hpcrefine.inference.network import Shape
from hpcrefine.inference.onnxgraph import Array, Graph, Operator


def _weights(weight: Array, bias: Array | None = None) -> dict[str, Array]:
    bias = np.zeros(len(weight)) if bias is None else bias
    with np.errstate(over="ignore"):  # infinity is found, and named, by Network
        return {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)}


def _gemm(graph: Graph, operator: Operator) -> None:
    operator.expect("transA", 0)
    weight = graph.constant(operator, 1, 2).astype(np.float64) * operator.attributes.get("alpha", 1)
    if not operator.attributes.get("transB", 0):
        weight = weight.T
    bias = None
    if operator.given(2):
        found = graph.constant(operator, 2)
        if found.size not in (1, len(weight)) or found.shape[-1:] not in ((), (found.size,)):
            raise operator.wrong(
                f"input {operator.inputs[2]!r}: found shape {found.shape}, "
                f"expected ({len(weight)},)"
            )
        bias = np.broadcast_to(found.reshape(-1), weight.shape[:1]).astype(np.float64)
        bias = bias * operator.attributes.get("beta", 1)
    graph.add(operator, "dense", weights=_weights(weight, bias))


def _matmul(graph: Graph, operator: Operator) -> None:
    graph.add(operator, "dense", weights=_weights(graph.constant(operator, 1, 2).T))


def _conv(graph: Graph, operator: Operator) -> None:
    operator.expect("dilations", [1, 1])
    weight = graph.constant(operator, 1, 4)
    bias = graph.vector(operator, 2, len(weight)) if operator.given(2) else None
    stride, padding = _window(graph, operator, weight.shape[2:])
    groups = operator.attributes.get("group", 1)
    if groups < 1:
        raise operator.wrong(f"group: found {groups}, expected >= 1")
    attributes = {"stride": stride, "padding": padding, "groups": groups}
    graph.add(operator, "conv", weights=_weights(weight, bias), attributes=attributes)


def _pool(graph: Graph, operator: Operator) -> None:
    operator.expect("ceil_mode", 0)
    operator.expect("dilations", [1, 1])
    kernel = operator.lengths("kernel_shape", 2, 1)
    stride, padding = _window(graph, operator, kernel)
    if any(padding):
        operator.expect("count_include_pad", 0)
    op = {"MaxPool": "maxpool", "AveragePool": "averagepool"}[operator.type]
    attributes = {"kernel": kernel, "stride": stride, "padding": padding}
    graph.add(operator, op, attributes=attributes)


def _window(graph: Graph, operator: Operator, kernel: Shape) -> tuple[Shape, Shape]:
    """Return stride and padding (top, left, bottom, right)."""
    operator.expect("auto_pad", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
    stride = operator.lengths("strides", 2, 1)
    auto = operator.attributes.get("auto_pad", "NOTSET")
    if auto == "NOTSET":
        return stride, operator.lengths("pads", 4, 0)
    if auto == "VALID":
        return stride, (0, 0, 0, 0)
    lengths = graph.shape(operator)[1:]
    missing = [
        max(0, (-(-length // step) - 1) * step + size - length)
        for length, step, size in zip(lengths, stride, kernel, strict=True)
    ]
    less, more = [m // 2 for m in missing], [m - m // 2 for m in missing]
    return stride, (*less, *more) if auto == "SAME_UPPER" else (*more, *less)


def _global_average_pool(graph: Graph, operator: Operator) -> None:
    """Average; ONNX keeps height and width of 1, which a reshape drops again."""
    channels = graph.shape(operator)[0]
    name = f"{operator.name}/average"
    inner = Operator(name, operator.type, operator.inputs, name, {})
    graph.add(inner, "globalaveragepool")
    graph.add(operator, "reshape", inner.name, attributes={"shape": (channels, 1, 1)})


def _reduce_mean(graph: Graph, operator: Operator) -> None:
    """Average over height and width, which is how some exporters write a global average."""
    axes = operator.attributes.get("axes", [])
    if operator.given(1):
        axes = graph.constant(operator, 1, 1)
    found = sorted(int(axis) % 4 for axis in axes)
    if found != [2, 3] or len(graph.shape(operator)) != 3:
        raise operator.wrong(f"axes: found {found}, expected [2, 3] of images")
    if operator.attributes.get("keepdims", 1):
        _global_average_pool(graph, operator)
    else:
        graph.add(operator, "globalaveragepool")


def _batch_normalization(graph: Graph, operator: Operator) -> None:
    operator.expect("training_mode", 0)
    channels = graph.shape(operator)[0]
    scale, shift, mean, variance = (graph.vector(operator, i, channels) for i in range(1, 5))
    epsilon = operator.attributes.get("epsilon", 1e-5)
    graph.add(operator, AFFINE, weights=normalisation(scale, shift, mean, variance, epsilon))


def _add(graph: Graph, operator: Operator) -> None:
    first, second = operator.inputs
    if first not in graph.constants and second not in graph.constants:
        graph.add(operator, "add", graph.value(operator, 0), graph.value(operator, 1))
        return
    if first in graph.constants:
        operator = Operator(operator.name, operator.type, (second, first), operator.output, {})
    shift = graph.channels(operator, 1)
    graph.add(operator, AFFINE, weights={"weight": np.ones_like(shift), "bias": shift})


def _flatten(graph: Graph, operator: Operator) -> None:
    shape = graph.shape(operator)
    operator.expect("axis", 1, -len(shape))
    graph.reshape(operator, (math.prod(shape),))


def _reshape(graph: Graph, operator: Operator) -> None:
    before = graph.shape(operator)
    wanted = [int(length) for length in graph.constant(operator, 1, 1)]
    samples, *lengths = wanted or [0]
    if not operator.attributes.get("allowzero", 0):
        known = [*before, *[0] * len(lengths)]
        lengths = [length or known[axis] for axis, length in enumerate(lengths)]
    if samples not in (0, -1, graph.samples) or lengths.count(-1) > (samples != -1):
        raise operator.wrong(f"shape: found {wanted}, expected [0, ...]: the samples kept apart")
    others = math.prod(length for length in lengths if length != -1)
    if -1 in lengths and others:
        lengths[lengths.index(-1)] = math.prod(before) // others
    if len(lengths) not in (1, 3) or math.prod(lengths) != math.prod(before):
        raise operator.wrong(
            f"shape: found {wanted} for samples of shape {before}, expected 1 or 3 lengths that fit"
        )
    graph.reshape(operator, tuple(lengths))


def _squeeze(graph: Graph, operator: Operator) -> None:
    before = graph.shape(operator)
    axes = operator.attributes.get("axes", range(2, len(before) + 1))
    if operator.given(1):
        axes = graph.constant(operator, 1, 1)
    dropped = {int(axis) % (len(before) + 1) for axis in axes}
    target = tuple(length for axis, length in enumerate(before, 1) if axis not in dropped)
    if len(target) not in (1, 3) or math.prod(target) != math.prod(before) or 0 in dropped:
        raise operator.wrong(
            f"axes: found {sorted(dropped)} for samples of shape {before}, expected [2, 3], both 1"
        )
    graph.reshape(operator, target)


def _relu(graph: Graph, operator: Operator) -> None:
    graph.add(operator, "relu")


def _leaky_relu(graph: Graph, operator: Operator) -> None:
    slope = operator.attributes.get("alpha", 0.01)
    graph.add(operator, "leakyrelu", attributes={"slope": slope})


def _prelu(graph: Graph, operator: Operator) -> None:
    slopes = graph.channels(operator, 1).astype(np.float32)
    graph.add(operator, "prelu", weights={"weight": slopes})


def _clip(graph: Graph, operator: Operator) -> None:
    """Clip between two numbers, attributes at first and inputs later; above zero is a relu."""
    low, high = operator.attributes.get("min", -math.inf), operator.attributes.get("max", math.inf)
    if operator.given(1):
        low = graph.number(operator, 1)
    if operator.given(2):
        high = graph.number(operator, 2)
    if low == 0 and high >= np.finfo(np.float32).max:
        _relu(graph, operator)
    else:
        graph.add(operator, "clip", attributes={"low": low, "high": high})


def _hard_sigmoid(graph: Graph, operator: Operator) -> None:
    attributes = {
        "alpha": operator.attributes.get("alpha", 0.2),
        "beta": operator.attributes.get("beta", 0.5),
    }
    graph.add(operator, "hardsigmoid", attributes=attributes)


def _same(graph: Graph, operator: Operator) -> None:
    """Pass on what dropout and identity leave as it is."""
    name = operator.inputs[0]
    if name in graph.constants:
        graph.constants[operator.output] = graph.constants[name]
    else:
        graph.names[operator.output] = graph.value(operator)


def _constant(graph: Graph, operator: Operator) -> None:
    ((key, value),) = operator.attributes.items()
    if not key.startswith("value") or "string" in key:
        raise operator.wrong(f"found {key!r}, expected numbers")
    graph.constants[operator.output] = np.asarray(value)


def _sigmoid(graph: Graph, operator: Operator) -> None:
    graph.add(operator, "sigmoid")


def _softmax(graph: Graph, operator: Operator) -> None:
    operator.expect("axis", -1, 1)
    graph.add(operator, "softmax")


#: How each operator that is supported becomes a node of a graph.
TAKEN: dict[str, Callable[[Graph, Operator], None]] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Conv": _conv,
    "BatchNormalization": _batch_normalization,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": _global_average_pool,
    "ReduceMean": _reduce_mean,
    "Add": _add,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Relu": _relu,
    "LeakyRelu": _leaky_relu,
    "PRelu": _prelu,
    "Clip": _clip,
    "HardSigmoid": _hard_sigmoid,
    "Identity": _same,
    "Dropout": _same,
    "Constant": _constant,
    "Sigmoid": _sigmoid,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
}
