"""One page of HTML on records and studies: opens anywhere, loads nothing, runs nothing."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

import hpcrefine
from hpcrefine.errors import InputError
from hpcrefine.record import state
from hpcrefine.record.reader import Record, read
from hpcrefine.report import codes, inferencetext, markup, render, scalingtext, streamtext
from hpcrefine.report.inference import Inference
from hpcrefine.report.plots import Contents, Drawing, need_matplotlib, of_each, of_whole
from hpcrefine.report.streams import Streams
from hpcrefine.report.tables import COLUMNS, Table
from hpcrefine.report.writing import Grid, Line, clock, count

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_HEAD = "warning: "
_LONG = 240  # characters of a warning
_FEW = 4  # records whose figures are shown, of a study evenly spread ones
_MACHINE = ("host", "cpu", "cores", "memory_bytes", "kernel", "threads", "mpi", "git_commit")
_CAPTIONS = {
    "anytime": "Error against time. Steps: no entry of the product is off by more than this, from "
    "the median time of a resolution until the next one replaces it (numbers: resolutions, 0 is "
    "the coarsest). Points: the largest error measured. Times are since the job's start. "
    "Of several runs of the same point, the first.",
    "scaling": "Scaling with workers; the master does not count as one. Points: medians with 95 % "
    "intervals. Lines: the fitted model, with its band, and what would be ideal from the base "
    "case. Right: efficiency against the base case.",
    "comparison": "Ratios of median times with 95 % intervals. Filled: significant at 5 % by Mann "
    "and Whitney's test, after Holm's correction over all rows.",
    "distribution": "Share of the jobs that have a resolution after so long, lost jobs included: "
    "also how often a deadline of that length would be met.",
    "timeline": "What each worker did during one job, the median one unless another was asked "
    "for. A bar is a task, from the start of its computation to its result; vertical lines: the "
    "resolutions or upgrades are ready.",
    "delay": "Mean delay from a job's arrival to each resolution, beside a bound for any scheme.",
    "success": "Share of jobs that have the resolution in time, with 95 % intervals.",
    "splits": "Mean delays by load split, beside a bound for any scheme.",
    "accuracy": "What the decisions of each upgrade are worth.",
    "gray": "Share of samples that are undecided after each upgrade, and enter the next one.",
    "tradeoff": "What accuracy costs, in operations and in time.",
    "operations": "Mean multiply-adds of a sample, by upgrade.",
    "roc": "True against false positive rates of each upgrade's scores.",
    "errors": "Share of samples whose scores are off by at most so much.",
}
_METHODS = (
    "Times are medians, for they are neither normal nor symmetric. Their 95 % intervals assume no "
    "distribution: they run between two times of the sample, chosen by the binomial distribution "
    "of how many lie below the median (Hoefler and Belli, SC'15). There is none for fewer than 6 "
    "times. A row counts as unstable if its interval is wider than 10 % of the median.",
    "Warm-ups are left out. Variants of one run take turns in random order.",
)
_OF_STREAMS = (
    "Mean delays of streams have intervals by 25 batch means, since delays in a queue depend on "
    "each other; shares of jobs in time have Wilson's interval."
)
_OF_STUDIES = (
    "Strong scaling: efficiency E = p0 T(p0) / (p T(p)); weak: E = T(p0) / T(p); p counts workers, "
    "the master does not count; p0 are the fewest. The model T(p) = serial + parallel / p + "
    "logarithmic log2(p) + linear p has terms of 0 or more, fitted to relative errors; its band "
    "comes from resampling the jobs' times within each number of workers."
)
_OF_COMPARISONS = (
    "Two studies are compared point by point: ratio of medians with a 95 % interval by resampling, "
    "and Mann and Whitney's test, two-sided, with Holm's correction over all rows."
)


@dataclass(frozen=True)
class _Section:
    """A part of the page."""

    name: str
    title: str
    parts: list[str]


def check(path: Path, force: bool) -> None:
    """Make sure that a page can be written, before it is made.

    Raises
    ------
    InputError
        There is no matplotlib, or the file exists and `force` is not given, or is a record.
    """
    need_matplotlib("--html")
    if path.is_dir() or (path.exists() and not force):
        raise InputError(f"--html: {path}: exists already, expected a new file, or --force")
    if path.exists() and state.is_hdf5(path):
        raise InputError(f"--html: {path}: found an HDF5 file, expected another place for a page")


def write(contents: Contents, path: Path) -> Path:
    """Write the page; what was there is replaced in one step.

    Parameters
    ----------
    contents : Contents
    path : Path
        The file.

    Raises
    ------
    InputError
        It cannot be written, or there is no job whose timeline is asked for.
    """
    text = page(contents)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error}") from error
    return path


def page(contents: Contents) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    contents : Contents
        Only some of many records have figures of their own.
    """
    records = {table.file: read(table.file, {}) for table in contents.tables}
    said = {table.file: _lines(table) for table in contents.tables}
    pictures = _pictures(contents)
    sections = [
        section for section in _sections(contents, records, said, pictures) if section.parts
    ]
    body = "\n".join(
        [_header(contents, sections), "<main>", *_warnings(contents, said)]
        + [_section(section) for section in sections]
        + ["</main>", f"<footer>Made by hpcrefine {hpcrefine.__version__}.</footer>"]
    )
    style = files("hpcrefine.report").joinpath("page.css").read_text(encoding="utf-8")
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(contents.name)} - hpcrefine</title>\n"
        f"<style>\n{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _pictures(contents: Contents) -> dict[tuple[str, str], list[str]]:
    """Return the figures as HTML, by kind and record."""
    whole = list(of_whole(contents))
    some = _some([table.file for table in contents.tables])
    shown = tuple(table for table in contents.tables if table.file in some)
    by_workers = any(drawing.kind == "anytime" for drawing in whole)
    found: dict[tuple[str, str], list[str]] = {}
    for number, drawing in enumerate([*whole, *of_each(_only(contents, shown))]):
        if by_workers and drawing.kind == "anytime" and drawing.file:
            continue  # its curve is a panel of the study's
        drawn = markup.picture(drawing.figure, f"f{number}-", _label(drawing))
        caption = _CAPTIONS.get(drawing.kind, "")
        found.setdefault((drawing.kind, drawing.file), []).append(markup.figure(drawn, caption))
    return found


