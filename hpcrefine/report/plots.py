"""Records and studies to figures: what is drawn together, and what the files are called."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcrefine.analysis.comparison import Comparison
from hpcrefine.analysis.samples import TABLES, following
from hpcrefine.analysis.scaling import Scaling, tabulate
from hpcrefine.analysis.study import Study, load
from hpcrefine.errors import InputError
from hpcrefine.record.reader import read
from hpcrefine.report.inference import Inference
from hpcrefine.report.sources import OfRecord, Reported, of_records
from hpcrefine.report.streams import Streams
from hpcrefine.report.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Contents:
    """What is drawn, or shown on a page.

    Attributes
    ----------
    name : str
        What files and the page are named after.
    tables : tuple of Table, Streams or Inference
        The table of each record.
    studies : tuple of Study
        The points that the records are of, where they are of studies.
    scalings : tuple of Scaling
        How their times go with their workers.
    comparison : Comparison, optional
        With other studies.
    job : int, optional
        The job whose timeline is wanted; the median one unless given.
    """

    name: str
    tables: tuple[Table | Streams | Inference, ...]
    studies: tuple[Study, ...] = ()
    scalings: tuple[Scaling, ...] = ()
    comparison: Comparison | None = None
    job: int | None = None


@dataclass(frozen=True)
class Drawing:
    """A figure.

    Attributes
    ----------
    kind : str
        What it shows: ``"anytime"``, ``"scaling"``, ``"timeline"``, ...
    file : str
        The (first) record that it is of; empty for one of a whole study.
    name : str
        Of its files, without their endings.
    figure : Figure
    """

    kind: str
    file: str
    name: str
    figure: "Figure"


def gather(paths: Sequence[Path], found: Sequence[Reported], job: int | None = None) -> Contents:
    """Gather what is to be drawn: the tables of a report, and those of each record and study.

    Parameters
    ----------
    paths : sequence of Path
        Records and study folders.
    found : sequence of tables
        What the report of them is made of.
    job : int, optional
        The job whose timeline is wanted.
    """
    tables = [table for table in found if isinstance(table, OfRecord)]
    if len(tables) < len(found):
        tables = of_records(paths)
    scalings = [table for table in found if isinstance(table, Scaling)]
    folders: list[Path | Sequence[Path]] = [path for path in paths if path.is_dir()]
    studies = [load(one, tables=TABLES) for one in folders or ([paths] if scalings else [])]
    names = [study.name for study in studies if study.name]
    names += [] if names else [table.name or Path(table.file).stem for table in tables]
    return Contents(
        name=", ".join(dict.fromkeys(names)),
        tables=tuple(tables),
        studies=tuple(studies),
        scalings=tuple(scalings) or tuple(tabulate(study) for study in studies),
        comparison=next((table for table in found if isinstance(table, Comparison)), None),
        job=job,
    )


def plot(contents: Contents, directory: Path) -> list[Path]:
    """Draw everything to files.

    Parameters
    ----------
    contents : Contents
    directory : Path
        Where the files go, one PNG and one SVG a figure.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    InputError
        There is no matplotlib, no such job, two figures would have the same name, or a file cannot
        be written.
    """
    need_matplotlib("--plot")
    from hpcrefine.report import style

    drawings = [*of_whole(contents), *of_each(contents)]
    names = [drawing.name for drawing in drawings]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{directory}: several figures would be written to {', '.join(twice)}")
    saved = (style.save(drawing.figure, directory, drawing.name) for drawing in drawings)
    return [file for files in saved for file in files]


def need_matplotlib(option: str) -> None:
    """Make sure that figures can be drawn.

    Raises
    ------
    InputError
        There is no matplotlib.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise InputError(
            f"{option}: found no matplotlib, expected it to be installed: "
            "pip install 'hpcrefine[report]'"
        ) from None


