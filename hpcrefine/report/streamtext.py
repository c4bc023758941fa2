"""Tables of streams as text for people."""

import math
from collections.abc import Callable, Iterator

from hpcrefine.analysis.statistics import BATCHES
from hpcrefine.report.following import NEAR, Change, Splits
from hpcrefine.report.following import Row as SplitRow
from hpcrefine.report.streams import Row, Streams
from hpcrefine.report.writing import (
    Grid,
    Line,
    best_unit,
    clock,
    count,
    lay_out,
    markdown,
    number,
    run_notes,
    smallest,
    title,
    wrong_warnings,
)


def text(table: Streams) -> str:
    """Render a table of streams; ends with a newline."""
    return lay_out(lines(table))


def lines(table: Streams) -> list[Line]:
    """Say what there is to say of a record of streams."""
    said: list[Line] = [title(table)]
    if table.rows:
        columns = list(_columns(table))
        cells = [[write(row) for _, write in columns] for row in table.rows]
        grid = Grid.of((heading for heading, _ in columns), cells)
        said += ["", grid, "", *_caption(table)]
    else:
        said.append("no finished job to report (warm-ups do not count)")
    return [*said, *run_notes(table), *_warnings(table)]


def splits(table: Splits) -> str:
    """Render how the load split followed the workers; ends with a newline."""
    lines = [title(table)]
    if table.rows:
        jobs = sorted({row.job for row in table.rows})
        unit, scale = best_unit(smallest(row.mean for row in table.rows))
        found: dict[tuple[str, ...], dict[int, str]] = {}
        for row in table.rows:
            label = (setting(row, table), str(row.repeat), str(row.worker))
            mean = number(scale * row.mean, ".3g")
            found.setdefault(label, {})[row.job] = f"{row.tasks} ({mean})"
        cells = [[*label, *(shown.get(job, "") for job in jobs)] for label, shown in found.items()]
        headings = ["stream", "repeat", "worker", *(f"job {job}" for job in jobs)]
        lines += ["", markdown(headings, cells), ""]
        lines.append(
            "Coded tasks of a unit that the worker was given for a job of the stream, and in "
            f"brackets its estimated time of a digit product in {unit}."
        )
        lines += [_change(change, table, unit, scale) for change in table.changes]
    else:
        lines.append("no estimates in this record")
    return "\n".join([*lines, *run_notes(table)]) + "\n"


def _change(change: Change, table: Splits, unit: str, scale: float) -> str:
    before, after = (f"{scale * mean:.3g}" for mean in (change.before, change.after))
    return (
        f"{setting(change, table)}, repeat {change.repeat}: worker {change.worker} changed at job "
        f"{change.job} from {before} to {after} {unit}, its tasks "
        f"from {change.tasks_before:g} to {change.tasks_after:g} "
        f"(within {NEAR:.0%} or one task after {change.jobs} jobs)"
    )


def setting(row: Row | SplitRow | Change, table: Streams | Splits) -> str:
    """Say which streams a row is of, in as far as those of the table differ."""
    parts = [row.variant]
    parts += [row.split] if _vary(table, "split") else []
    parts += [f"Omega {row.redundancy:g}"] if _vary(table, "redundancy") else []
    parts += [f"deadline {row.deadline:g} s"] if _vary(table, "deadline") else []
    parts += [f"{count(row.stragglers)} stragglers"] if _vary(table, "stragglers") else []
    return ", ".join(parts)


def _vary(table: Streams | Splits, key: str) -> bool:
    return len({repr(getattr(row, key)) for row in table.rows}) > 1


def _columns(table: Streams) -> Iterator[tuple[str, Callable[[Row], str]]]:
    """Yield the columns that say something: heading, and how a cell is written."""
    rows = table.rows
    unit, scale = best_unit(smallest(row.delay.value for row in rows))

    def time(value: float) -> str:
        return number(value * scale, ".4g")

    timed = any(not math.isnan(row.deadline) for row in rows)
    yield "variant", lambda row: row.variant
    if _vary(table, "split"):
        yield "split", lambda row: row.split
    if _vary(table, "redundancy"):
        yield "Omega", lambda row: number(row.redundancy, ".4g")
    if timed:
        yield f"deadline [{unit}]", lambda row: time(row.deadline)
    if _vary(table, "stragglers"):
        yield "stragglers", lambda row: count(row.stragglers)
    yield "layer", lambda row: str(row.layer)
    yield "jobs", _jobs
    yield f"mean delay [{unit}]", lambda row: time(row.delay.value)
    yield "+-", lambda row: time(row.delay.half)
    yield f"bound [{unit}]", lambda row: time(row.bound)
    yield f"median [{unit}]", lambda row: time(row.median)
    yield f"p90 [{unit}]", lambda row: time(row.p90)
    yield f"p99 [{unit}]", lambda row: time(row.p99)
    if timed:
        yield "in time", lambda row: number(row.success, ".3f")
        yield "95 % interval", lambda row: f"{row.success_low:.3f} .. {row.success_high:.3f}"
    if table.base:
        yield "ratio", lambda row: number(row.ratio, ".3f")
    yield f"waiting [{unit}]", lambda row: time(row.waiting)
    yield f"service [{unit}]", lambda row: time(row.service)
    yield "rho", lambda row: number(row.utilisation, ".3f")
    if any(not math.isnan(row.overhead) for row in rows):
        yield "master [ms]", lambda row: number(1e3 * row.overhead, ".3g")
        yield "master [%]", _overhead
    yield "verdict", lambda row: row.verdict


def _jobs(row: Row) -> str:
    return str(row.jobs) if row.delay.count == row.jobs else f"{row.delay.count} of {row.jobs}"


def _overhead(row: Row) -> str:
    return number(100 * row.overhead / row.service, ".2g") if row.service else "-"


def _caption(table: Streams) -> Iterator[str]:
    timed = any(not math.isnan(row.deadline) for row in table.rows)
    yield (
        f"Delay: from a job's arrival to the layer, on {clock(table)}, over the jobs that released "
        f"it; +-: half of a 95 % interval by {BATCHES} batch means, since delays in a queue depend "
        "on each other."
    )
    yield (
        "Bound: no scheme's mean delay is lower: M/D/1, Poisson arrivals to all workers pooled "
        "into one that never errs (Pollaczek-Khinchine), at the speeds estimated; "
        "rho: the share of time for which that one is busy."
    )
    if timed:
        yield (
            "In time: share of all jobs that released the layer before their deadline, with "
            "Wilson's interval. Jobs that are cut short keep others waiting less: then mean delays "
            "may be below the bounds."
        )
    yield "Waiting: mean time from arrival to start; service: from start to end."
    if any(not math.isnan(row.overhead) for row in table.rows):
        yield (
            "Master: mean time a job for cutting operands into digits and for decoding the last "
            "layer released; % of the mean service."
        )
    if table.base:
        yield f"Ratio: mean delay over that of the split {table.base}, all else equal."


def _warnings(table: Streams) -> Iterator[str]:
    last = {setting(row, table): row for row in table.rows}
    unstable = [label for label, row in last.items() if row.utilisation >= 1]
    if unstable:
        yield (
            "warning: rho >= 1, the queue grows for as long as jobs arrive and its delays have no "
            f"mean: {'; '.join(unstable)}"
        )
    yield from wrong_warnings((label, row.verdict) for label, row in last.items())
