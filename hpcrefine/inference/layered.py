"""A quantised network: integer layers on fixed grids, whose weights sharpen with each upgrade.

Every value between layers is an integer on the grid of its place; every weight is an integer whose
unit shrinks from upgrade to upgrade. A linear layer holds the exact integer product of what it
knows; everything else is a function of that, so that after the last upgrade nothing tells how the
network came there: it equals the same network evaluated in one piece, bit for bit.
"""

import io
import json
import math
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError
from hpcrefine.inference.precision import LIMB_PEAK, Precision

Floats = NDArray[np.float32]
Plane = NDArray[np.int8]
Key = tuple[int, int, int]
Terms = tuple[tuple[int, int], ...]

_VERSION = 1
_VALUES = 1 << 19  # of the largest layer of a block of samples: two megabytes of sums


@dataclass(frozen=True)
class Grid:
    """Where the values of a place lie.

    Attributes
    ----------
    scale : float
        What 1 stands for.
    low, high : int
        The least and the largest value; others end there.
    """

    scale: float
    low: int
    high: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest type that holds them."""
        if self.low >= 0 and self.high <= 255:
            return np.dtype(np.uint8)
        return np.dtype(np.int8 if self.low >= -128 and self.high <= 127 else np.int16)

    @property
    def peak(self) -> int:
        """Bound on the magnitude of a value."""
        return max(-self.low, self.high)


@dataclass(frozen=True)
class Rescale:
    """How sums become values on a grid: ``round(activation(multiplier * sum + offset))``.

    Attributes
    ----------
    grid : Grid or None
        Of the result; None: it stays a float, the sums are scores.
    multipliers, offsets : ndarray of float32, shape (upgrades or inputs, channels or 1)
        In units of the grid.
    slopes : ndarray of float32, shape (channels or 1,), optional
        Below 0.
    low, high : float
        Where the activation is cut off.
    """

    grid: Grid | None
    multipliers: Floats
    offsets: Floats
    slopes: Floats | None
    low: float
    high: float


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes
    ----------
    name, op : str
        Of the node it comes from; a linear one has its activation in it.
    inputs : tuple of int
        0 is the network's input, i + 1 the output of layer i.
    geometry : mapping of str to tuple of int
        kernel, stride, padding of windows and the height and width of their input; shape of a
        reshape.
    shape : tuple of int
        Of its output without the samples, channels last.
    rescale : Rescale or None
        None: values pass as they are, on the input's grid.
    planes : tuple of tuple of ndarray of int8, shape (K, out / groups)
        What a linear layer multiplies with: planes of each group of channels.
    old, new : tuple of tuple of (int, int)
        For each upgrade which planes, each after how many bits of shift, make the weights as known
        before (for changes), and what the upgrade adds to them (for values).
    digit_bits : int
        Bits by which the unit of the sums shrinks with an upgrade.
    wide : bool
        Whether sums need 64 bits.
    """

    name: str
    op: str
    inputs: tuple[int, ...]
    geometry: dict[str, tuple[int, ...]]
    shape: tuple[int, ...]
    rescale: Rescale | None
    planes: tuple[tuple[Plane, ...], ...] = ()
    old: tuple[Terms, ...] = ()
    new: tuple[Terms, ...] = ()
    digit_bits: int = 0
    wide: bool = False

    @property
    def linear(self) -> bool:
        """Whether it multiplies."""
        return bool(self.planes)

    @property
    def sums(self) -> np.dtype[Any]:
        """Type of its sums."""
        return np.dtype(np.int64 if self.wide else np.int32)

    def multiply_adds(self, terms: Terms) -> int:
        """Return the integer multiply-adds of some planes for one sample."""
        outputs = math.prod(self.shape[:-1])
        return sum(outputs * plane.size for _, index in terms for plane in self.planes[index])