def of_whole(contents: Contents) -> Iterator[Drawing]:
    """Yield the figures of a study: error against time, scaling, comparison."""
    from hpcrefine.report import comparisonfigures, scalingfigures

    for study in contents.studies:
        name = study.name or contents.name
        for end, figure in _by_workers(contents, study):
            yield Drawing("anytime", "", f"{name}-{end}", figure)
    for scaling in contents.scalings:
        name = scaling.name or contents.name
        for end, figure in scalingfigures.draw(scaling):
            yield Drawing("scaling", "", f"{name}-{end}", figure)
    found = contents.comparison
    if found is not None:
        for end, figure in comparisonfigures.draw(f"{found.new} against {found.base}", found.rows):
            yield Drawing("comparison", "", f"{contents.name}-{end}", figure)


def of_each(contents: Contents) -> Iterator[Drawing]:
    """Yield the figures of single records; those of streams of one job that differ alike, of all.

    Raises
    ------
    InputError
        A record has no job of the id that is asked for.
    """
    from hpcrefine.report import figures, inferencefigures
    from hpcrefine.report.anytime import anytime
    from hpcrefine.report.distributions import distribution

    together: dict[object, list[Streams]] = {}
    for table in contents.tables:
        stem = Path(table.file).stem
        if not table.rows:
            continue
        if isinstance(table, Streams):
            together.setdefault((table.name, figures.varied([table])), []).append(table)
        elif isinstance(table, Inference):
            for end, figure in inferencefigures.draw(table):
                yield Drawing(end, table.file, f"{stem}-{end}", figure)
        else:
            yield Drawing("anytime", table.file, f"{stem}-anytime", anytime(table))
            yield Drawing("distribution", table.file, f"{stem}-distribution", distribution(table))
        yield from _timeline(table.file, contents.job)
    for alike in together.values():
        for end, figure in figures.draw(alike):
            yield Drawing(end, alike[0].file, f"{Path(alike[0].file).stem}-{end}", figure)


def _timeline(file: str, job: int | None) -> Iterator[Drawing]:
    """Yield the timeline of a record, if it has tasks or a certain job is asked for."""
    from hpcrefine.report import timeline

    record = read(file, timeline.COLUMNS)
    if len(record.tasks) or job is not None:
        figure = timeline.timeline(record, job)
        yield Drawing("timeline", file, f"{Path(file).stem}-timeline", figure)


def _by_workers(contents: Contents, study: Study) -> Iterator[tuple[str, "Figure"]]:
    """Yield error against time with panels by workers, for each series and variant.

    Of runs with the same settings, the first one that has a table.
    """
    from hpcrefine.report import anytime

    curves: dict[tuple[str, str], dict[int, anytime.Curve]] = {}
    tables = {t.file: t for t in contents.tables if isinstance(t, Table) and t.rows}
    for series, workers, table in _points(study, tables):
        for curve in anytime.curves(table):
            found = curves.setdefault((series, curve.name), {})
            found.setdefault(
                workers, anytime.named(curve, f"{workers} worker{'s' * (workers > 1)}")
            )
    curves = {key: found for key, found in curves.items() if len(found) > 1}
    variants = {variant for _, variant in curves}
    for number, ((series, variant), found) in enumerate(curves.items()):
        parts = [series, variant if len(variants) > 1 else ""]
        title = ": ".join([study.name or contents.name, ", ".join(filter(None, parts))])
        figure = anytime.draw(title.removesuffix(": "), [found[key] for key in sorted(found)])
        yield "anytime" if len(curves) == 1 else f"anytime-{number}", figure


def _points(study: Study, tables: dict[str, Table]) -> Iterator[tuple[str, int, Table]]:
    """Yield the series, the workers and the table of each point that has one."""
    apart: Sequence[str] = [key for key in study.settings if key not in following(study)]
    for _, point in study.points.iterrows():
        table = tables.get(str(point["file"]))
        if table is not None:
            yield (
                ", ".join(f"{key}={point[key]}" for key in apart),
                int(point["workers"]),
                table,
            )
