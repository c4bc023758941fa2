"""Tables from records. Reads :mod:`hpcrefine.record`, never the cluster."""

from collections.abc import Sequence
from pathlib import Path

from hpcrefine.analysis.comparison import Comparison
from hpcrefine.analysis.scaling import Scaling
from hpcrefine.errors import InputError
from hpcrefine.report import export, inferencetext, plots, render, scalingtext, streamtext
from hpcrefine.report.codes import Codes
from hpcrefine.report.following import Splits
from hpcrefine.report.inference import Inference
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
    found = gather(paths, Wanted(phases, codes, split, scaling, tuple(map(Path, against))))
    names, tables = [name for name, _ in found], [table for _, table in found]
    written = [] if csv is None else _write_csv(csv, names, [export.as_csv(t) for t in tables])
    if plot is not None:
        drawn = [table for table in tables if isinstance(table, OfRecord)]
        written += plots.plot(drawn or of_records(paths), plot)
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