def _only(contents: Contents, tables: tuple[Table | Streams | Inference, ...]) -> Contents:
    return Contents(contents.name, tables, job=contents.job)


def _some(names: list[str]) -> set[str]:
    """Return some of many names, evenly spread, first and last among them."""
    last, few = len(names) - 1, min(len(names), _FEW)
    return {names[round(i * last / max(few - 1, 1))] for i in range(few)}


def _label(drawing: Drawing) -> str:
    what = _CAPTIONS.get(drawing.kind, drawing.kind).split(". ")[0]
    return f"{drawing.name}: {what}"


def _lines(table: Table | Streams | Inference) -> list[Line]:
    if isinstance(table, Streams):
        return streamtext.lines(table)
    if isinstance(table, Inference):
        return inferencetext.lines(table)
    return render.lines(table)


def _header(contents: Contents, sections: Iterable[_Section]) -> str:
    tables = contents.tables
    kinds = " and ".join(dict.fromkeys(table.kind for table in tables))
    what = f"{len(tables)} {kinds} record{'s' * (len(tables) > 1)}"
    finished = sum(table.finished - table.warmups for table in tables)
    links = "".join(f'<li><a href="#{s.name}">{escape(s.title)}</a></li>' for s in sections)
    return (
        f"<header><h1>{escape(contents.name)}</h1>\n"
        f"<p>{escape(what)}, {finished} counted jobs; times on "
        f"{escape(' and '.join(dict.fromkeys(map(clock, tables))))}.</p>\n"
        f'<nav aria-label="contents"><ul>{links}</ul></nav></header>'
    )


def _section(section: _Section) -> str:
    inside = "\n".join(section.parts)
    return (
        f'<section id="{section.name}" aria-labelledby="{section.name}-title">\n'
        f'<h2 id="{section.name}-title">{escape(section.title)}</h2>\n{inside}\n</section>'
    )


def _warnings(contents: Contents, said: dict[str, list[Line]]) -> Iterator[str]:
    """Yield a box of all that a reader must know before anything else."""
    several = len(contents.tables) > 1
    found = [f"interrupted: {t.file}" for t in contents.tables if not t.complete]
    found += [line for scaling in contents.scalings for line in _warned(scaling.notes)]
    found += _warned(contents.comparison.notes) if contents.comparison else []
    for file, lines in said.items():
        head = f"{Path(file).name}: " if several else ""
        found += [head + line for line in _warned(lines)]
    if found:
        short = dict.fromkeys(map(_shorten, found))
        listed = "\n".join(f"<li>{escape(line)}</li>" for line in short)
        yield (
            '<section class="warnings" aria-labelledby="warnings-title">\n'
            f'<h2 id="warnings-title">Warnings</h2>\n<ul>\n{listed}\n</ul></section>'
        )


def _shorten(line: str) -> str:
    """Cut a warning that stands in full length further down."""
    if len(line) <= _LONG:
        return line
    return line[:_LONG].rpartition(", ")[0] + ", ... (all of them below)"


def _warned(said: Iterable[Line]) -> list[str]:
    warnings = (line for line in said if isinstance(line, str) and line.startswith(_HEAD))
    return [line.removeprefix(_HEAD) for line in warnings]


