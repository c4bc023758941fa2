"""Tables of products and of codes as text for people."""

import math
from collections.abc import Iterator, Sequence

from hpcrefine.analysis.statistics import Summary
from hpcrefine.record.schema import PHASES, TABLES
from hpcrefine.report.codes import Codes
from hpcrefine.report.codes import Row as CodeRow
from hpcrefine.report.tables import Row, Table
from hpcrefine.report.writing import (
    BYTE_UNITS,
    Grid,
    Line,
    best_unit,
    clock,
    count,
    lay_out,
    number,
    run_notes,
    smallest,
    time_warnings,
    title,
    wrong_warnings,
)


def text(table: Table) -> str:
    """Render a table as plain text, of its natural width whatever the terminal's."""
    return lay_out(lines(table))


def lines(table: Table) -> list[Line]:
    """Say what there is to say of a record of products.

    Parameters
    ----------
    table : Table
        What :func:`hpcrefine.report.tables.summarise` made of a record.

    Returns
    -------
    list of str or Grid
        A title, the table, and notes about its base and its soundness.
    """
    said: list[Line] = [title(table)]
    if table.rows:
        said += ["", _grid(table), "", *_caption(table)]
    else:
        said.append("no finished job to report (warm-ups do not count)")
    return [*said, *_notes(table)]


def phases(table: Table) -> str:
    """Render where the time of each resolution went; ends with a newline."""
    return lay_out(phase_lines(table))


def phase_lines(table: Table) -> list[Line]:
    """Say where the time of each resolution went."""
    rows = [row for row in table.rows if not math.isnan(row.phases[PHASES[0]])]
    said: list[Line] = [title(table)]
    if rows:
        unit, scale = _time_unit(rows)
        apart = _differ(table)
        headings = ["variant", *(["stragglers"] if apart else []), "layer"]
        headings += [f"{phase} [{unit}]" for phase in PHASES]
        cells = [
            [
                *_group_cells(row, apart),
                *(number(row.phases[phase] * scale, ".4g") for phase in PHASES),
                number(row.ready.median * scale, ".4g"),
            ]
            for row in rows
        ]
        grid = Grid.of([*headings, f"ready [{unit}]"], cells)
        said += ["", grid, "", *(f"{name}: {meaning}" for name, meaning in _meanings())]
        said.append("Medians over the jobs, each of its own: their sum is near that of ready.")
    else:
        said.append("no phases in this record")
    return [*said, *_notes(table)]


def _meanings() -> Iterator[tuple[str, str]]:
    for column in TABLES["layers"]:
        if column.name in PHASES:
            yield column.name, column.meaning.removeprefix("of ready: ")


def codes(table: Codes) -> str:
    """Render codes side by side; ends with a newline."""
    return lay_out(code_lines(table))


def code_lines(table: Codes) -> list[Line]:
    """Say what there is to say of codes side by side."""
    said: list[Line] = [line for run in table.runs for line in (title(run), *run_notes(run))]
    if table.rows:
        said += ["", _codes_grid(table.rows), "", *_codes_caption(table)]
    else:
        said.append("no finished job to report (warm-ups do not count)")
    return [*said, *_codes_warnings(table)]


def _grid(table: Table) -> Grid:
    unit, scale = _time_unit(table.rows)
    deadlines = any(not math.isnan(row.met_deadline) for row in table.rows)
    apart = _differ(table)
    headings = ["variant", *(["stragglers"] if apart else []), "layer"]
    headings += ["jobs", "digit products", "share"]
    headings += [f"median [{unit}]", f"95 % interval [{unit}]", f"p99 [{unit}]", "speed"]
    headings += ["error bound", "relative", "measured", "used", "late", "purged", "lost"]
    headings += ["in time"] if deadlines else []
    cells = ([*_group_cells(row, apart), *_cells(row, scale, deadlines)] for row in table.rows)
    return Grid.of([*headings, "verdict"], cells)


def _codes_grid(rows: Sequence[CodeRow]) -> Grid:
    unit, scale = best_unit(smallest(row.first.median for row in rows))
    parts, part = best_unit(smallest(t for row in rows for t in (row.decoding, row.checking)))
    sizes = (size for row in rows for size in (row.sent_bytes, row.received_bytes))
    volume, per_byte = best_unit(smallest(sizes), BYTE_UNITS)
    headings = ["stragglers", "dead", "variant", "scheme", "jobs", "lost"]
    for which in ("first", "last"):
        headings += [f"{which} [{unit}]", f"{which} 95 % [{unit}]", f"{which} p99 [{unit}]"]
    headings += ["ratio", "redundant [%]", f"sent [{volume}]", f"received [{volume}]"]
    headings += [f"decoding [{parts}]", f"checking [{parts}]", "tasks lost", "verdict"]
    cells = [
        [
            *(count(row.stragglers), count(row.dead), row.variant, row.scheme or "-"),
            *(str(row.jobs), str(row.lost)),
            *_summary_cells(row.first, scale),
            *_summary_cells(row.last, scale),
            number(row.ratio, ".3f"),
            number(100 * row.redundant_work, ".1f"),
            number(row.sent_bytes * per_byte, ".4g"),
            number(row.received_bytes * per_byte, ".4g"),
            number(row.decoding * part, ".4g"),
            number(row.checking * part, ".4g"),
            number(row.tasks_lost, ".4g"),
            row.verdict,
        ]
        for row in rows
    ]
    return Grid.of(headings, cells)


