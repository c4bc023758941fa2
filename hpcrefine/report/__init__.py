"""Tables from records. Reads :mod:`hpcrefine.record`, never the cluster."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from hpcrefine.errors import InputError
from hpcrefine.record.reader import Record, read
from hpcrefine.report import export, plots, render, streams, streamtext
from hpcrefine.report.codes import Codes, compare
from hpcrefine.report.streams import Streams
from hpcrefine.report.tables import Table, summarise

__all__ = ["report"]


def report(
    paths: Sequence[Path],
    *,
    json: bool = False,
    csv: Path | None = None,
    plot: Path | None = None,
    phases: bool = False,
    codes: bool = False,
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

    Returns
    -------
    str
        What is to be printed.

    Raises
    ------
    InputError
        A record cannot be read, or a file cannot be written.
    """
    tables: list[Table | Codes | Streams]
    drawn: list[tuple[Record, Table | Streams]] = []
    if codes:
        compared = compare(map(read, paths))
        tables, names, shown = [compared], ["codes"], [render.codes(compared)]
        drawn += [] if plot is None else [each[:2] for each in _each(paths, phases)]
    else:
        tables, shown = [], []
        for record, table, text in _each(paths, phases):
            tables.append(table)
            shown.append(text)
            drawn += [] if plot is None else [(record, table)]
        names = [Path(path).stem for path in paths]
    written = [] if csv is None else _write_csv(csv, names, [export.as_csv(t) for t in tables])
    written += [] if plot is None else plots.plot(drawn, plot)
    if json:
        return export.as_json(tables) + "\n"
    return "\n".join([*shown, *(f"wrote {path}\n" for path in written)])


def _each(paths: Sequence[Path], phases: bool) -> Iterator[tuple[Record, Table | Streams, str]]:
    """Yield each record with its table and its text."""
    for path in paths:
        record = read(path, streams.COLUMNS)
        if streams.has_streams(record) and not phases:
            of_streams = streams.summarise(record)
            yield record, of_streams, streamtext.text(of_streams)
        else:
            of_products = summarise(read(path))
            yield record, of_products, (render.phases if phases else render.text)(of_products)


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
