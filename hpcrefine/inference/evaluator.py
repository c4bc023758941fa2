"""Layered evaluation: each upgrade takes changes, gives changes, and computes nothing twice.

For a linear layer with sums ``z = W h`` an upgrade finds new values ``h'`` and new weights
``W' = 2**b W + D`` (b bits more). It adds the change times what was known of the weights, moves to
the new unit, and adds what is new of the weights times the new values::

    z' = 2**b (z + W (h' - h)) + D h'

which is the update of the published method, in exact integers. What follows a sum, rescaling, an
activation, pooling, is a function of it, evaluated where the sum is in cache.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError
from hpcrefine.inference.columns import (
    blocks_of_columns,
    channels_last,
    largest,
    reshaped,
    sizes,
    total,
)
from hpcrefine.inference.layered import Floats, Key, Layer, LayeredNetwork, Rescale, Terms
from hpcrefine.inference.precision import LIMB_PEAK, addends
from hpcrefine.inference.state import Piece, State
from hpcrefine.kernels import Kernel

Values = NDArray[Any]
Decide = Callable[[Floats, int], NDArray[np.bool_]]

_SHIFT = 128  # makes signed values unsigned


class Multiplier(Protocol):
    """Multiplies by the planes of one network."""

    def multiply(self, key: Key, a: Values, out: Values, accumulate: bool) -> None:
        """Compute ``out = a @ plane`` or ``out += a @ plane`` exactly.

        Parameters
        ----------
        key : (int, int, int)
            Which plane, as :meth:`~.layered.LayeredNetwork.planes` numbers them.
        a : ndarray of uint8 or int8, shape (rows, K)
            Values or changes.
        out : ndarray of int32 or int64, shape (rows, out)
            Sums.
        accumulate : bool
            Whether to add to them.
        """


class LocalMultiplier:
    """Multiplies here, with a kernel.

    Parameters
    ----------
    network : LayeredNetwork
        Whose planes.
    kernel : Kernel
        Exact for the network's ``peaks``.

    Attributes
    ----------
    multiply_adds : int
        Done so far.
    """

    def __init__(self, network: LayeredNetwork, kernel: Kernel) -> None:
        self._kernel = kernel
        self._planes = {key: kernel.load(plane) for key, plane in network.planes()}
        self._shifts = {
            key: -_SHIFT * plane.sum(axis=0, dtype=np.int32) for key, plane in network.planes()
        }
        self.multiply_adds = 0

    def multiply(self, key: Key, a: Values, out: Values, accumulate: bool) -> None:
        """Compute ``out = a @ plane`` or ``out += a @ plane`` exactly."""
        plane, offset = self._planes[key], None
        self.multiply_adds += a.shape[0] * plane.size
        if a.dtype == np.int8 and self._kernel.prefers_unsigned:
            a, offset = a.view(np.uint8) ^ np.uint8(_SHIFT), self._shifts[key]
        peak = (255 if a.dtype == np.uint8 else 128) * LIMB_PEAK
        self._kernel.multiply(
            self._kernel.load(a), plane, out, peak=peak, accumulate=accumulate, offset=offset
        )


class Evaluator:
    """Evaluates a layered network, upgrade by upgrade.

    Parameters
    ----------
    network : LayeredNetwork
        The network.
    multiplier : Multiplier
        What does its products.
    block : int, optional
        Samples that go through all layers together; default as many as keep a layer in cache.
    """

    def __init__(
        self, network: LayeredNetwork, multiplier: Multiplier, block: int | None = None
    ) -> None:
        self.network, self._multiplier = network, multiplier
        self._block = block or network.natural_block
        self._scratch = np.empty(0, np.float32)
        self._counts = {
            number: sizes(layer.geometry["input"], *_window(layer))
            for number, layer in enumerate(network.layers)
            if layer.op == "averagepool"
        }

    def begin(self, samples: Values) -> State:
        """Return the state of samples of which nothing is known yet.

        Parameters
        ----------
        samples : ndarray, shape (samples, *input_shape)
            As they are in files.

        Raises
        ------
        InputError
            If they do not fit the network.
        """
        if samples.shape[1:] != self.network.input_shape:
            raise InputError(
                f"samples: found shape {samples.shape}, expected (samples, "
                f"{', '.join(map(str, self.network.input_shape))})"
            )
        return State([Piece(np.ascontiguousarray(samples))] if len(samples) else [], 0)

    def upgrade(self, state: State, decide: Decide | None = None) -> Floats:
        """Bring samples to the next upgrade.

        Parameters
        ----------
        state : State
            Of the samples; afterwards of those that were not decided.
        decide : callable, optional
            Told scores and upgrade, it says for each sample whether it leaves; default: nobody.

        Returns
        -------
        ndarray of float32, shape (samples, classes)
            Scores of all samples that came in.
        """
        upgrade, last = state.upgrades, state.upgrades + 1 == self.network.upgrades
        scores = [np.empty((0, self.network.classes), np.float32)]
        kept = []
        for piece in state.regrouped(self._block):
            scores.append(self._pass(piece, upgrade))
            if last:
                continue
            if decide is not None:
                piece = piece.take(np.flatnonzero(~decide(scores[-1], upgrade)))
            if len(piece):
                kept.append(piece)
        state.replace(kept)
        return np.concatenate(scores)

    def oneshot(self, samples: Values) -> Floats:
        """Return the scores of the last upgrade, evaluated in one piece."""
        scores = [np.empty((0, self.network.classes), np.float32)]
        upgrade = self.network.upgrades - 1
        pieces = self.begin(samples).regrouped(self._block)
        scores.extend(self._pass(piece, upgrade, whole=True) for piece in pieces)
        return np.concatenate(scores)

    def _pass(self, piece: Piece, upgrade: int, *, whole: bool = False) -> Floats:
        """Take a piece through all layers; ``whole``: multiply by all of the weights at once."""
        network = self.network
        values: list[Values] = [self._input(piece.samples, upgrade)]
        for number, layer in enumerate(network.layers):
            inputs = [values[place] for place in layer.inputs]
            if layer.linear:
                sums = self._sums(piece, number, inputs[0], upgrade, whole=whole)
                values.append(self._rescaled(layer, [sums], upgrade))
            else:
                values.append(self._passed_on(number, layer, inputs))
        scores = values[-1]
        if scores.dtype != np.float32:
            scores = scores * np.float32(network.grid(len(network.layers)).scale)
        return np.asarray(scores, np.float32)

    def _input(self, samples: Values, upgrade: int) -> Values:
        """Return samples on the input's grid, as far as an upgrade knows them."""
        network, grid = self.network, self.network.input_grid
        images = channels_last(samples)
        offset, scale = network.input_offset, network.input_scale
        if images.dtype == np.uint8 and offset == 0 and scale == grid.scale and grid.high == 255:
            return images
        values = np.multiply(images, np.float32(scale), dtype=np.float32) + np.float32(offset)
        values /= np.float32(grid.scale)
        (np.trunc if network.precision.digits == "truncate" else np.rint)(values, out=values)
        np.clip(values, np.float32(grid.low), np.float32(grid.high), out=values)
        integers = values.astype(grid.dtype)
        if hidden := network.input_cuts[upgrade]:
            magnitudes = np.abs(integers) >> hidden << hidden
            integers = np.asarray(np.sign(integers) * magnitudes, grid.dtype)
        return integers

    def _sums(
        self, piece: Piece, number: int, values: Values, upgrade: int, *, whole: bool
    ) -> Values:
        layer = self.network.layers[number]
        if whole:
            sums = self._nothing(layer, len(values))
            for each in range(upgrade + 1):
                if each:
                    sums <<= layer.digit_bits
                self._add(number, layer.new[each], values, sums, fresh=each == 0)
            return sums
        static = self.network.static(layer.inputs[0])
        if upgrade == 0:
            sums = self._nothing(layer, len(values))
        else:
            sums = piece.sums[number]
            if not static:
                changes = np.subtract(values, piece.seen[number], dtype=np.int16)
                self._add(number, layer.old[upgrade], changes, sums)
            sums <<= layer.digit_bits
        self._add(number, layer.new[upgrade], values, sums, fresh=upgrade == 0)
        piece.sums[number] = sums
        if not static:
            piece.seen[number] = values
        return sums

    def _nothing(self, layer: Layer, samples: int) -> Values:
        return np.empty((samples, *layer.shape), layer.sums)

    def _add(
        self, number: int, terms: Terms, values: Values, sums: Values, *, fresh: bool = False
    ) -> None:
        """Add the products of values with planes; ``fresh``: there is nothing to add to yet."""
        for bits, part in addends(values):
            few: Any = slice(None)
            if bits:  # what is beyond 8 bits is rare
                few = np.flatnonzero(part.reshape(len(part), -1).any(axis=1))
                part = part[few]
            for shift, plane in terms:
                if bits + shift == 0:
                    self._multiply(number, plane, part, sums, accumulate=not fresh)
                elif len(part):
                    more = np.empty((len(part), *sums.shape[1:]), sums.dtype)
                    self._multiply(number, plane, part, more, accumulate=False)
                    more <<= bits + shift
                    sums[few] += more
                fresh = False

    def _multiply(
        self, number: int, plane: int, values: Values, sums: Values, *, accumulate: bool
    ) -> None:
        layer = self.network.layers[number]
        groups = len(layer.planes[plane])
        if layer.op == "dense":
            self._multiplier.multiply((number, plane, 0), values, sums, accumulate)
            return
        width = layer.shape[-1] // groups
        for part, group, columns in blocks_of_columns(values, *_window(layer), groups):
            out = sums[part].reshape(len(columns), -1)[:, group * width : (group + 1) * width]
            self._multiplier.multiply((number, plane, group), columns, out, accumulate)

    def _passed_on(self, number: int, layer: Layer, inputs: Sequence[Values]) -> Values:
        """Return the output of a layer without weights."""
        first = inputs[0]
        if layer.op == "maxpool":
            return largest(first, *_window(layer))
        if layer.op in ("flatten", "reshape"):
            return reshaped(first, layer.geometry.get("shape"))
        if layer.op == "averagepool":
            sums = total(first, *_window(layer), np.int32)
            return self._rescaled(layer, [sums], counts=self._counts[number])
        if layer.op == "globalaveragepool":
            return self._rescaled(layer, [first.sum(axis=(1, 2), dtype=np.int32)])
        return self._rescaled(layer, inputs)

    def _rescaled(
        self, layer: Layer, inputs: Sequence[Values], first: int = 0, counts: Floats | None = None
    ) -> Values:
        if layer.rescale is None:
            raise ValueError(f"{layer.name} changes values, but nothing says how")
        if self._scratch.size < inputs[0].size:
            self._scratch = np.empty(inputs[0].size, np.float32)
        return rescaled(layer.rescale, inputs, self._scratch, first, counts)


