"""Tables for people (text), for programs (JSON) and for spreadsheets (CSV)."""

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as Grid

from hpcrefine.record.schema import PHASES, TABLES
from hpcrefine.report.statistics import SMALLEST, UNSTABLE, Summary
from hpcrefine.report.tables import Row, Table

# Wide enough for any table: text that goes to a file or a pipe must not be cut.
_WIDTH = 10_000
_TIME_UNITS = (("s", 1.0), ("ms", 1e3), ("us", 1e6))


def text(table: Table) -> str:
    """Render a table as plain text, of its natural width whatever the terminal's.

    Parameters
    ----------
    table : Table
        What :func:`hpcrefine.report.tables.summarise` made of a record.

    Returns
    -------
    str
        A title, the table, and notes about its base and its soundness; ends with a newline.
    """
    lines = [_title(table)]
    if table.rows:
        lines += ["", _grid(table), "", *_caption(table)]
    else:
        lines.append("no finished job to report (warm-ups do not count)")
    lines += _notes(table)
    return "\n".join(lines) + "\n"


def phases(table: Table) -> str:
    """Render where the time of each resolution went; ends with a newline."""
    rows = [row for row in table.rows if not math.isnan(row.phases[PHASES[0]])]
    lines = [_title(table)]
    if rows:
        unit, scale = _time_unit(rows)
        headings = ["variant", "layer", *(f"{phase} [{unit}]" for phase in PHASES)]
        cells = [
            [
                *(row.variant, str(row.layer)),
                *(_number(row.phases[phase] * scale, ".4g") for phase in PHASES),
                _number(row.ready.median * scale, ".4g"),
            ]
            for row in rows
        ]
        grid = _markdown([*headings, f"ready [{unit}]"], cells)
        lines += ["", grid, "", *(f"{name}: {meaning}" for name, meaning in _meanings())]
        lines.append("Medians over the jobs, each of its own: their sum is near that of ready.")
    else:
        lines.append("no phases in this record")
    return "\n".join([*lines, *_notes(table)]) + "\n"


def _meanings() -> Iterator[tuple[str, str]]:
    for column in TABLES["layers"]:
        if column.name in PHASES:
            yield column.name, column.meaning.removeprefix("of ready: ")


def as_json(tables: Sequence[Table]) -> str:
    """Render tables as a JSON list, times in seconds, NaN and infinity as ``null``."""
    return json.dumps([_finite(asdict(table)) for table in tables], indent=2, allow_nan=False)


def as_csv(table: Table) -> str:
    """Render a table as CSV: a line per variant and layer, units in the header, NaN empty."""
    run = {name: getattr(table, name) for name in ("file", "name", "kind", "workers", "kernel")} | {
        "threads": table.threads,
        "shape": table.shape,
    }
    lines = [run | dict(_flat(row)) for row in table.rows]
    header = lines[0] if lines else run
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(f"{name} [{_unit(name)}]" for name in header)
    for line in lines:
        writer.writerow("" if _is_nan(value) else value for value in line.values())
    return out.getvalue()


def _title(table: Table) -> str:
    parts = [
        table.name,
        table.kind,
        f"{table.workers} workers and the master",
        f"kernel {table.kernel} with {table.threads} threads" if table.kernel else "",
        table.shape,
    ]
    return f"{table.file}: " + "; ".join(part for part in parts if part)


def _grid(table: Table) -> str:
    unit, scale = _time_unit(table.rows)
    deadlines = any(not math.isnan(row.met_deadline) for row in table.rows)
    headings = ["variant", "layer", "jobs", "digit products", "share"]
    headings += [f"median [{unit}]", f"95 % interval [{unit}]", f"p99 [{unit}]", "speed"]
    headings += ["error bound", "relative", "measured", "used", "late", "purged", "lost"]
    headings += ["in time"] if deadlines else []
    return _markdown([*headings, "verdict"], [_cells(row, scale, deadlines) for row in table.rows])