def _sections(
    contents: Contents,
    records: dict[str, Record],
    said: dict[str, list[Line]],
    pictures: dict[tuple[str, str], list[str]],
) -> Iterator[_Section]:
    def drawn(kind: str, files: Iterable[str] = ("", *records)) -> list[str]:
        return [picture for file in files for picture in pictures.get((kind, file), [])]

    yield _Section("origin", "What, where, when", [_origin(contents, records)])
    yield _Section("anytime", "Error against time", drawn("anytime"))
    scalings = [part for one in contents.scalings for part in markup.lines(scalingtext.lines(one))]
    yield _Section("scaling", "Scaling", [*drawn("scaling"), *scalings])
    if contents.comparison is not None:
        compared = markup.lines(scalingtext.comparison_lines(contents.comparison))
        yield _Section("comparison", "Comparison", [*drawn("comparison"), *compared])
    apart = ("anytime", "timeline", "distribution")
    kinds = [kind for kind in _CAPTIONS if kind not in apart]
    folded = len(contents.tables) > _FEW
    parts = [
        _record(table, said[table.file], [p for k in kinds for p in drawn(k, [table.file])], folded)
        for table in contents.tables
    ]
    yield _Section("records", "Record by record" if len(parts) > 1 else "Results", parts)
    yield _Section("codes", "Codes side by side", _codes(contents))
    yield _Section("distributions", "Distributions", drawn("distribution"))
    yield _Section("timelines", "Timelines", drawn("timeline"))
    yield _Section(
        "methods", "How it was computed", [f"<p>{escape(p)}</p>" for p in _methods(contents)]
    )
    yield _Section("jobs", "Job files", list(_jobs(records)))


def _record(
    table: Table | Streams | Inference, said: list[Line], drawn: list[str], folded: bool
) -> str:
    title, *rest = said
    name = str(title).removeprefix(f"{table.file}: ")
    inside = "\n".join([f"<p>{escape(name)}</p>", *drawn, *markup.lines(rest)])
    if folded:
        return markup.details(Path(table.file).name, inside)
    return f"<h3>{escape(Path(table.file).name)}</h3>\n{inside}"


def _codes(contents: Contents) -> list[str]:
    """Compare codes if some record has several, over all records of products."""
    products = [table for table in contents.tables if isinstance(table, Table) and table.rows]
    if not any(len({r.variant for r in t.rows} - {"oneshot"}) > 1 for t in products):
        return []
    compared = codes.compare(read(table.file, COLUMNS) for table in products)
    said = render.code_lines(compared)
    start = next((i for i, line in enumerate(said) if isinstance(line, Grid)), 0)
    return list(markup.lines(said[start:]))


def _origin(contents: Contents, records: dict[str, Record]) -> str:
    """Return tables of the records, and of what they were run on."""
    headings = ("record", "kind", "complete", "workers", "shape", "counted jobs", "lost", "started")
    rows = (
        (
            *(Path(table.file).name, table.kind, "yes" if table.complete else "no: interrupted"),
            *(count(table.workers), table.shape, str(table.finished - table.warmups)),
            *(str(table.lost), str(records[table.file].attributes["created"])),
        )
        for table in contents.tables
    )
    environments = [_environment(record) for record in records.values()]
    names = dict.fromkeys(name for environment in environments for name in environment)
    first = [_fact(name, environments) for name in _MACHINE if name in names]
    others = [_fact(name, environments) for name in names if name not in _MACHINE]
    return "\n".join(
        [
            markup.table(Grid.of(headings, rows)),
            markup.facts(first),
            markup.details("everything known of machines and software", markup.facts(others)),
        ]
    )


def _environment(record: Record) -> dict[str, str]:
    """Return what is known of where a record was made, as text."""
    known = record.environment | {"hpcrefine": record.attributes["hpcrefine_version"]}
    return {name: str(value) for name, value in sorted(known.items()) if str(value)}


def _fact(name: str, environments: Iterable[dict[str, str]]) -> tuple[str, str]:
    """Return a name and its value, or all values there are, for people."""
    values = list(dict.fromkeys(e[name] for e in environments if name in e))
    if name == "memory_bytes":
        values = [f"{int(value) / 2**30:.3g} GiB" for value in values]
    return name.removesuffix("_bytes").replace("_", " "), "; ".join(values)


def _methods(contents: Contents) -> Iterator[str]:
    yield from _METHODS
    if any(isinstance(table, Streams) for table in contents.tables):
        yield _OF_STREAMS
    if contents.scalings:
        yield _OF_STUDIES
    if contents.comparison is not None:
        yield _OF_COMPARISONS


def _jobs(records: dict[str, Record]) -> Iterator[str]:
    """Yield each text of a job once, with the records that it is of."""
    texts: dict[str, list[str]] = {}
    for file, record in records.items():
        texts.setdefault(str(record.attributes["job"]), []).append(Path(file).name)
    for text, names in texts.items():
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield markup.details(f"{names[0]}{others}", markup.verbatim(text))
