"""Tables from records. Reads :mod:`hpcrefine.record`, never the cluster."""

from collections.abc import Sequence
from pathlib import Path

from hpcrefine.errors import InputError
from hpcrefine.record import schema
from hpcrefine.record.reader import Record, read
from hpcrefine.report import export, inference, inferencetext, plots, render, streams, streamtext
from hpcrefine.report.codes import Codes, compare
from hpcrefine.report.following import Splits, follow
from hpcrefine.report.inference import Inference
from hpcrefine.report.streams import Streams
from hpcrefine.report.tables import Table, summarise

__all__ = ["report"]

# Tasks are by far the most rows, and no table is made of them.
_COLUMNS = {
    name: [column.name for column in columns]
    for name, columns in schema.TABLES.items()
    if name != "tasks"
}


def report(
    paths: Sequence[Path],
    *,
    json: bool = False,
    csv: Path | None = None,
    plot: Path | None = None,
    phases: bool = False,
    codes: bool = False,
    split: bool = False,
) -> str:
    """Report on records.

    Parameters
    ----------
    paths : sequence of Path
        The records.
    json : bool
        Give one JSON list of all instead of text.
    csv : Path, optional
        Also write one CSV file per table into this directory, named after its record, or
        ``codes.csv``.
    plot : Path, optional
        Also draw figures into this directory, see :mod:`hpcrefine.report.plots`.
    phases : bool
        Say where the time of each resolution went, instead.
    codes : bool
        Compare codes in one table over all records, instead.
    split : bool
        Say how the load split followed the workers, instead.

    Returns
    -------
    str
        What is to be printed.

    Raises
    ------
    InputError
        A record cannot be read, or a file cannot be written.
    """
    names = [Path(path).stem for path in paths]
    tables: list[Table | Codes | Streams | Splits | Inference]
    of_records: list[Table | Streams | Inference] = []
    if plot is not None or not (codes or split):
        of_records += [_summarise(path, phases) for path in paths]
    if codes:
        names, tables = ["codes"], [compare(map(_of_products, paths))]
    elif split:
        tables = [follow(read(path, streams.COLUMNS)) for path in paths]
    else:
        tables = [*of_records]
    written = [] if csv is None else _write_csv(csv, names, [export.as_csv(t) for t in tables])
    written += [] if plot is None else plots.plot(of_records, plot)
    if json:
        return export.as_json(tables) + "\n"
    notes = "".join(f"wrote {path}\n" for path in written)
    return "\n".join([*(_text(table, phases) for table in tables), *([notes] if notes else [])])


def _summarise(path: Path, phases: bool) -> Table | Streams | Inference:
    record = read(path, streams.COLUMNS | {"upgrades": ()})
    if streams.has_streams(record) and not phases:
        return streams.summarise(record)
    if inference.has_inference(record) and not phases:
        return inference.summarise(read(path, inference.COLUMNS))
    return summarise(read(path, _COLUMNS))


def _of_products(path: Path) -> Record:
    record = read(path, _COLUMNS)
    if inference.has_inference(record):
        raise InputError(f"--codes: {path}: found a record of inference, expected one of products")
    return record


def _text(table: Table | Codes | Streams | Splits | Inference, phases: bool) -> str:
    if isinstance(table, Codes):
        return render.codes(table)
    if isinstance(table, Streams):
        return streamtext.text(table)
    if isinstance(table, Inference):
        return inferencetext.text(table)
    if isinstance(table, Splits):
        return streamtext.splits(table)
    return render.phases(table) if phases else render.text(table)


def _write_csv(directory: Path, names: list[str], texts: list[str]) -> list[Path]:
    targets = [directory / f"{name}.csv" for name in names]
    twice = sorted({target.name for target in targets if targets.count(target) > 1})
    if twice:
        raise InputError(f"{directory}: several records would be written to {', '.join(twice)}")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for target, text in zip(targets, texts, strict=True):
            target.write_text(text)
    except OSError as error:
        raise InputError(f"{directory}: cannot write CSV files: {error}") from error
    return targets
