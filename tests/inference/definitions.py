"""Layers as they are defined, pixel by pixel, for comparison: slow, and in no way layered."""

import numpy as np


def windows(images, geometry, value=0):
    """All windows of images, channels last: (samples, rows, columns, kh, kw, channels)."""
    (kh, kw), (sh, sw) = geometry["kernel"], geometry["stride"]
    top, left, bottom, right = geometry["padding"]
    frame = ((0, 0), (top, bottom), (left, right), (0, 0))
    images = np.pad(images, frame, constant_values=value)
    rows = range(0, images.shape[1] - kh + 1, sh)
    columns = range(0, images.shape[2] - kw + 1, sw)
    return np.stack(
        [np.stack([images[:, i : i + kh, j : j + kw] for j in columns], 1) for i in rows], 1
    )


def weights_at(layer, upgrade):
    """The integer weights of each group of channels, (K, out), as known after an upgrade."""
    groups = [np.zeros(plane.shape, np.int64) for plane in layer.planes[0]]
    for each in range(upgrade + 1):
        for group, matrix in enumerate(groups):
            matrix <<= layer.digit_bits
            for shift, index in layer.new[each]:
                matrix += layer.planes[index][group].astype(np.int64) << shift
    return groups


def sums_of(layer, value, upgrade):
    """The exact sums of a linear layer, int64."""
    groups = weights_at(layer, upgrade)
    if layer.op == "dense":
        return value.astype(np.int64) @ groups[0]
    found, inner = [], value.shape[-1] // len(groups)
    for group, matrix in enumerate(groups):
        part = value[..., group * inner : (group + 1) * inner].astype(np.int64)
        rows = windows(part, layer.geometry)
        found.append(rows.reshape(*rows.shape[:3], -1) @ matrix)
    return np.concatenate(found, axis=-1)


def rescaled(rescale, value, multiplier, offset, counts=None):
    value = value.astype(np.float32) * multiplier
    if counts is not None:
        value = value / counts
    value = value + offset
    if rescale.slopes is not None:
        value = np.where(value < 0, value * rescale.slopes, value)
    value = np.minimum(np.maximum(value, np.float32(rescale.low)), np.float32(rescale.high))
    return value if rescale.grid is None else np.round(value).astype(np.int64)


def evaluate(network, integers, upgrade):
    """The scores of a layered network at an upgrade, from its input's integers."""
    values = [integers.astype(np.int64)]
    for layer in network.layers:
        value = values[layer.inputs[0]]
        rescale = layer.rescale
        if layer.linear:
            out = sums_of(layer, value, upgrade)
            out = rescaled(rescale, out, rescale.multipliers[upgrade], rescale.offsets[upgrade])
        elif layer.op == "maxpool":
            out = windows(value, layer.geometry, np.iinfo(np.int64).min).max(axis=(3, 4))
        elif layer.op == "averagepool":
            inside = windows(np.ones((1, *value.shape[1:3], 1)), layer.geometry).sum(axis=(3, 4))
            out = windows(value, layer.geometry).sum(axis=(3, 4))
            out = rescaled(
                rescale, out, rescale.multipliers[0], rescale.offsets[0], inside.astype(np.float32)
            )
        elif layer.op == "globalaveragepool":
            out = rescaled(
                rescale, value.sum(axis=(1, 2)), rescale.multipliers[0], rescale.offsets[0]
            )
        elif layer.op in ("flatten", "reshape"):
            first = value.transpose(0, 3, 1, 2) if value.ndim == 4 else value
            out = first.reshape(len(value), *layer.geometry.get("shape", (-1,)))
            out = out.transpose(0, 2, 3, 1) if out.ndim == 4 else out
        elif layer.op == "add":
            other = values[layer.inputs[1]].astype(np.float32) * rescale.multipliers[1]
            both = value.astype(np.float32) * rescale.multipliers[0] + other
            out = rescaled(rescale, both, np.float32(1), rescale.offsets[0])
        else:
            out = rescaled(rescale, value, rescale.multipliers[0], rescale.offsets[0])
        values.append(out)
    return values[-1]
