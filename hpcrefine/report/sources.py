"""From what is given on the command line to tables: records, study folders, and what is asked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from hpcrefine.analysis.comparison import Comparison, contrast
from hpcrefine.analysis.samples import TABLES
from hpcrefine.analysis.scaling import Scaling, scale, tabulate
from hpcrefine.analysis.study import load
from hpcrefine.errors import InputError
from hpcrefine.record.reader import Record, read
from hpcrefine.report import inference, streams
from hpcrefine.report.codes import Codes, compare
from hpcrefine.report.following import Splits, follow
from hpcrefine.report.inference import Inference
from hpcrefine.report.streams import Streams
from hpcrefine.report.tables import Table, summarise

#: Of one record.
OfRecord: TypeAlias = Table | Streams | Inference
#: All that a report may have tables of.
Reported: TypeAlias = OfRecord | Codes | Splits | Scaling | Comparison


@dataclass(frozen=True)
class Wanted:
    """What a report is asked for; at most one of all.

    Attributes
    ----------
    phases, codes, split, scaling : bool
        See :func:`hpcrefine.report.report`.
    against : tuple of Path
        Records and study folders to compare with.
    """

    phases: bool = False
    codes: bool = False
    split: bool = False
    scaling: bool = False
    against: tuple[Path, ...] = ()


def gather(paths: Sequence[Path], wanted: Wanted) -> list[tuple[str, Reported]]:
    """Make the tables of a report, each with the name of files that it goes to.

    Raises
    ------
    InputError
        A record or a study cannot be read, or is none of what is asked for.
    """
    if wanted.against:
        base, new = (load(one, tables=TABLES) for one in (wanted.against, paths))
        return [("comparison", contrast(base, new))]
    if wanted.scaling:
        study = load(paths, tables=TABLES)
        return [(f"{study.name}-scaling".removeprefix("-"), scale(study))]
    if wanted.codes:
        return [("codes", compare(map(_of_products, _records(paths))))]
    if wanted.split:
        return [(path.stem, follow(read(path, streams.COLUMNS))) for path in _records(paths)]
    if wanted.phases:
        return [(path.stem, summarise(read(path))) for path in _records(paths)]
    return [_of_path(path) for path in paths]


def of_records(paths: Sequence[Path]) -> list[OfRecord]:
    """Make the table of each record, those in study folders included."""
    return [summary(path) for path in _records(paths)]


def summary(path: Path) -> OfRecord:
    """Make the table of a record, according to its kind.

    Raises
    ------
    InputError
        It cannot be read.
    """
    record = read(path, streams.COLUMNS | {"upgrades": ()})
    if streams.has_streams(record):
        return streams.summarise(record)
    if inference.has_inference(record):
        return inference.summarise(read(path, inference.COLUMNS))
    return summarise(read(path))


def _of_path(path: Path) -> tuple[str, Reported]:
    if path.is_dir():
        study = load(path, tables=TABLES)
        return f"{study.name}-scaling", tabulate(study)
    return path.stem, summary(path)


def _records(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield records, in place of a study folder those in it that have a finished job."""
    for path in paths:
        if path.is_dir():
            points = load(path, tables=()).points
            yield from map(Path, points["file"][points["jobs"] > 0])
        else:
            yield path


def _of_products(path: Path) -> Record:
    record = read(path)
    if inference.has_inference(record):
        raise InputError(f"--codes: {path}: found a record of inference, expected one of products")
    return record
