"""Records and study folders as frames of pandas: one row a point, and the tables of all points."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Study:
    """Records that are to be looked at together.

    Attributes
    ----------
    name : str
        Of the study or studies; empty for lone records.
    scaling : str
        ``"strong"`` or ``"weak"``; empty where none is claimed.
    points : DataFrame
        A row per point, index ``point``, those without a record included: ``file``, ``name``,
        ``ranks`` (the master included), ``workers`` (``ranks`` - 1), ``nodes``, ``run``, ``kind``
        (``"measured"`` or ``"simulated"``), ``complete``, ``jobs`` (finished, no warm-ups), and a
        column for each key that is swept, such as ``"code.redundancy"``.
    jobs, layers, tasks, workers, events, estimates, upgrades, predictions : DataFrame
        Columns of :data:`hpcrefine.record.schema.TABLES` after a first column ``point``; text that
        repeats is categorical. Without rows where the table was not asked for.
    environment : DataFrame
        A row per point that has a record, index ``point``; a column per attribute.
    settings : tuple of str
        Which columns of `points` are keys that are swept.
    warnings : tuple of str
        What makes the points hard to compare: hosts, kernels or versions that differ, runs that
        were interrupted, jobs that were lost or wrong.
    missing : tuple of str
        ``"NAME: reason"`` of each point without a finished job that can be read.
    """

    name: str
    scaling: str
    points: "DataFrame"
    jobs: "DataFrame"
    layers: "DataFrame"
    tasks: "DataFrame"
    workers: "DataFrame"
    events: "DataFrame"
    estimates: "DataFrame"
    upgrades: "DataFrame"
    predictions: "DataFrame"
    environment: "DataFrame"
    settings: tuple[str, ...]
    warnings: tuple[str, ...]
    missing: tuple[str, ...]


def load(paths: Sequence[Path] | Path, *, tables: Collection[str] | None = None) -> Study:
    """Load records and study folders, in any mixture.

    Parameters
    ----------
    paths : Path or sequence of Path
        Records, and folders with a manifest ``study.json``.
    tables : collection of str, optional
        Tables wanted beside ``jobs``; all unless given.

    Returns
    -------
    Study
        Its points in the order of `paths`, those of a folder in the order of its manifest.

    Raises
    ------
    InputError
        There is no pandas; a record given by name or a manifest cannot be read; measured and
        simulated records, or products and inference, stand together; no point has a finished job.
    """
    raise NotImplementedError