def _window(layer: Layer) -> tuple[Any, Any, Any]:
    geometry = layer.geometry
    return geometry["kernel"], geometry["stride"], geometry["padding"]


def rescaled(
    rescale: Rescale,
    inputs: Sequence[Values],
    scratch: Floats,
    first: int = 0,
    counts: Floats | None = None,
) -> Values:
    """Return what a layer makes of sums, or of the values of its inputs.

    The order of the operations is fixed: it decides the last bit of what is rounded.

    Parameters
    ----------
    rescale : Rescale
        How.
    inputs : sequence of ndarray of integers
        One, or several that are added up.
    scratch : ndarray of float32, at least as large as an input
        Is overwritten.
    first : int
        Row of the multipliers and offsets for the first input; the next ones follow.
    counts : ndarray of float32, optional
        What is divided by.

    Returns
    -------
    ndarray of the grid's type, or of float32
        Values on the grid, or scores.
    """
    value = scratch[: inputs[0].size].reshape(inputs[0].shape)
    np.multiply(
        inputs[0], rescale.multipliers[first], out=value, dtype=np.float32, casting="unsafe"
    )
    for place, more in enumerate(inputs[1:], start=first + 1):
        value += np.multiply(more, rescale.multipliers[place], dtype=np.float32, casting="unsafe")
    if counts is not None:
        value /= counts
    value += rescale.offsets[first]
    if rescale.slopes is not None:
        below = np.minimum(value, np.float32(0))
        below *= rescale.slopes
        np.maximum(value, np.float32(0), out=value)
        value += below
    np.clip(value, np.float32(rescale.low), np.float32(rescale.high), out=value)
    if rescale.grid is None:
        return value.copy()
    np.rint(value, out=value)
    return value.astype(rescale.grid.dtype)
