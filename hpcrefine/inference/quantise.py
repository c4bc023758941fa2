"""From a network to a layered one: grids calibrated on samples, weights in digits, layers fused."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError
from hpcrefine.inference.evaluate import evaluate, matrices
from hpcrefine.inference.layered import Floats, Grid, Layer, LayeredNetwork, Plane, Rescale, Terms
from hpcrefine.inference.network import (
    ACTIVATIONS,
    INPUT,
    LINEAR,
    POOLS,
    Network,
    Node,
    Shape,
    padding,
    window,
)
from hpcrefine.inference.precision import (
    LIMB_BITS,
    Digits,
    Precision,
    cut,
    exponent,
    in_digits,
    limbs,
)

_LOOKED_AT = 1000  # samples
_KEPT = 100_000  # values of a place
_SHARES = 2.0 ** (-np.arange(25) / 8)  # of the largest value, tried as where a grid ends
_WIDEST = 1 << 14  # a fixed grid has no end of its own; int16 does


def quantise(network: Network, precision: Precision, calibration: NDArray[Any]) -> LayeredNetwork:
    """Make a layered network.

    Parameters
    ----------
    network : Network
        Trained, in float32.
    precision : Precision
        How finely, and in how many upgrades.
    calibration : ndarray, shape (samples, *input_shape)
        Samples on which the activations' grids are chosen.

    Raises
    ------
    InputError
        If the samples do not fit, or leading exponents are too few.
    """
    network.check_samples(calibration, "calibration")
    if len(calibration) == 0:
        raise InputError("calibration: found no samples, expected at least 1")
    linear = sum(node.op in LINEAR for node in network.nodes)
    if precision.leading is not None and len(precision.leading) != linear:
        raise InputError(
            f"precision: leading: found {len(precision.leading)} exponents, expected {linear}: one "
            "for each dense and conv layer"
        )
    return _Quantiser(network, precision, calibration).network()


class _Quantiser:
    def __init__(self, network: Network, precision: Precision, samples: NDArray[Any]) -> None:
        self._network, self._precision = network, precision
        self._shapes = network.shapes
        self._values = _observe(network, samples)
        self._places = {INPUT: 0}
        self._grids = {INPUT: self._input_grid(samples.dtype)}
        self._layers: list[Layer] = []
        consumers = [name for node in network.scoring for name in node.inputs]
        self._single = {name for name in consumers if consumers.count(name) == 1}

    def network(self) -> LayeredNetwork:
        nodes, precision = self._network.scoring, self._precision
        fused = set()
        for node, following in zip(nodes, [*nodes[1:], None], strict=True):
            if node.name in fused:
                continue
            activation = None
            if following is not None and self._takes_in(node, following):
                activation = following
                fused.add(following.name)
            self._add(node, activation)
        cuts = tuple(
            (precision.upgrades - 1 - upgrade) * precision.digit_bits
            if precision.digits == "truncate"
            else 0
            for upgrade in range(precision.upgrades)
        )
        return LayeredNetwork(
            precision,
            self._network.input_shape,
            self._network.input_scale,
            self._network.input_offset,
            self._grids[INPUT],
            cuts,
            tuple(self._layers),
        )

    def _takes_in(self, node: Node, following: Node) -> bool:
        """Say whether an activation is done where the layer before it is rescaled."""
        rescaled = node.op in LINEAR or node.op in ("add", "averagepool", "globalaveragepool")
        return (
            rescaled
            and following.op in ACTIVATIONS
            and following.inputs == (node.name,)
            and node.name in self._single
        )

    def _add(self, node: Node, activation: Node | None) -> None:
        out = (activation or node).name
        inputs = tuple(self._places[name] for name in node.inputs)
        shape = _last(self._shapes[node.name])
        geometry = _geometry(node, self._shapes[node.inputs[0]])
        rescale = None
        parts: dict[str, Any] = {}
        if node.op not in ("maxpool", "flatten", "reshape"):
            grid = None if out == self._network.scoring[-1].name else self._grid(out)
            if node.op in LINEAR:
                digits, biases = self._digits(node)
                parts = self._planes(node, digits)
                rescale = self._linear(node, digits, biases, grid, activation)
            else:
                rescale = self._elementwise(node, grid, activation)
            if grid is not None:
                self._grids[out] = grid
        else:
            self._grids[out] = self._grids[node.inputs[0]]
        self._layers.append(Layer(node.name, node.op, inputs, geometry, shape, rescale, **parts))
        self._places[out] = self._places[node.name] = len(self._layers)

    def _input_grid(self, dtype: np.dtype[Any]) -> Grid:
        network, precision = self._network, self._precision
        if precision.digits == "truncate":
            peak = (1 << precision.bits) - 1
            low = -peak if self._values[INPUT].min() < 0 else 0
            return Grid(2.0 ** (precision.input_leading - precision.bits), low, peak)
        if dtype == np.uint8 and network.input_offset == 0 and precision.grid_bits >= 8:
            return Grid(network.input_scale, 0, 255)
        return _calibrated(self._values[INPUT], precision.grid_bits)

    def _grid(self, name: str) -> Grid:
        if self._precision.digits == "truncate":
            return Grid(2.0**self._precision.grid, -_WIDEST, _WIDEST)
        return _calibrated(self._values[name], self._precision.grid_bits)

    def _digits(self, node: Node) -> tuple[list[Digits], NDArray[np.float64]]:
        """Cut weights; return them by groups, and the bias at each upgrade, (upgrades, out)."""
        precision, bias = self._precision, node.weights["bias"].astype(np.float64)
        leading = max(exponent(node.weights["weight"]), exponent(bias))
        if precision.leading is not None:
            leading = precision.leading[sum(layer.linear for layer in self._layers)]
        digits = [in_digits(matrix, precision, leading) for matrix in matrices(node)]
        if precision.digits == "balanced":
            return digits, np.tile(bias, (precision.upgrades, 1))
        places = leading - precision.digit_bits * np.arange(1, precision.upgrades + 1)
        cuts = [cut(bias, int(place), leading) * 2.0**place for place in places]
        return digits, np.array(cuts)

    def _planes(self, node: Node, digits: list[Digits]) -> dict[str, Any]:
        """Write the weights in planes, each once, and say what the upgrades do with them."""
        planes: list[tuple[Plane, ...]] = []
        old: list[Terms] = []
        new: list[Terms] = []
        bits, largest = self._precision.digit_bits, 0
        peak = self._grids[node.inputs[0]].peak + 1
        before = [np.zeros_like(each.values[0]) for each in digits]
        for upgrade in range(self._precision.upgrades):
            now = [each.values[upgrade] for each in digits]
            added = [known - (less << bits) for known, less in zip(now, before, strict=True)]
            old.append(_terms(before, planes) if upgrade else ())
            new.append(_terms(added, planes))
            # changes are up to twice a value, and parts of a sum up to twice the sum
            known, more = _columns(before), _columns(added)
            largest = max(largest, 5 * known * peak, ((known << bits) + 2 * more) * peak)
            before = now
        return {
            "planes": tuple(planes),
            "old": tuple(old),
            "new": tuple(new),
            "digit_bits": bits,
            "wide": largest >= 2**31,
        }

    def _linear(
        self,
        node: Node,
        digits: list[Digits],
        biases: NDArray[np.float64],
        grid: Grid | None,
        activation: Node | None,
    ) -> Rescale:
        unit = self._grids[node.inputs[0]].scale
        channels = len(node.weights["bias"]) // len(digits)
        scales = [
            np.concatenate([np.broadcast_to(each.scales[upgrade], channels) for each in digits])
            for upgrade in range(self._precision.upgrades)
        ]
        return _rescale(np.array(scales) * unit, biases, grid, activation)

    def _elementwise(self, node: Node, grid: Grid | None, activation: Node | None) -> Rescale:
        """Rescale the sum of a pool or of two inputs, or the values that an activation takes."""
        scales = np.array([[self._grids[name].scale] for name in node.inputs])
        if node.op == "globalaveragepool":
            scales /= math.prod(self._shapes[node.inputs[0]][1:])
        nothing = np.zeros((1, 1))
        return _rescale(scales, nothing, grid, node if node.op in ACTIVATIONS else activation)


def _rescale(
    scales: NDArray[np.float64],
    offsets: NDArray[np.float64],
    grid: Grid | None,
    activation: Node | None,
) -> Rescale:
    """Put an activation in units of a grid."""
    unit = 1.0 if grid is None else grid.scale
    low, high = (-np.inf, np.inf) if grid is None else (grid.low, grid.high)
    slopes = None
    if activation is not None:
        attributes = activation.attributes
        if activation.op == "hardsigmoid":
            alpha, beta = attributes["alpha"], attributes["beta"]
            scales, offsets = scales * alpha, offsets * alpha + beta
        least, most = _ENDS.get(activation.op, (-np.inf, np.inf))
        if activation.op == "clip":
            least, most = attributes["low"], attributes["high"]
        low, high = max(low, least / unit), min(high, most / unit)
        if activation.op in ("leakyrelu", "prelu"):
            slopes = np.atleast_1d(attributes.get("slope", activation.weights.get("weight")))
            slopes = slopes.astype(np.float32)
    return Rescale(
        grid,
        (scales / unit).astype(np.float32),
        (offsets / unit).astype(np.float32),
        slopes,
        float(low),
        float(high),
    )


_ENDS = {"relu": (0.0, np.inf), "hardsigmoid": (0.0, 1.0)}


def _terms(values: list[NDArray[np.int64]], planes: list[tuple[Plane, ...]]) -> Terms:
    """Write integers, a matrix for each group, in planes; return which, and their shifts."""
    found = []
    parts = [limbs(each) for each in values]
    for number in range(max(map(len, parts))):
        plane = tuple(
            part[number] if number < len(part) else np.zeros_like(part[0]) for part in parts
        )
        found.append((LIMB_BITS * number, _place(plane, planes)))
    return tuple(found)


def _place(plane: tuple[Plane, ...], planes: list[tuple[Plane, ...]]) -> int:
    """Return where a plane stands among those that there are, added if it is new."""
    for index, known in enumerate(planes):
        if all(map(np.array_equal, known, plane)):
            return index
    planes.append(tuple(map(np.ascontiguousarray, plane)))
    return len(planes) - 1


def _columns(values: list[NDArray[np.int64]]) -> int:
    """Return the largest sum of magnitudes of a column."""
    return max(int(np.abs(each).sum(axis=0).max()) for each in values)


def _observe(network: Network, samples: NDArray[Any]) -> dict[str, Floats]:
    """Return values of each node as they occur, the extremes among them."""
    samples = samples[:: max(1, len(samples) // _LOOKED_AT)]
    seen: dict[str, list[Floats]] = {}

    def look(name: str, values: Floats) -> None:
        step = max(1, values.size * len(samples) // len(values) // _KEPT)
        few = [values.ravel()[::step], np.array([values.min(), values.max()])]
        seen.setdefault(name, []).extend(few)

    evaluate(network, samples, look=look)
    return {name: np.concatenate(parts) for name, parts in seen.items()}


def _calibrated(values: Floats, bits: int) -> Grid:
    """Return the grid on which values err least in the mean square."""
    high = (1 << bits) - 1 if values.min() >= 0 else (1 << (bits - 1)) - 1
    low = 0 if values.min() >= 0 else -high
    peak = float(np.abs(values).max())
    if peak == 0:
        return Grid(1.0, low, high)
    errors = []
    for scale in peak * _SHARES / high:
        rounded = np.clip(np.rint(values / scale), low, high) * scale
        errors.append(float(np.square(rounded - values).mean()))
    return Grid(float(peak * _SHARES[int(np.argmin(errors))] / high), low, high)


def _geometry(node: Node, shape: Shape) -> dict[str, tuple[int, ...]]:
    if node.op in ("conv", *POOLS):
        return {
            "input": shape[1:],
            "kernel": window(node, "kernel"),
            "stride": window(node, "stride"),
            "padding": padding(node),
        }
    if node.op == "reshape":
        return {"shape": tuple(node.attributes["shape"])}
    return {}


def _last(shape: Shape) -> Shape:
    """Return a shape with the channels last."""
    return (*shape[1:], shape[0]) if len(shape) == 3 else shape
