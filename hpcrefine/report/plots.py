"""Records to files of figures: which records are drawn together, and what the files are called."""

from collections.abc import Iterable
from pathlib import Path

from hpcrefine.errors import InputError
from hpcrefine.report.inference import Inference
from hpcrefine.report.streams import Streams
from hpcrefine.report.tables import Table


def plot(tables: Iterable[Table | Streams | Inference], directory: Path) -> list[Path]:
    """Draw records; those of streams of one job in which the same settings differ, together.

    Parameters
    ----------
    tables : iterable of Table, Streams or Inference
        The table of each record.
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
    from hpcrefine.report import figures, inferencefigures, style
    from hpcrefine.report.anytime import anytime

    drawn: dict[str, list[Figure]] = {}
    together: dict[object, list[Streams]] = {}
    for table in tables:
        if not table.rows:
            continue
        if isinstance(table, Streams):
            together.setdefault((table.name, figures.varied([table])), []).append(table)
        elif isinstance(table, Inference):
            for end, figure in inferencefigures.draw(table):
                drawn.setdefault(f"{Path(table.file).stem}-{end}", []).append(figure)
        else:
            drawn.setdefault(f"{Path(table.file).stem}-anytime", []).append(anytime(table))
    for alike in together.values():
        for end, figure in figures.draw(alike):
            drawn.setdefault(f"{Path(alike[0].file).stem}-{end}", []).append(figure)
    twice = sorted(name for name, several in drawn.items() if len(several) > 1)
    if twice:
        raise InputError(f"{directory}: several figures would be written to {', '.join(twice)}")
    saved = (style.save(figure, directory, name) for name, (figure,) in drawn.items())
    return [file for files in saved for file in files]
