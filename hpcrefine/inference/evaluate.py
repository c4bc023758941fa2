"""One-shot evaluation in float32 by BLAS: what layered evaluation is compared with."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcrefine.inference.columns import (
    blocks_of_columns,
    channels_last,
    largest,
    reshaped,
    sizes,
    total,
)
from hpcrefine.inference.network import INPUT, LINEAR, POOLS, Network, Node, padding, window

Floats = NDArray[np.float32]
Look = Callable[[str, Floats], None]

_VALUES = 1 << 20  # of the largest layer of a block of samples: some megabytes, read from cache


def evaluate(
    network: Network,
    samples: NDArray[Any],
    block: int | None = None,
    look: Look | None = None,
    threads: int = 1,
) -> Floats:
    """Evaluate a network in float32.

    Parameters
    ----------
    network : Network
        The network.
    samples : ndarray, shape (samples, *input_shape)
        As they are in files; scaled and shifted here.
    block : int, optional
        Samples evaluated at a time; default as many as keep a layer in cache.
    look : callable, optional
        Is shown each node's name and output, channels last, block by block; the network's input
        too.
    threads : int
        That take a block each; BLAS's own come on top of them.

    Returns
    -------
    ndarray of float32, shape (samples, classes)
        Scores, before a final sigmoid or softmax.

    Raises
    ------
    InputError
        If these are no samples of this network.
    """
    network.check_samples(samples)
    block = min(block or natural_block(network), max(1, math.ceil(len(samples) / threads)))
    weights = {node.name: matrices(node) for node in network.scoring if node.op in LINEAR}
    scores = np.empty((len(samples), network.classes), np.float32)

    def pass_through(start: int) -> None:
        values = {INPUT: scaled(network, samples[start : start + block])}
        if look is not None:
            look(INPUT, values[INPUT])
        for node in network.scoring:
            inputs = [values[name] for name in node.inputs]
            values[node.name] = _output(node, inputs, weights.get(node.name, []))
            if look is not None:
                look(node.name, values[node.name])
        scores[start : start + block] = values[network.scoring[-1].name]

    with ThreadPoolExecutor(threads) as team:
        for _ in team.map(pass_through, range(0, len(samples), block)):
            pass  # an exception comes up here
    return scores


def natural_block(network: Network) -> int:
    """Return how many samples keep the largest layer in cache."""
    return max(16, _VALUES // max(map(math.prod, network.shapes.values())))


def scaled(network: Network, samples: NDArray[Any]) -> Floats:
    """Return samples as the network takes them, float32, channels last."""
    values = np.multiply(channels_last(samples), np.float32(network.input_scale), dtype=np.float32)
    if network.input_offset:
        values += np.float32(network.input_offset)
    return values


def matrices(node: Node) -> list[Floats]:
    """Return the weights of a linear node as matrices (K, out), one for each group of channels."""
    weight = node.weights["weight"]
    if node.op == "dense":
        return [np.ascontiguousarray(weight.T)]
    groups = np.split(weight, node.attributes.get("groups", 1))
    return [np.ascontiguousarray(g.transpose(2, 3, 1, 0).reshape(-1, len(g))) for g in groups]


def _output(node: Node, inputs: list[Floats], weights: list[Floats]) -> Floats:
    value = inputs[0]
    if node.op == "dense":
        product: Floats = value @ weights[0]
        product += node.weights["bias"]
        return product
    if node.op == "conv":
        return _convolve(node, value, weights)
    if node.op in POOLS:
        geometry = window(node, "kernel"), window(node, "stride"), padding(node)
        if node.op == "maxpool":
            return largest(value, *geometry)
        rows, columns = value.shape[1:3]
        return np.asarray(
            total(value, *geometry, np.float32) / sizes((rows, columns), *geometry), np.float32
        )
    if node.op == "globalaveragepool":
        return np.asarray(value.mean(axis=(1, 2)), np.float32)
    if node.op == "add":
        return np.asarray(value + inputs[1])
    if node.op in ("flatten", "reshape"):
        return reshaped(value, node.attributes.get("shape"))
    return _activated(node, value)


def _convolve(node: Node, images: Floats, weights: list[Floats]) -> Floats:
    geometry = window(node, "kernel"), window(node, "stride"), padding(node)
    rows, columns = sizes((images.shape[1], images.shape[2]), *geometry).shape[:2]
    out = np.empty((len(images), rows, columns, len(node.weights["bias"])), np.float32)
    width = weights[0].shape[1]
    for part, group, block in blocks_of_columns(images, *geometry, len(weights)):
        target = out[part].reshape(len(block), -1)
        if len(weights) == 1:
            np.matmul(block, weights[0], out=target)
        else:
            target[:, group * width : (group + 1) * width] = block @ weights[group]
    out += node.weights["bias"]
    return out


def _activated(node: Node, value: Floats) -> Floats:
    attributes = node.attributes
    if node.op == "relu":
        return np.maximum(value, np.float32(0))
    if node.op == "clip":
        low, high = np.float32(attributes["low"]), np.float32(attributes["high"])
        return np.asarray(np.clip(value, low, high))
    if node.op == "hardsigmoid":
        line = value * np.float32(attributes["alpha"]) + np.float32(attributes["beta"])
        return np.asarray(np.clip(line, np.float32(0), np.float32(1)))
    slope = attributes.get("slope", node.weights.get("weight"))
    return np.asarray(np.where(value < 0, value * np.asarray(slope, np.float32), value))
