"""Random networks of every layer there is, and how their layers are defined."""

import numpy as np
from hypothesis import strategies as st

from hpcrefine.inference.network import INPUT, Network, Node, output_shape

ACTIVATIONS = ("relu", "leakyrelu", "prelu", "clip", "hardsigmoid")


class Builder:
    """Adds nodes one after the other, with random weights of about unit gain."""

    def __init__(self, seed, shape):
        self.random = np.random.default_rng(seed)
        self.shape, self.nodes, self.last = shape, [], INPUT

    def add(self, op, inputs=None, weights=None, **attributes):
        name = f"{op}{len(self.nodes)}"
        weights = {key: np.asarray(w, np.float32) for key, w in (weights or {}).items()}
        node = Node(name, op, inputs or (self.last,), attributes, weights)
        self.nodes.append(node)
        self.last = name
        self.shape = output_shape(node, [self.shape] * len(node.inputs))
        return name

    def weight(self, *shape):
        return self.random.normal(size=shape) / np.sqrt(np.prod(shape[1:]))

    def dense(self, out):
        weights = {"weight": self.weight(out, *self.shape), "bias": self.random.normal(size=out)}
        return self.add("dense", weights=weights)

    def conv(self, out, kernel, stride=(1, 1), padding=(0, 0, 0, 0), groups=1):
        weight = self.weight(out, self.shape[0] // groups, *kernel)
        weights = {"weight": weight, "bias": self.random.normal(size=out) / 4}
        return self.add("conv", weights=weights, stride=stride, padding=padding, groups=groups)

    def activation(self, op):
        attributes = {
            "leakyrelu": {"slope": 0.1},
            "clip": {"low": -1.0, "high": 1.0},
            "hardsigmoid": {"alpha": 0.2, "beta": 0.5},
        }.get(op, {})
        slopes = self.random.uniform(-0.5, 1.5, self.shape[0])
        return self.add(op, weights={"weight": slopes} if op == "prelu" else None, **attributes)


def windowed(draw, builder):
    rows, columns = builder.shape[1:]
    kernel = tuple(draw(st.integers(1, min(3, length))) for length in (rows, columns))
    stride = tuple(draw(st.integers(1, 2)) for _ in range(2))
    padding = tuple(draw(st.integers(0, side - 1)) for side in (*kernel, *kernel))
    return kernel, stride, padding


def add_block(draw, builder):
    kind = draw(st.sampled_from(["conv", "maxpool", "averagepool", "residual", "activation"]))
    if kind == "conv":
        kernel, stride, padding = windowed(draw, builder)
        channels = builder.shape[0]
        groups = draw(st.sampled_from([g for g in (1, 2, 3) if channels % g == 0]))
        builder.conv(groups * draw(st.integers(1, 3)), kernel, stride, padding, groups)
    elif kind == "residual":
        before = builder.last
        builder.conv(builder.shape[0], (3, 3), padding=(1, 1, 1, 1))
        builder.add("add", (builder.last, before))
    elif kind == "activation":
        builder.activation(draw(st.sampled_from(ACTIVATIONS)))
    else:
        kernel, stride, padding = windowed(draw, builder)
        builder.add(kind, kernel=kernel, stride=stride, padding=padding)
    if draw(st.booleans()):
        builder.activation(draw(st.sampled_from(ACTIVATIONS)))


@st.composite
def networks(draw):
    """A random network, images or not, that ends in 1 to 4 scores."""
    shape = draw(st.sampled_from([(5,), (1, 6, 5), (2, 5, 7), (3, 4, 4)]))
    builder = Builder(draw(st.integers(0, 2**32)), shape)
    if len(shape) == 3:
        for _ in range(draw(st.integers(1, 4))):
            add_block(draw, builder)
        if draw(st.booleans()):
            builder.add("globalaveragepool")
        elif draw(st.booleans()):
            builder.add("reshape", shape=(int(np.prod(builder.shape)),))
        else:
            builder.add("flatten")
    for _ in range(draw(st.integers(0, 2))):
        builder.dense(draw(st.integers(1, 6)))
        builder.activation(draw(st.sampled_from(ACTIVATIONS)))
    builder.dense(draw(st.integers(1, 4)))
    if draw(st.booleans()):
        builder.add("softmax")
    unsigned = draw(st.booleans())
    scale, offset = (1 / 255, 0.0) if unsigned else (1.0, 0.25)
    return Network(shape, tuple(builder.nodes), scale, offset)


def make_samples(network, count, seed=0):
    """Random samples: bytes where the network expects them, else normal numbers."""
    random = np.random.default_rng(seed)
    if network.input_offset == 0:
        return random.integers(0, 256, (count, *network.input_shape), dtype=np.uint8)
    return random.normal(size=(count, *network.input_shape)).astype(np.float32)
