"""From a study file to its points: what is otherwise in the job of each, and their order."""

import copy
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from hpcrefine.complaints import Data, as_toml
from hpcrefine.errors import InputError
from hpcrefine.experiment.run import check
from hpcrefine.job import AnyJob, InferenceJob, Job
from hpcrefine.jobfile import (
    SWEEP,
    load,
    load_product,
    override,
    parse,
    validate,
    without_sweep,
)
from hpcrefine.record.manifest import NAME, Manifest, Point
from hpcrefine.study.growth import grow, resize
from hpcrefine.study.sweep import Setting, StudyFile, Sweep, find_axes, settings

_SECTIONS = Job.model_fields.keys() | InferenceJob.model_fields.keys()
_LONGEST = 80  # characters of a point's name in that of its file


@dataclass(frozen=True)
class Study:
    """A study file, checked.

    Attributes
    ----------
    path : Path
        The file.
    overrides : tuple of str
        ``section.key=value`` each, for all points.
    sweep : Sweep
        Its section.
    job : Job or InferenceJob
        The first point's.
    manifest : Manifest
        Its points.
    folder : Path
        Where manifest and records stand.
    """

    path: Path
    overrides: tuple[str, ...]
    sweep: Sweep
    job: AnyJob
    manifest: Manifest
    folder: Path


def plan(path: Path, overrides: Sequence[str] = (), folder: Path | None = None) -> Study:
    """Read a study file and check the job of each of its points.

    Points that a manifest in the folder has already keep their numbers and files.

    Parameters
    ----------
    path : Path
        A job file with a section ``[sweep]``.
    overrides : sequence of str
        ``section.key=value`` each, for all points.
    folder : Path, optional
        Where records go: ``results/NAME`` unless given.

    Raises
    ------
    InputError
        If the file says something that a study or the job of one of its points cannot say, or the
        folder is that of another study.
    """
    text, data = parse(path)
    found = data.pop(SWEEP, None)
    if not isinstance(found, dict):
        raise InputError(f"{path}: found no [{SWEEP}], expected a study file: a job file with one")
    swept = {key: found.pop(key) for key in list(found) if key in _SECTIONS}
    for key in found.keys() - Sweep.model_fields.keys():
        near = difflib.get_close_matches(key, [*Sweep.model_fields, *_SECTIONS], n=1)
        wanted = f'did you mean "{near[0]}"?' if near else "expected a section of a job file"
        raise InputError(f"{path}: [{SWEEP}] {key}: unknown key; {wanted}")
    sweep = validate(StudyFile, {SWEEP: found}, path).sweep
    for text_ in overrides:
        override(data, text_)
    points, jobs = _expand(path, data, sweep, swept, overrides)
    name = jobs[0].job.name
    manifest = Manifest(
        name=name,
        scaling=sweep.scaling or "",
        created=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S+00:00}",
        study=text,
        order=_order(points, sweep),
        points=points,
    )
    folder = Path("results") / name if folder is None else folder
    if (folder / NAME).exists():
        manifest = _gone_on_with(manifest, Manifest.read(folder), folder)
    return Study(path, tuple(overrides), sweep, jobs[0], manifest, folder)


def select(study: Study, numbers: Sequence[int] | None) -> list[Point]:
    """Return the points of some numbers, or all of them, in the order in which they run.

    Raises
    ------
    InputError
        If there is no point of that number.
    """
    points = study.manifest.points
    for number in numbers or ():
        if not 0 <= number < len(points):
            raise InputError(
                f"--point: found {number}, expected a number of {study.path}, 0..{len(points) - 1}"
            )
    wanted = set(range(len(points)) if numbers is None else numbers)
    return [points[number] for number in study.manifest.order if number in wanted]


def settle(study: Study) -> None:
    """Make the study's folder, with its manifest.

    Raises
    ------
    InputError
        If that cannot be.
    """
    try:
        study.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{study.folder}: found {error.strerror}, expected a folder for records"
        ) from None
    study.manifest.write(study.folder)


