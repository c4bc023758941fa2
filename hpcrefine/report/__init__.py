"""Tables from records. Reads :mod:`hpcrefine.record`, never the cluster."""

from collections.abc import Sequence
from pathlib import Path

from hpcrefine.analysis.comparison import Comparison
from hpcrefine.analysis.scaling import Scaling
from hpcrefine.errors import InputError
from hpcrefine.report import export, inferencetext, page, plots, render, scalingtext, streamtext
from hpcrefine.report.codes import Codes
from hpcrefine.report.following import Splits
from hpcrefine.report.inference import Inference
from hpcrefine.report.sources import Reported, Wanted, gather
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
    html: Path | None = None,
    force: bool = False,
    job: int | None = None,
    scaling: bool = False,
    against: Sequence[Path] = (),
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
    html : Path, optional
        Also write one page with tables and figures, see :mod:`hpcrefine.report.page`.
    force : bool
        The page may replace a file.
    job : int, optional
        The job whose timeline is drawn; the median one unless given.
    scaling : bool
        Look at all that is given as one study, and say how its times scale, instead.
    against : sequence of Path
        Compare all that is given with these records and studies, instead.

    Returns
    -------
    str
        What is to be printed.

    Raises
    ------
    InputError
        A record cannot be read, or a file cannot be written.
    """
    if force and html is None:
        raise InputError("--force: found no --html beside it, which it is for")
    if html is not None:
        page.check(html, force)
    if job is not None and plot is None and html is None:
        raise InputError(f"--job: found {job}, expected --plot or --html beside it")
    paths = [*map(Path, paths)]
    found = gather(paths, Wanted(phases, codes, split, scaling, tuple(map(Path, against))))
    names, tables = [name for name, _ in found], [table for _, table in found]
    written = [] if csv is None else _write_csv(csv, names, [export.as_csv(t) for t in tables])
    if plot is not None or html is not None:
        shown = plots.gather(paths, tables, job)
        written += [] if plot is None else plots.plot(shown, plot)
        written += [] if html is None else [page.write(shown, html)]
    if json:
        return export.as_json(tables) + "\n"
    notes = "".join(f"wrote {path}\n" for path in written)
    return "\n".join([*(_text(table, phases) for table in tables), *([notes] if notes else [])])


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