def _group_cells(row: Row, apart: bool) -> list[str]:
    return [row.variant, *([count(row.stragglers)] if apart else []), str(row.layer)]


def _summary_cells(times: Summary, scale: float) -> list[str]:
    interval = f"{number(times.low * scale, '.4g')} .. {number(times.high * scale, '.4g')}"
    return [
        number(times.median * scale, ".4g"),
        "-" if math.isnan(times.low) else interval,
        number(times.p99 * scale, ".4g"),
    ]


def _cells(row: Row, scale: float, deadlines: bool) -> list[str]:
    ready = row.ready
    return [
        str(row.jobs) if ready.count == row.jobs else f"{ready.count} of {row.jobs}",
        number(row.digit_products, ".4g"),
        number(row.share, ".3f"),
        *_summary_cells(ready, scale),
        number(row.speed, ".2f"),
        number(row.error_bound, ".1e"),
        number(row.relative_bound, ".1e"),
        number(row.error_measured, ".1e"),
        number(row.tasks_used, ".4g"),
        number(row.tasks_late, ".4g"),
        number(row.tasks_purged, ".4g"),
        number(row.tasks_lost, ".4g"),
        *([number(row.met_deadline, ".2f")] if deadlines else []),
        row.verdict,
    ]


def _caption(table: Table) -> list[str]:
    lines = [f"Times since the job's start on {clock(table)}; tasks are means per job."]
    if math.isnan(table.baseline):
        return [*lines, "No one-shot job to compare with: no speed."]
    unit, scale = best_unit(table.baseline)
    base = f"{table.baseline * scale:.4g} {unit}"
    if _differ(table):
        fewest = min(row.stragglers for row in table.rows if row.variant == "oneshot")
        base += f" with {count(fewest)} stragglers"
    return [*lines, f"Speed: median of one-shot, {base}, over the row's median."]


def _codes_caption(table: Codes) -> Iterator[str]:
    clocks = " and ".join(dict.fromkeys(map(clock, table.runs)))
    yield f"First and last resolution: medians of times since the job's start on {clocks}."
    yield "Redundant: digit products computed over those wanted, minus 1."
    yield (
        "Redundant, bytes in messages and tasks lost are means per job; decoding and checking are "
        "medians."
    )
    yield "Lost jobs do not count in last, redundant, decoding and checking."
    if table.bases:
        yield "Ratio: median of last over that of the base with as many stragglers and dead:"
    for base in table.bases:
        unit, scale = best_unit(base.seconds)
        scheme = f" ({base.scheme})" if base.scheme not in ("", base.variant) else ""
        group = f"{count(base.stragglers)} stragglers, {count(base.dead)} dead"
        yield f"  {group}: {base.variant}{scheme}, {base.seconds * scale:.4g} {unit}"


def _notes(table: Table) -> Iterator[str]:
    yield from run_notes(table)
    apart = _differ(table)
    labels = [_label(row, apart) for row in table.rows]
    yield from time_warnings(zip(labels, (row.ready for row in table.rows), strict=True))
    yield from wrong_warnings(zip(labels, (row.verdict for row in table.rows), strict=True))


def _label(row: Row, apart: bool) -> str:
    stragglers = f" with {count(row.stragglers)} stragglers" if apart else ""
    return f"{row.variant} {row.layer}{stragglers}"


def _codes_warnings(table: Codes) -> Iterator[str]:
    runs = [run for run in table.runs if run.finished]
    settings = {(run.kind, run.shape, run.workers, run.kernel, run.threads) for run in runs}
    if len(settings) > 1 or any("," in run.shape for run in runs):
        yield "warning: jobs differ in kind, shape, workers, kernel or threads: rows mix them"
    labels = [
        f"{row.variant} ({count(row.stragglers)} stragglers, {count(row.dead)} dead)"
        for row in table.rows
    ]
    for which in ("first", "last"):
        times = (getattr(row, which) for row in table.rows)
        yield from time_warnings(zip((f"{which} of {x}" for x in labels), times, strict=True))
    yield from wrong_warnings(zip(labels, (row.verdict for row in table.rows), strict=True))


def _differ(table: Table) -> bool:
    """Whether the record's jobs differ in their stragglers."""
    return len({row.stragglers for row in table.rows}) > 1


def _time_unit(rows: Sequence[Row]) -> tuple[str, float]:
    """One unit for a whole column, after its smallest entry."""
    medians = [row.ready.median for row in rows if row.ready.count]
    return best_unit(min(medians, default=1.0))