def _markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    grid = Grid(box=box.MARKDOWN)
    for heading in headings:
        text = heading in ("variant", "verdict")
        grid.add_column(heading, justify="left" if text else "right", no_wrap=True)
    for cells in rows:
        grid.add_row(*cells)
    out = io.StringIO()
    Console(file=out, width=_WIDTH, markup=False, highlight=False, emoji=False).print(grid)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines() if line.strip())


def _cells(row: Row, scale: float, deadlines: bool) -> list[str]:
    ready = row.ready
    interval = f"{_number(ready.low * scale, '.4g')} .. {_number(ready.high * scale, '.4g')}"
    return [
        row.variant,
        str(row.layer),
        str(row.jobs) if ready.count == row.jobs else f"{ready.count} of {row.jobs}",
        _number(row.digit_products, ".4g"),
        _number(row.share, ".3f"),
        _number(ready.median * scale, ".4g"),
        "-" if math.isnan(ready.low) else interval,
        _number(ready.p99 * scale, ".4g"),
        _number(row.speed, ".2f"),
        _number(row.error_bound, ".1e"),
        _number(row.relative_bound, ".1e"),
        _number(row.error_measured, ".1e"),
        _number(row.tasks_used, ".4g"),
        _number(row.tasks_late, ".4g"),
        _number(row.tasks_purged, ".4g"),
        _number(row.tasks_lost, ".4g"),
        *([_number(row.met_deadline, ".2f")] if deadlines else []),
        row.verdict,
    ]


def _caption(table: Table) -> list[str]:
    clock = "rank 0's clock" if table.kind == "measured" else "the simulated clock"
    lines = [f"Times since the job's start on {clock}; tasks are means per job."]
    if math.isnan(table.baseline):
        return [*lines, "No one-shot job to compare with: no speed."]
    unit, scale = _best_unit(table.baseline)
    base = f"{table.baseline * scale:.4g} {unit}"
    return [*lines, f"Speed: median of one-shot, {base}, over the row's median."]


def _notes(table: Table) -> Iterator[str]:
    if not table.complete:
        yield f"note: run was interrupted: {table.finished} finished jobs"
    if table.warmups:
        yield f"note: {table.warmups} warm-ups left out"
    if table.stopped or table.lost:
        yield f"note: {table.stopped} jobs were stopped early, {table.lost} lost"
    few = [row for row in table.rows if row.ready.count < SMALLEST]
    if few:
        yield f"warning: fewer than {SMALLEST} times, no 95 % interval: {_listed(few)}"
    unstable = [row for row in table.rows if row.ready.unstable]
    if unstable:
        yield (
            f"warning: unstable, interval wider than {UNSTABLE:.0%} of the median: "
            f"{_listed(unstable)}"
        )
    wrong = [row for row in table.rows if row.verdict == "wrong"]
    if wrong:
        yield f"warning: WRONG results, their times mean nothing: {_listed(wrong)}"


def _listed(rows: Iterable[Row]) -> str:
    return ", ".join(f"{row.variant} {row.layer}" for row in rows)


def _time_unit(rows: Sequence[Row]) -> tuple[str, float]:
    """One unit for a whole column, after its smallest entry."""
    medians = [row.ready.median for row in rows if row.ready.count]
    return _best_unit(min(medians, default=1.0))


def _best_unit(seconds: float) -> tuple[str, float]:
    return next((u for u in _TIME_UNITS if seconds * u[1] >= 1), _TIME_UNITS[-1])


def _number(value: float, form: str) -> str:
    if math.isnan(value):
        return "-"
    return "0" if value == 0 else format(value, form)


def _flat(row: Row) -> Iterator[tuple[str, Any]]:
    for name, value in vars(row).items():
        if isinstance(value, Summary):
            yield from ((f"{name}_{part}", inner) for part, inner in vars(value).items())
        elif isinstance(value, dict):
            yield from ((f"{name}_{part}", inner) for part, inner in value.items())
        else:
            yield name, value


def _unit(name: str) -> str:
    times = name.startswith(("ready_", "delay_", "phases_")) and not name.endswith("_count")
    return "s" if times else "1"


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
