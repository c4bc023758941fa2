"""The samples of an inference job: what they are, cheaply, and their images and labels.

They come from files (:mod:`hpcrefine.inputs.formats`); images keep their element type, uint8 above
all. Headers are read without the data, so that a job that cannot run says so at once.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError
from hpcrefine.inference.files import load_network
from hpcrefine.inference.network import Network, Shape
from hpcrefine.inference.rules import smallest_split
from hpcrefine.inputs import formats
from hpcrefine.job import CalibrationSection, FileArray, InferenceJob, Setting

Split = Literal["samples", "calibration"]

_SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True)
class Samples:
    """Samples of a network.

    Attributes
    ----------
    images : ndarray, shape (n, *input_shape)
        With the element type of their source.
    labels : ndarray of int64, shape (n,), optional
        Their classes, from 0.
    """

    images: NDArray[Any]
    labels: NDArray[np.int64] | None


def check(job: InferenceJob) -> int:
    """Check a job's network, and its samples against it, reading only their headers.

    Returns
    -------
    int
        Samples that the network is evaluated for.

    Raises
    ------
    InputError
        If the network cannot be loaded or samples are none of it: one of its files cannot be read,
        images have another shape, there are no or more or fewer labels, or labels that are no
        integers; or a calibration split is too small for what it is to show.
    """
    network = read_network(job)
    count, held_out = (_count(job, split, network) for split in _SPLITS)
    for label, setting in job.settings:
        _check_calibration(job, label, setting, held_out)
    return count


def _check_calibration(job: InferenceJob, label: str, setting: Setting, held_out: int) -> None:
    asked, early = setting.adaptive, setting.precision.upgrades - 1
    if asked.rule != "calibrated":
        return
    least = smallest_split(asked.epsilon, asked.confidence, early)
    if held_out < least:
        raise InputError(
            f"{job.where('calibration', 'images')}: found {held_out} samples, expected at least "
            f"{least} for {job.where_setting(label, 'adaptive', 'epsilon').partition(': ')[2]} = "
            f"{asked.epsilon:g} with {100 * asked.confidence:g} % confidence"
        )


def read_network(job: InferenceJob) -> Network:
    """Load a job's network.

    Raises
    ------
    InputError
        If it cannot be loaded, or its decision is not the one that labels are made for.
    """
    try:
        network = load_network(job.base / job.network.file)
    except InputError as error:
        raise InputError(f"{job.where('network', 'file')}: {error}") from None
    for label, setting in job.settings:
        _check_setting(job, label, setting, network)
    if job.samples.classes == "even" and network.classes > 1:
        raise InputError(
            f'{job.where("samples", "classes")}: found "even" with a network of {network.classes} '
            "classes, expected one with a binary decision (one score)"
        )
    return network


def _check_setting(job: InferenceJob, label: str, setting: Setting, network: Network) -> None:
    if setting.adaptive.rule == "interval" and network.classes > 1:
        where = job.where_setting(label, "adaptive", "rule")
        raise InputError(
            f'{where}: found "interval" with a network of {network.classes} classes, expected one '
            "with a binary decision (one score)"
        )
    layers = len(network.operations())
    leading = setting.precision.leading
    if leading is not None and len(leading) != layers:
        where = job.where_setting(label, "precision", "leading")
        raise InputError(
            f"{where}: found {len(leading)} exponents, expected {layers}, one for each layer with "
            "weights"
        )


def read(job: InferenceJob, split: Split, network: Network) -> Samples:
    """Read samples of a job's network.

    Parameters
    ----------
    job : InferenceJob
        The job.
    split : {"samples", "calibration"}
        Which of its sections.
    network : Network
        From :func:`read_network`.

    Raises
    ------
    InputError
        As :func:`check`, and if images hold NaN or infinity, or a label is none of the classes.
    """
    count, section = _count(job, split, network), _section(job, split)
    with _named(job, split, "images"):
        images = _data(section.images, job.base)
        images = np.ascontiguousarray(images).reshape(count, *network.input_shape)
        network.check_samples(images, str(job.base / section.images.file))
    if section.labels is None:
        return Samples(images, None)
    with _named(job, split, "labels"):
        labels = _data(section.labels, job.base).reshape(count).astype(np.int64)
        if job.samples.classes == "even":
            return Samples(images, np.asarray(labels % 2 == 0, np.int64))
        classes = max(2, network.classes)
        wrong = np.flatnonzero((labels < 0) | (labels >= classes))
        if len(wrong):
            raise InputError(
                f"{job.base / section.labels.file}: found label {labels[wrong[0]]} at "
                f"{wrong[0]}, expected 0..{classes - 1}, the classes of the network"
            )
    return Samples(images, labels)


def _section(job: InferenceJob, split: Split) -> CalibrationSection:
    return job.samples if split == "samples" else job.calibration


@contextmanager
def _named(job: InferenceJob, split: Split, key: str) -> Iterator[None]:
    """Say in which job file and under which key a mistake was met."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{job.where(split, key)}: {error}") from None


def _count(job: InferenceJob, split: Split, network: Network) -> int:
    """Check headers; return how many samples there are."""
    section = _section(job, split)
    with _named(job, split, "images"):
        count = _count_images(section.images, job.base, network.input_shape)
    if section.labels is not None:
        with _named(job, split, "labels"):
            _check_labels(section.labels, job.base, count)
    return count


def _count_images(spec: FileArray, base: Path, input_shape: Shape) -> int:
    path = base / spec.file
    shape, _ = formats.describe(path, spec.dataset, spec.rows)
    if len(shape) < 2 or not _same_shape(shape[1:], input_shape):
        expected = ", ".join(map(str, input_shape))
        raise InputError(f"{path}: found images of shape {shape}, expected (samples, {expected})")
    if shape[0] == 0:
        raise InputError(f"{path}: found no images, expected at least one")
    return shape[0]


def _same_shape(found: Shape, expected: Shape) -> bool:
    """Say whether samples are of a shape but for axes of length 1, or laid out in a row."""
    if math.prod(found) != math.prod(expected):
        return False
    with_length = [tuple(n for n in shape if n > 1) for shape in (found, expected)]
    return with_length[0] == with_length[1] or 1 in (len(found), len(expected))


def _check_labels(spec: FileArray, base: Path, count: int) -> None:
    path = base / spec.file
    shape, dtype = formats.describe(path, spec.dataset, spec.rows)
    if dtype.kind not in "iu":
        raise InputError(f"{path}: found labels of type {dtype}, expected integers")
    if math.prod(shape[1:]) != 1 or not shape:
        raise InputError(f"{path}: found labels of shape {shape}, expected (samples,)")
    if shape[0] != count:
        raise InputError(f"{path}: found {shape[0]} labels, expected {count}, one for each image")


def _data(spec: FileArray, base: Path) -> NDArray[Any]:
    path = base / spec.file
    shape, dtype = formats.describe(path, spec.dataset, spec.rows)
    return formats.load(path, spec.dataset, slice(*(spec.rows or (0, shape[0]))), dtype)
