"""Records and study folders as frames of pandas: one row a point, and the tables of all points."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpcrefine.analysis.soundness import facts, warnings_of
from hpcrefine.analysis.sources import Source, gather
from hpcrefine.errors import InputError
from hpcrefine.record import schema

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

    @property
    def title(self) -> str:
        """What it is called: its name, or its files for want of one."""
        files = [*self.points["file"]]
        return self.name or (
            files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
        )


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
    pandas = _pandas()
    paths = [paths] if isinstance(paths, str | Path) else paths
    gathered = gather([Path(path) for path in paths], _columns(tables))
    sources = gathered.sources
    settings = tuple(dict.fromkeys(key for source in sources for key in source.settings))
    return Study(
        name=gathered.name,
        scaling=gathered.scaling,
        points=_points(pandas, sources, settings),
        **{name: _table(pandas, sources, name, tables) for name in schema.TABLES},
        environment=_environment(pandas, sources),
        settings=settings,
        warnings=tuple(warnings_of(sources)),
        missing=tuple(f"{source.name}: {source.reason}" for source in sources if source.reason),
    )


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise InputError(
            "found no pandas, expected it to be installed: pip install 'hpcrefine[report]'"
        ) from None
    return pandas


def _columns(tables: Collection[str] | None) -> dict[str, list[str]] | None:
    if tables is None:
        return None
    unknown = sorted(set(tables) - schema.TABLES.keys())
    if unknown:
        raise InputError(f"found table {unknown[0]}, expected some of {', '.join(schema.TABLES)}")
    wanted = {"jobs", "workers", *tables}
    return {name: [column.name for column in schema.TABLES[name]] for name in wanted}


def _points(pandas: Any, sources: Sequence[Source], settings: Sequence[str]) -> "DataFrame":
    jobs = [0 if s.record is None else np.count_nonzero(~s.record.jobs["warmup"]) for s in sources]
    kinds = ["" if s.record is None else s.record.attributes["kind"] for s in sources]
    columns = {
        "file": [str(source.file) for source in sources],
        "name": [source.name for source in sources],
        "ranks": [source.ranks for source in sources],
        "workers": [source.ranks - 1 for source in sources],
        "nodes": [source.nodes for source in sources],
        "run": [source.run for source in sources],
        "kind": kinds,
        "complete": [source.record is not None and source.record.complete for source in sources],
        "jobs": jobs,
    }
    swept = {key: [source.settings.get(key) for source in sources] for key in settings}
    whole = {key: all(isinstance(v, int | float) for v in values) for key, values in swept.items()}
    frame = pandas.DataFrame(columns, index=pandas.RangeIndex(len(sources), name="point"))
    for key, values in swept.items():  # absent values and lists must stay what they are
        frame[key] = pandas.Series(values, frame.index, dtype=None if whole[key] else object)
    return frame


def _table(
    pandas: Any, sources: Sequence[Source], name: str, tables: Collection[str] | None
) -> "DataFrame":
    wanted = tables is None or name in tables or name == "jobs"
    there = [
        (point, getattr(source.record, name))
        for point, source in enumerate(sources)
        if wanted and source.record is not None
    ]
    rows = np.concatenate([np.empty(0, schema.text_dtype(name)), *(rows for _, rows in there)])
    numbers = [point for point, _ in there]
    columns = {"point": np.repeat(numbers, [len(rows) for _, rows in there]).astype(np.int64)}
    columns |= {column: _column(pandas, rows[column]) for column in rows.dtype.names or ()}
    return pandas.DataFrame(columns)


def _column(pandas: Any, values: NDArray[Any]) -> Any:
    if values.dtype.kind == "U":
        return pandas.Categorical(values.astype(object))
    return np.ascontiguousarray(values)


def _environment(pandas: Any, sources: Sequence[Source]) -> "DataFrame":
    there = {point: s.record for point, s in enumerate(sources) if s.record is not None}
    index = pandas.Index(there, name="point", dtype=np.int64)
    return pandas.DataFrame([facts(record) for record in there.values()], index=index)
