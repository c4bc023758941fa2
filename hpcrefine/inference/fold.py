"""Scaling and shifting of channels, such as batch normalisation, folded into the layer before."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcrefine.inference.network import LINEAR, Floats, Node, Shape

Array = NDArray[Any]

#: An operator until :func:`fold` has replaced it; its weights: weight and bias, shape (channels,).
AFFINE = "affine"


def normalisation(
    scale: Array, shift: Array, mean: Array, variance: Array, epsilon: float
) -> dict[str, Array]:
    """Return a batch normalisation as weight and bias of each channel, in float64."""
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN is found, and named, by Network
        factor = scale / np.sqrt(variance.astype(np.float64) + epsilon)
    return {"weight": factor, "bias": shift - mean * factor}


def folded(linear: Node, weight: Array, bias: Array) -> Node:
    """Return a dense or conv node, its channels multiplied by weight and shifted by bias."""
    before = linear.weights["weight"]
    factor = weight.reshape(-1, *[1] * (before.ndim - 1))
    weights = {"weight": before * factor, "bias": linear.weights["bias"] * weight + bias}
    return replace(linear, weights=_float32(weights))


def standing(affine: Node, shape: Shape) -> Node:
    """Return an affine node as a diagonal dense or a depthwise 1 x 1 conv node."""
    weight, bias = affine.weights["weight"], affine.weights["bias"]
    if len(shape) == 1:
        weights = {"weight": np.diag(weight), "bias": bias}
        return Node(affine.name, "dense", affine.inputs, {}, _float32(weights))
    weights = {"weight": weight.reshape(-1, 1, 1, 1), "bias": bias}
    attributes = {"stride": (1, 1), "padding": (0, 0, 0, 0), "groups": len(weight)}
    return Node(affine.name, "conv", affine.inputs, attributes, _float32(weights))


def fold(nodes: Sequence[Node], shapes: Mapping[str, Shape]) -> list[Node]:
    """Fold each affine node into the linear node before it.

    Parameters
    ----------
    nodes : sequence of Node
        In topological order, affine nodes among them.
    shapes : mapping of str to tuple of int
        Shape of each node's output.

    Returns
    -------
    list of Node
        Without affine nodes; one whose input is not a linear node's, or not its alone, is made a
        linear node itself.
    """
    uses = Counter(name for node in nodes for name in node.inputs)
    kept: dict[str, Node] = {}
    goes_by: dict[str, str] = {}
    for node in nodes:
        inputs = tuple(goes_by.get(name, name) for name in node.inputs)
        before = kept.get(inputs[0])
        if node.op != AFFINE:
            kept[node.name] = replace(node, inputs=inputs)
        elif before is not None and before.op in LINEAR and uses[node.inputs[0]] == 1:
            kept[before.name] = folded(before, **node.weights)
            goes_by[node.name] = before.name
        else:
            kept[node.name] = standing(replace(node, inputs=inputs), shapes[node.name])
    return list(kept.values())


def _float32(weights: Mapping[str, Array]) -> dict[str, Floats]:
    with np.errstate(over="ignore"):
        return {key: array.astype(np.float32) for key, array in weights.items()}
