"""Windows of images as rows of a matrix, in blocks, and pooling: for floats and integers alike.

Images are held as (samples, height, width, channels), so that neighbouring pixels of a window are
neighbours in memory and a convolution is a product of rows of pixels with a matrix.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

Array = NDArray[Any]
Pair = tuple[int, int]
Padding = tuple[int, int, int, int]

_COLUMNS = 1 << 20  # bytes of a block of columns, which are to stay in cache


def channels_last(images: Array) -> Array:
    """Return (samples, channels, height, width) as (samples, height, width, channels)."""
    return images.transpose(0, 2, 3, 1) if images.ndim == 4 else images


def channels_first(values: Array) -> Array:
    """Return (samples, height, width, channels) as (samples, channels, height, width)."""
    return values.transpose(0, 3, 1, 2) if values.ndim == 4 else values


def reshaped(values: Array, shape: tuple[int, ...] | None) -> Array:
    """Return values, channels last, in another shape as ONNX counts it; flat if there is none."""
    rows = channels_first(values).reshape(len(values), -1)
    return rows if shape is None else channels_last(rows.reshape(len(values), *shape))


def pad(images: Array, padding: Padding, value: float = 0) -> Array:
    """Return images with a frame: top, left, bottom, right."""
    top, left, bottom, right = padding
    if not any(padding):
        return images
    samples, rows, columns, channels = images.shape
    shape = samples, rows + top + bottom, columns + left + right, channels
    padded = np.full(shape, value, images.dtype) if value else np.zeros(shape, images.dtype)
    padded[:, top : top + rows, left : left + columns] = images
    return padded


def blocks_of_columns(
    images: Array, kernel: Pair, stride: Pair, padding: Padding, groups: int
) -> Iterator[tuple[slice, int, Array]]:
    """Yield the windows of images as rows, a block of samples and a group of channels at a time.

    Parameters
    ----------
    images : ndarray, shape (samples, height, width, channels)
        Of any type.
    kernel, stride, padding, groups
        Of the convolution.

    Yields
    ------
    samples : slice
        Of which samples.
    group : int
        Of which group of channels.
    columns : ndarray, shape (windows, kernel height * kernel width * channels / groups)
        Valid until the next one is asked for.
    """
    samples, _, _, channels = images.shape
    inner = channels // groups
    if kernel == (1, 1) == stride and groups == 1 and not any(padding):
        yield slice(0, samples), 0, images.reshape(-1, channels)
        return
    rows, columns = _lengths(images.shape[1:3], kernel, stride, padding)
    width = kernel[0] * kernel[1] * inner
    step = max(1, _COLUMNS // (rows * columns * width * images.itemsize))
    buffer = np.empty((min(step, samples), rows, columns, *kernel, inner), images.dtype)
    for start in range(0, samples, step):
        part = slice(start, min(start + step, samples))
        block = buffer[: part.stop - start]
        windows = _windows(pad(images[part], padding), stride, (*block.shape[:5], channels))
        for group in range(groups):
            np.copyto(block, windows[..., group * inner : (group + 1) * inner])
            yield part, group, block.reshape(-1, width)


def _windows(images: Array, stride: Pair, shape: tuple[int, ...]) -> Array:
    """View windows of images: (samples, rows, columns, kernel height, kernel width, channels)."""
    sample, row, column, channel = images.strides
    strides = sample, row * stride[0], column * stride[1], row, column, channel
    return as_strided(images, shape, strides, writeable=False)


def windows_at(images: Array, kernel: Pair, stride: Pair, padding: Padding) -> Iterator[Array]:
    """Yield, for each place in a window, the pixels at that place of all windows.

    ``images`` must be padded already; ``padding`` only tells how many windows there are.
    """
    top, left, bottom, right = padding
    inner = images.shape[1] - top - bottom, images.shape[2] - left - right
    rows, columns = _lengths(inner, kernel, stride, padding)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            yield images[
                :,
                i : i + stride[0] * (rows - 1) + 1 : stride[0],
                j : j + stride[1] * (columns - 1) + 1 : stride[1],
            ]


def largest(images: Array, kernel: Pair, stride: Pair, padding: Padding) -> Array:
    """Return the largest pixel of each window; what lies in the padding never is."""
    least = np.iinfo(images.dtype).min if images.dtype.kind in "iu" else -np.inf
    places = windows_at(pad(images, padding, least), kernel, stride, padding)
    found = next(places).copy()
    for place in places:
        np.maximum(found, place, out=found)
    return found


def total(images: Array, kernel: Pair, stride: Pair, padding: Padding, dtype: Any) -> Array:
    """Return the sum of the pixels of each window, in ``dtype``."""
    found: Array | int = 0
    for place in windows_at(pad(images, padding), kernel, stride, padding):
        found = np.add(found, place, dtype=dtype)
    return np.asarray(found)


def sizes(
    shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Padding
) -> NDArray[np.float32]:
    """Return how many pixels of each window lie in the image, shape (rows, columns, 1)."""
    ones = np.ones((1, *shape, 1), np.float32)
    return np.asarray(total(ones, kernel, stride, padding, np.float32)[0], np.float32)


def _lengths(shape: Pair, kernel: Pair, stride: Pair, padding: Padding) -> Pair:
    padded = shape[0] + padding[0] + padding[2], shape[1] + padding[1] + padding[3]
    return (padded[0] - kernel[0]) // stride[0] + 1, (padded[1] - kernel[1]) // stride[1] + 1
