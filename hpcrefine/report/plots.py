"""Records to files of figures: which records are drawn together, and what the files are called."""

from collections.abc import Sequence
from pathlib import Path

from hpcrefine.errors import InputError
from hpcrefine.record.reader import Record
from hpcrefine.report.streams import Streams
from hpcrefine.report.tables import Table


def plot(reported: Sequence[tuple[Record, Table | Streams]], directory: Path) -> list[Path]:
    """Draw records; those of streams of one job in which the same settings differ, together.

    Parameters
    ----------
    reported : sequence of (Record, Table or Streams)
        Each record with its table.
    directory : Path
        Where the files go, one PNG and one SVG a figure, named after the first record in it.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    InputError
        There is no matplotlib, two figures would have the same name, or a file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError(
            "--plot: found no matplotlib, expected it to be installed: "
            "pip install 'hpcrefine[report]'"
        ) from None
    from hpcrefine.report import figures, style
    from hpcrefine.report.anytime import anytime

    drawn: dict[str, list[Figure]] = {}
    together: dict[object, list[figures.Source]] = {}
    for record, table in reported:
        if not table.rows:
            continue
        if isinstance(table, Streams):
            source = figures.Source(record, table)
            together.setdefault((table.name, figures.varied([source])), []).append(source)
        else:
            drawn.setdefault(f"{record.path.stem}-anytime", []).append(anytime(table))
    for sources in together.values():
        for end, figure in figures.draw(sources):
            drawn.setdefault(f"{sources[0].record.path.stem}-{end}", []).append(figure)
    twice = sorted(name for name, alike in drawn.items() if len(alike) > 1)
    if twice:
        raise InputError(f"{directory}: several figures would be written to {', '.join(twice)}")
    saved = (style.save(figure, directory, name) for name, (figure,) in drawn.items())
    return [file for files in saved for file in files]
