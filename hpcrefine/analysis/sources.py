"""Which points there are to look at, and the record of each: from study folders and lone files."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hpcrefine.errors import InputError
from hpcrefine.jobfile import reread
from hpcrefine.record.manifest import Manifest, Point
from hpcrefine.record.reader import Columns, Record, read

#: Suffix of the text that a point's run printed, beside its record.
LOG = ".log"
_NAMED = 4  # files named in a message about many


@dataclass(frozen=True)
class Source:
    """A point with its record, if it has one.

    Attributes
    ----------
    file : Path
        Where its record is, or would be.
    name : str
        For people.
    ranks : int
        The master included.
    nodes : int
        Nodes of the run; 0 if unknown.
    run : int
        Which of the runs with the same settings.
    settings : dict
        Values of the keys that are swept, by ``section.key``.
    record : Record or None
        What could be read.
    reason : str
        Why the point has no finished job; empty if it has some.
    """

    file: Path
    name: str
    ranks: int
    nodes: int
    run: int
    settings: dict[str, Any]
    record: Record | None
    reason: str


@dataclass(frozen=True)
class Gathered:
    """All points, with what their studies are called.

    Attributes
    ----------
    name : str
        Of the study or studies; empty for lone records.
    scaling : str
        What they all claim; empty if they claim nothing, or not the same.
    sources : tuple of Source
        In the order given.
    """

    name: str
    scaling: str
    sources: tuple[Source, ...]


def gather(paths: Sequence[Path], only: Columns | None) -> Gathered:
    """Find the points of folders and files, and read their records.

    Parameters
    ----------
    paths : sequence of Path
        Records and study folders.
    only : mapping of str to collection of str, or None
        What to read of each record, see :func:`hpcrefine.record.reader.read`.

    Raises
    ------
    InputError
        A record given by name or a manifest cannot be read; a record is there twice; records are
        of different kinds; no point has a finished job.
    """
    manifests = {path: Manifest.read(path) for path in paths if path.is_dir()}
    sources = [
        source
        for path in paths
        for source in (
            _of_folder(path, manifests[path], only)
            if path in manifests
            else [_of_record(path, read(path, only))]
        )
    ]
    _refuse_twice(sources)
    _refuse_mixtures([source.record for source in sources if source.record is not None])
    if all(source.reason for source in sources):
        raise InputError(_nothing(paths, sources))
    claims = {manifest.scaling for manifest in manifests.values()}
    return Gathered(
        name=", ".join(dict.fromkeys(manifest.name for manifest in manifests.values())),
        scaling=claims.pop() if len(claims) == 1 else "",
        sources=tuple(_tell_apart(sources, {path for path in paths if path not in manifests})),
    )


def _of_folder(folder: Path, manifest: Manifest, only: Columns | None) -> Iterator[Source]:
    for point in manifest.points:
        file = folder / point.file
        record, reason = None, "no record yet"
        if file.exists():
            try:
                record = read(file, only)
                reason = _unfinished(record)
            except InputError as error:
                reason = str(error)
        yield _of_point(point, file, record, reason)


def _of_point(point: Point, file: Path, record: Record | None, reason: str) -> Source:
    nodes = point.nodes or (_nodes(record) if record else 0)
    log = file.with_suffix(LOG)
    if reason and log.exists():
        reason += f"; see {log}"
    return Source(
        file, point.name, point.ranks, nodes, point.run, dict(point.settings), record, reason
    )


def _of_record(file: Path, record: Record) -> Source:
    ranks = max(record.sessions) + 1
    return Source(file, file.stem, ranks, _nodes(record), 0, {}, record, _unfinished(record))


def _unfinished(record: Record) -> str:
    if (~record.jobs["warmup"]).any():
        return ""
    return "no finished job" + ("" if record.complete else ", the run was interrupted")


def _nodes(record: Record) -> int:
    given = record.environment.get("slurm_job_num_nodes", "")
    if str(given).isdecimal():
        return int(given)
    return len(np.unique(record.workers["host"]))


def _tell_apart(sources: Iterable[Source], lone: set[Path]) -> Iterator[Source]:
    """Give lone records the keys in which their jobs differ as settings."""
    sources = list(sources)
    texts = [_flat(_job(source.record)) if source.file in lone else {} for source in sources]
    ours = [text for source, text in zip(sources, texts, strict=True) if source.file in lone]
    keys = dict.fromkeys(key for text in ours for key in text if key != "job.name")
    first = ours[0] if ours else {}
    differing = [key for key in keys if any(text.get(key) != first.get(key) for text in ours)]
    for source, text in zip(sources, texts, strict=True):
        settings = {key: text[key] for key in differing if key in text}
        yield replace(source, settings=source.settings | settings)


def _job(record: Record | None) -> dict[str, Any]:
    try:
        return reread(record.attributes["job"]) if record else {}
    except InputError:  # a record of another program than the command line
        return {}


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return flat


def _refuse_twice(sources: Sequence[Source]) -> None:
    seen: set[Path] = set()
    for source in sources:
        file = source.file.resolve()
        if file in seen:
            raise InputError(f"{source.file}: found twice in what was given, expected once")
        seen.add(file)


def _refuse_mixtures(records: Sequence[Record]) -> None:
    if not records:
        return
    first = records[0]
    for record in records:
        for found, expected in zip(_kinds(record), _kinds(first), strict=True):
            if found != expected:
                raise InputError(
                    f"{record.path}: found a record of {found}, expected {expected} as in "
                    f"{first.path}: look at each kind alone"
                )


def _kinds(record: Record) -> tuple[str, str]:
    times = "simulated times" if record.attributes["kind"] == "simulated" else "measured times"
    section = _job(record).get("job")
    inference = isinstance(section, dict) and section.get("kind") == "inference"
    return times, "inference" if inference else "products"


def _nothing(paths: Sequence[Path], sources: Sequence[Source]) -> str:
    where = ", ".join(str(path) for path in paths[:_NAMED])
    reasons = dict.fromkeys(f"{source.name}: {source.reason}" for source in sources[:_NAMED])
    more = f"; and {len(sources) - _NAMED} more" if len(sources) > _NAMED else ""
    found = "; ".join(reasons) or "no point at all"
    return f"{where}: found no finished job ({found}{more}), expected one at least"
