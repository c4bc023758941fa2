"""Studies for other programs: CSV, JSON, Parquet, and what Extra-P models."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcrefine import __version__
from hpcrefine.analysis.samples import TABLES as WITH_TIMES
from hpcrefine.analysis.samples import Sample, following, samples, varied
from hpcrefine.analysis.study import Study, load
from hpcrefine.errors import InputError
from hpcrefine.record import schema

if TYPE_CHECKING:
    from pandas import DataFrame, Series

FORMATS = ("csv", "json", "parquet", "extrap")
#: Names of the single files that JSON and Extra-P's JSON go to.
DOCUMENT, EXTRAP = "tables.json", "extrap.json"
# Units of columns that are not the schema's.
_UNITS = {"memory_bytes": "B"}
_INFINITE = (math.inf, -math.inf)


def export(paths: Sequence[Path], directory: Path, form: str, *, force: bool = False) -> list[Path]:
    """Write records and studies in another format.

    Parameters
    ----------
    paths : sequence of Path
        Records and study folders.
    directory : Path
        Where the files go; made if need be.
    form : {"csv", "json", "parquet", "extrap"}
        A file per table that has rows (CSV with units in the header, Parquet with units in the
        columns' metadata), one document of all tables (JSON), or the times alone, as functions of
        the workers and of the numbers that are swept (Extra-P's JSON).
    force : bool
        Replace files that are there.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    InputError
        The records make no study, see :func:`hpcrefine.analysis.study.load`; a file is there
        already or cannot be written; a library is missing.
    """
    study = load(paths, tables=WITH_TIMES if form == "extrap" else None)
    frames = {name: getattr(study, name) for name in ("points", "environment", *schema.TABLES)}
    frames = {name: _flat(frame) for name, frame in frames.items() if len(frame)}
    single = {"json": DOCUMENT, "extrap": EXTRAP}.get(form)
    names = [single] if single else [f"{name}.{form}" for name in frames]
    targets = [directory / name for name in names]
    for target in targets:
        if target.exists() and not force:
            raise InputError(f"{target}: found a file, expected none, or --force to replace it")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if single:
            _write_json(targets[0], document(study) if form == "json" else extrap(study))
        else:
            write = _write_csv if form == "csv" else _write_parquet
            for target, (name, frame) in zip(targets, frames.items(), strict=True):
                write(target, name, frame)
    except OSError as error:
        raise InputError(f"{directory}: cannot write files: {error}") from error
    return targets


def document(study: Study) -> dict[str, Any]:
    """Return a study as one JSON document: tables as lists of rows, units, and where it is from.

    NaN and infinity are ``None``.
    """
    names = ("points", "environment", *schema.TABLES)
    return {
        "name": study.name,
        "scaling": study.scaling,
        "exported_by": f"hpcrefine {__version__}",
        "files": [*study.points["file"]],
        "written_by": sorted({f"hpcrefine {v}" for v in study.environment["hpcrefine_version"]}),
        "warnings": [*study.warnings],
        "missing": [*study.missing],
        "units": {
            name: {column.name: column.unit for column in columns}
            for name, columns in schema.TABLES.items()
        },
        "tables": {name: [*_rows(getattr(study, name))] for name in names},
    }


def extrap(study: Study) -> dict[str, Any]:
    """Return the times of a study as Extra-P's JSON input (its ``docs/file-formats.md``).

    Parameter ``p`` counts workers; swept numbers that do not follow them are parameters too, what
    else is swept goes before the variant: ``"code.scheme=mds->layered->layer 0"``. Metric
    ``time``, in seconds, has all counted jobs as values.
    """
    found = [sample for sample in samples(study, varied(study), following(study)) if sample.runs]
    numbers = [
        key
        for key in study.settings
        if all(_is_number(sample.settings.get(key)) for sample in found)
        and len({sample.settings[key] for sample in found}) > 1
    ]
    measured: dict[str, dict[tuple[float, ...], list[float]]] = {}
    for sample in found:
        point = (float(sample.workers), *(float(sample.settings[key]) for key in numbers))
        values = measured.setdefault(_callpath(sample, numbers), {}).setdefault(point, [])
        values += sample.times.tolist()
    return {
        "parameters": ["p", *numbers],
        "measurements": {
            callpath: {
                "time": [{"point": [*at], "values": values} for at, values in points.items()]
            }
            for callpath, points in measured.items()
        },
    }


def _callpath(sample: Sample, numbers: Sequence[str]) -> str:
    rest = [f"{key}={value}" for key, value in sample.settings.items() if key not in numbers]
    return "->".join(
        [*([", ".join(rest)] if rest else []), sample.variant, f"layer {sample.layer}"]
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _write_json(target: Path, contents: dict[str, Any]) -> None:
    with target.open("w", encoding="utf-8") as file:
        file.write(json.dumps(contents, allow_nan=False))
        file.write("\n")


def _write_csv(target: Path, name: str, frame: "DataFrame") -> None:
    header = [f"{column} [{_unit(name, column)}]" for column in frame.columns]
    frame.to_csv(target, index=False, header=header)


def _write_parquet(target: Path, name: str, frame: "DataFrame") -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError(
            "--format parquet: found no pyarrow, expected it to be installed: "
            "pip install 'hpcrefine[report]'"
        ) from None
    table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    fields = [field.with_metadata({"unit": _unit(name, field.name)}) for field in table.schema]
    described = pyarrow.schema(fields, metadata=table.schema.metadata)
    parquet.write_table(table.cast(described), target)


def _unit(table: str, column: str) -> str:
    units = {one.name: one.unit for one in schema.TABLES.get(table, ())}
    return units.get(column) or _UNITS.get(column, "1")


def _flat(frame: "DataFrame") -> "DataFrame":
    """Make the index of a frame a column, and texts of columns that hold lists or mixed values."""
    frame = frame.copy() if "point" in frame.columns else frame.reset_index()
    for column, values in [*frame.items()]:
        if not (isinstance(values.dtype, np.dtype) and values.dtype.kind == "O"):
            continue
        kinds = {type(value) for value in values[values.notna()]}
        if len(kinds) > 1 or list in kinds:
            frame[column] = [_text(value) for value in values]
    return frame


def _text(value: object) -> str | None:
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return None if missing else value if isinstance(value, str) else json.dumps(value)


def _rows(frame: "DataFrame") -> Iterator[dict[str, Any]]:
    frame = frame if "point" in frame.columns else frame.reset_index()
    names = [*frame.columns]
    for row in zip(*(_finite(frame[name]) for name in names), strict=True):
        yield dict(zip(names, row, strict=True))


def _finite(column: "Series[Any]") -> list[Any]:
    values: list[Any] = column.astype(object).tolist()
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biu":
        return values
    return [None if value != value or value in _INFINITE else value for value in values]
