"""Tables from records. Reads :mod:`hpcrefine.record`, never the cluster."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hpcrefine.analysis.comparison import Comparison
from hpcrefine.analysis.scaling import Scaling
from hpcrefine.errors import InputError
from hpcrefine.report import export, inferencetext, page, plots, render, scalingtext, streamtext
from hpcrefine.report.codes import Codes
from hpcrefine.report.following import Splits
from hpcrefine.report.inference import Inference
from hpcrefine.report.plots import Contents
from hpcrefine.report.sources import OfRecord, Reported, Wanted, gather, of_records
from hpcrefine.report.streams import Streams

__all__ = ["report"]


def report(
    paths: Sequence[Path],
    *,
    json: bool = False,
    csv: Path | None = None,
    plot: Path | None = None,
    phases: bool = False,
    codes: bool = False,
    split: bool = False,
    scaling: bool = False,
    against: Sequence[Path] = (),
    html: Path | None = None,
    force: bool = False,
    job: int | None = None,
) -> str:
    """Report on records and studies.

    Parameters
    ----------
    paths : sequence of Path
        The records, and folders of studies.
    json : bool
        Give one JSON list of all instead of text.
    csv : Path, optional
        Also write one CSV file per table into this directory, named after its record or study,
        or ``codes.csv``, ``comparison.csv``.
    plot : Path, optional
        Also draw figures into this directory, see :mod:`hpcrefine.report.plots`.
    phases : bool
        Say where the time of each resolution went, instead.
    codes : bool
        Compare codes in one table over all records, instead.
    split : bool
        Say how the load split followed the workers, instead.
    scaling : bool
        Look at all that is given as one study, and say how its times scale, instead.
    against : sequence of Path
        Compare all that is given with these records and studies, instead.
    html : Path, optional
        Also write one page with tables and figures, see :mod:`hpcrefine.report.page`.
    force : bool
        The page may replace a file.
    job : int, optional
        The job whose timeline is drawn; the median one unless given.

    Returns
    -------
    str
        What is to be printed.

    Raises
    ------
    InputError
        A record cannot be read, or a file cannot be written.
    """
    paths = [*map(Path, paths)]
    pictured = plot is not None or html is not None
    if html is not None:
        page.check(html, force)
    if job is not None and not pictured:
        raise InputError(f"--job: found {job}, expected --plot or --html beside it")
    found = gather(paths, Wanted(phases, codes, split, scaling, tuple(map(Path, against))))
    names, tables = [name for name, _ in found], [table for _, table in found]
    written = [] if csv is None else _write_csv(csv, names, [export.as_csv(t) for t in tables])
    if pictured:
        shown = _contents(paths, tables, job)
        written += [] if plot is None else plots.plot(shown, plot)
        written += [] if html is None else [page.write(shown, html)]
    if json:
        return export.as_json(tables) + "\n"
    notes = "".join(f"wrote {path}\n" for path in written)
    return "\n".join([*(_text(table, phases) for table in tables), *([notes] if notes else [])])


def _contents(paths: Sequence[Path], tables: Sequence[Reported], job: int | None) -> Contents:
    """Gather what is to be drawn and shown beside the tables of a report."""
    records = [table for table in tables if isinstance(table, OfRecord)]
    if len(records) < len(paths):  # what was asked for is no table of each record
        records = of_records(paths)
    contents = plots.gather(paths, records, job)
    scaled = contents.scaling or next((t for t in tables if isinstance(t, Scaling)), None)
    if scaled is not None and scaled.scaling:
        contents = replace(contents, scaling=scaled, scaling_lines=tuple(scalingtext.lines(scaled)))
    for found in tables:
        if isinstance(found, Comparison):
            contents = replace(
                contents,
                against=found.base,
                differences=found.rows,
                comparison_lines=tuple(scalingtext.comparison_lines(found)),
            )
    return contents


def _text(table: Reported, phases: bool) -> str:
    if isinstance(table, Scaling):
        return scalingtext.text(table)
    if isinstance(table, Comparison):
        return scalingtext.comparison(table)
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
        raise InputError(f"{directory}: several tables would be written to {', '.join(twice)}")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for target, text in zip(targets, texts, strict=True):
            target.write_text(text)
    except OSError as error:
        raise InputError(f"{directory}: cannot write CSV files: {error}") from error
    return targets