def _expand(
    path: Path, data: Data, sweep: Sweep, swept: Data, overrides: Sequence[str]
) -> tuple[list[Point], list[AnyJob]]:
    """Return all points, and the job of each setting."""
    try:
        axes = find_axes(swept)
    except ValueError as error:
        raise InputError(
            f"{path}: [{SWEEP}] {error}: found no list of values, expected one for each key that "
            "is swept"
        ) from None
    if sweep.sizes is not None:
        axes.append(tuple({"size": size} for size in sweep.sizes))
    points: list[Point] = []
    jobs: list[AnyJob] = []
    every = list(settings(sweep, axes))
    fewest = min(setting.ranks for setting in every) - 1
    for setting in every:
        changes = _changes(path, data, sweep, setting, (setting.ranks - 1) / fewest)
        lines = [f"{key}={as_toml(value)}" for key, value in changes.items()]
        job = (
            load_product(path, overrides, lines) if sweep.simulate else load(path, overrides, lines)
        )
        check(job)
        jobs.append(job)
        for run in range(sweep.runs):
            points.append(_point(len(points), setting, run, sweep, [*overrides, *lines]))
    return points, jobs


def _changes(
    path: Path, data: Data, sweep: Sweep, setting: Setting, times: float
) -> dict[str, Any]:
    """Return all that a point's job has otherwise than the job file, by ``section.key``."""
    changes = dict(setting.values)
    try:
        size = changes.pop("size", None)
        if size is not None:
            changes = resize(data, size) | changes
        if sweep.scaling == "weak":
            applied = copy.deepcopy(data)
            for key, value in changes.items():
                override(applied, f"{key}={as_toml(value)}")
            changes |= grow(applied, sweep.grow, times)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return changes


def _point(number: int, setting: Setting, run: int, sweep: Sweep, lines: list[str]) -> Point:
    name = setting.name + (f", run {run}" if sweep.runs > 1 else "")
    brief = re.sub(r"[^A-Za-z0-9.=+-]+", "_", name)[:_LONGEST].strip("_")
    values = {key: list(v) if isinstance(v, tuple) else v for key, v in setting.values.items()}
    return Point(
        number=number,
        name=name,
        ranks=setting.ranks,
        nodes=setting.nodes,
        run=run,
        settings=values,
        overrides=lines,
        file=f"{number:04d}-{brief}.h5",
    )


def _order(points: list[Point], sweep: Sweep) -> list[int]:
    """Return the numbers of points run by run, those of each run in random order."""
    random = np.random.default_rng(sweep.seed)
    numbers = np.arange(len(points)).reshape(-1, sweep.runs)
    return [int(n) for run in numbers.T for n in random.permutation(run)]


def _gone_on_with(new: Manifest, old: Manifest, folder: Path) -> Manifest:
    """Return the manifest of a study that has grown since, or is as it was."""
    if old.study == new.study and _identities(old) == _identities(new):
        return old
    if without_sweep(old.study) != without_sweep(new.study):
        raise InputError(
            f"{folder / NAME}: found points of another job, expected those of the study file as it "
            "is now, or a folder of their own (-o FOLDER)"
        )
    known = dict(zip(_identities(old), old.points, strict=True))
    wanted = _identities(new)
    gone = [point.name for identity, point in known.items() if identity not in wanted]
    if gone or (old.name, old.scaling) != (new.name, new.scaling):
        found = f"points that the file no longer has ({gone[0]}, ..)" if gone else "another study"
        raise InputError(
            f"{folder / NAME}: found {found}, expected those of this study file, or a folder of "
            "their own (-o FOLDER)"
        )
    numbers: dict[int, int] = {}
    points, free = list(old.points), len(old.points)
    for identity, point in zip(wanted, new.points, strict=True):
        if identity in known:
            numbers[point.number] = known[identity].number
            continue
        numbers[point.number] = free
        rest = point.file.partition("-")[2]
        points.append(point.model_copy(update={"number": free, "file": f"{free:04d}-{rest}"}))
        free += 1
    order = [numbers[number] for number in new.order]
    return new.model_copy(update={"created": old.created, "points": points, "order": order})


def _identities(manifest: Manifest) -> list[tuple[object, ...]]:
    return [
        (point.ranks, point.nodes, point.run, tuple(point.overrides)) for point in manifest.points
    ]
