"""Tables from records. Reads :mod:`hpcrefine.record`, never the cluster."""

from collections.abc import Sequence
from pathlib import Path

from hpcrefine.errors import InputError
from hpcrefine.record.reader import read
from hpcrefine.report import render
from hpcrefine.report.tables import Table, summarise

__all__ = ["report"]


def report(
    paths: Sequence[Path], *, json: bool = False, csv: Path | None = None, phases: bool = False
) -> str:
    """Report on records.

    Parameters
    ----------
    paths : sequence of Path
        The records.
    json : bool
        Give one JSON list of all instead of text.
    csv : Path, optional
        Also write one CSV file per record into this directory, named after the record.
    phases : bool
        Say where the time of each resolution went, instead.

    Returns
    -------
    str
        What is to be printed.

    Raises
    ------
    InputError
        A record cannot be read, or a CSV file cannot be written.
    """
    tables = [summarise(read(path)) for path in paths]
    written = [] if csv is None else _write_csv(csv, [Path(path) for path in paths], tables)
    if json:
        return render.as_json(tables) + "\n"
    shown = map(render.phases if phases else render.text, tables)
    return "\n".join([*shown, *(f"wrote {path}\n" for path in written)])


def _write_csv(directory: Path, paths: list[Path], tables: list[Table]) -> list[Path]:
    targets = [directory / f"{path.stem}.csv" for path in paths]
    twice = sorted({target.name for target in targets if targets.count(target) > 1})
    if twice:
        raise InputError(f"{directory}: several records would be written to {', '.join(twice)}")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for target, table in zip(targets, tables, strict=True):
            target.write_text(render.as_csv(table))
    except OSError as error:
        raise InputError(f"{directory}: cannot write CSV files: {error}") from error
    return targets