@dataclass(frozen=True)
class LayeredNetwork:
    """A network whose answer sharpens with each upgrade; made by :func:`~.quantise.quantise`.

    Attributes
    ----------
    precision : Precision
        How it was quantised.
    input_shape : tuple of int
        Of a sample, as in the network it was made of.
    input_scale, input_offset : float
        Of samples as they are in files.
    input_grid : Grid
        Of scaled samples.
    input_cuts : tuple of int
        For each upgrade how many bits of the input's values it does not know yet.
    layers : tuple of Layer
        In order; the last one's output are the scores.
    """

    precision: Precision
    input_shape: tuple[int, ...]
    input_scale: float
    input_offset: float
    input_grid: Grid
    input_cuts: tuple[int, ...]
    layers: tuple[Layer, ...]

    @property
    def upgrades(self) -> int:
        """How many there are."""
        return self.precision.upgrades

    @property
    def classes(self) -> int:
        """Number of scores of a sample."""
        return self.layers[-1].shape[-1]

    @property
    def natural_block(self) -> int:
        """How many samples keep the largest layer in cache."""
        largest = max(math.prod(self.input_shape), *(math.prod(e.shape) for e in self.layers))
        return max(16, _VALUES // largest)

    @property
    def sharpening(self) -> bool:
        """Whether later upgrades know more of the input."""
        return any(self.input_cuts)

    @property
    def peaks(self) -> tuple[int, int]:
        """Bounds on what kernels multiply: values or changes, shifted or not, and weights."""
        return 255, LIMB_PEAK

    def grid(self, place: int) -> Grid:
        """Return the grid of a layer's input."""
        if place == 0:
            return self.input_grid
        layer = self.layers[place - 1]
        if layer.rescale is None:
            return self.grid(layer.inputs[0])
        if layer.rescale.grid is None:
            raise ValueError("scores are not on a grid")
        return layer.rescale.grid

    def static(self, place: int) -> bool:
        """Say whether a layer's input is the same at all upgrades."""
        return place == 0 and not self.sharpening

    def operations(self, upgrade: int) -> int:
        """Return the integer multiply-adds of an upgrade for one sample.

        Changes and values of more than 8 bits are counted once.
        """
        return sum(
            layer.multiply_adds(layer.new[upgrade])
            + (0 if self.static(layer.inputs[0]) else layer.multiply_adds(layer.old[upgrade]))
            for layer in self.layers
            if layer.linear
        )

    def planes(self) -> Iterator[tuple[Key, Plane]]:
        """Yield everything that is multiplied: (layer, plane, group) and the plane (K, out)."""
        for number, layer in enumerate(self.layers):
            for index, groups in enumerate(layer.planes):
                for group, plane in enumerate(groups):
                    yield (number, index, group), plane

    def to_bytes(self) -> bytes:
        """Return it as the bytes of an .npz file."""
        arrays: dict[str, NDArray[Any]] = {}
        told: dict[str, Any] = {
            "version": _VERSION,
            "precision": asdict(self.precision),
            "input_shape": self.input_shape,
            "input_scale": self.input_scale,
            "input_offset": self.input_offset,
            "input_grid": asdict(self.input_grid),
            "input_cuts": self.input_cuts,
            "layers": [_told(number, each, arrays) for number, each in enumerate(self.layers)],
        }
        buffer = io.BytesIO()
        arrays["told"] = np.frombuffer(json.dumps(told).encode(), np.uint8)
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "LayeredNetwork":
        """Read what :meth:`to_bytes` wrote.

        Raises
        ------
        InputError
            If it is something else.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            told = json.loads(arrays.pop("told").tobytes())
            if told["version"] != _VERSION:
                raise InputError(
                    f"layered network: found version {told['version']}, expected {_VERSION}"
                )
            precision = told["precision"]
            if precision["leading"] is not None:
                precision["leading"] = tuple(precision["leading"])
            return cls(
                precision=Precision(**precision),
                input_shape=tuple(told["input_shape"]),
                input_scale=told["input_scale"],
                input_offset=told["input_offset"],
                input_grid=Grid(**told["input_grid"]),
                input_cuts=tuple(told["input_cuts"]),
                layers=tuple(_layer(n, each, arrays) for n, each in enumerate(told["layers"])),
            )
        except (KeyError, TypeError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"layered network: found {error}, expected the bytes of one") from None


def _told(number: int, layer: Layer, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Describe a layer in words of JSON, and put its arrays with the others."""
    for index, groups in enumerate(layer.planes):
        for group, plane in enumerate(groups):
            arrays[f"{number}/plane/{index}/{group}"] = plane
    told = {
        key: getattr(layer, key)
        for key in ("name", "op", "inputs", "geometry", "shape", "old", "new", "digit_bits", "wide")
    }
    told["planes"] = [len(groups) for groups in layer.planes]
    told["rescale"] = None
    if (rescale := layer.rescale) is not None:
        for key in ("multipliers", "offsets", "slopes"):
            if (array := getattr(rescale, key)) is not None:
                arrays[f"{number}/{key}"] = array
        told["rescale"] = {
            "grid": None if rescale.grid is None else asdict(rescale.grid),
            "low": rescale.low,
            "high": rescale.high,
        }
    return told


def _layer(number: int, told: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Layer:
    rescale, read = None, told["rescale"]
    if read is not None:
        rescale = Rescale(
            None if read["grid"] is None else Grid(**read["grid"]),
            arrays[f"{number}/multipliers"],
            arrays[f"{number}/offsets"],
            arrays.get(f"{number}/slopes"),
            read["low"],
            read["high"],
        )
    planes = tuple(
        tuple(arrays[f"{number}/plane/{index}/{group}"] for group in range(count))
        for index, count in enumerate(told["planes"])
    )
    return Layer(
        told["name"],
        told["op"],
        tuple(told["inputs"]),
        {key: tuple(lengths) for key, lengths in told["geometry"].items()},
        tuple(told["shape"]),
        rescale,
        planes,
        _terms(told["old"]),
        _terms(told["new"]),
        told["digit_bits"],
        told["wide"],
    )


def _terms(told: list[list[list[int]]]) -> tuple[Terms, ...]:
    return tuple(tuple((shift, index) for shift, index in upgrade) for upgrade in told)
