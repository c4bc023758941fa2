"""Tables of inference as text for people."""

import functools
import math
from collections.abc import Callable, Iterator

from hpcrefine.analysis.statistics import Summary
from hpcrefine.report.inference import Inference, Row, Total
from hpcrefine.report.writing import (
    OPERATION_UNITS,
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


def text(table: Inference) -> str:
    """Render a table of inference; ends with a newline."""
    return lay_out(lines(table))


def lines(table: Inference) -> list[Line]:
    """Say what there is to say of a record of inference."""
    said: list[Line] = [title(table)]
    if table.rows:
        columns, sums = list(_columns(table)), list(_sums(table))
        cells = [[write(row) for _, write in columns] for row in table.rows]
        totals = [[write(total) for _, write in sums] for total in table.totals]
        said += ["", Grid.of((heading for heading, _ in columns), cells), ""]
        said += [*_caption(table), "", "After the last upgrade that each job released:", ""]
        said += [Grid.of((heading for heading, _ in sums), totals), "", *_base(table)]
    else:
        said.append("no finished job to report (warm-ups do not count)")
    return [*said, *run_notes(table), *_warnings(table)]


def _units(table: Inference) -> tuple[str, float, str, float]:
    """Return the units and factors of times and of operations, one for the whole table."""
    time, scale = best_unit(smallest(row.ready.median for row in table.rows))
    operations, few = best_unit(smallest(row.operations for row in table.rows), OPERATION_UNITS)
    return time, scale, operations, few


def _columns(table: Inference) -> Iterator[tuple[str, Callable[[Row], str]]]:
    """Yield the columns that say something: heading, and how a cell is written."""
    unit, scale, operations, few = _units(table)

    def said(name: str) -> bool:
        return any(not math.isnan(getattr(row, name)) for row in table.rows)

    yield "variant", lambda row: row.variant
    if _differ(table):
        yield "stragglers", lambda row: count(row.stragglers)
    yield "upgrade", lambda row: str(row.upgrade)
    yield "jobs", lambda row: _jobs(row.jobs, row.ready)
    yield "samples", lambda row: number(row.samples, ".7g")
    yield "decided", lambda row: number(row.decided, ".7g")
    if said("accuracy"):
        yield "accuracy", lambda row: number(row.accuracy, ".4f")
    if said("points"):
        yield "points", lambda row: number(row.points, "+.2f")
    if said("agreement"):
        yield "agreement", lambda row: number(row.agreement, ".4f")
    yield "gray", lambda row: number(row.gray, ".4f")
    if said("auc"):
        yield "AUC", lambda row: number(row.auc, ".4f")
    if said("error_median"):
        yield "median error", lambda row: number(row.error_median, ".2g")
        yield "p99 error", lambda row: number(row.error_p99, ".2g")
    yield f"median [{unit}]", lambda row: number(row.ready.median * scale, ".4g")
    yield f"95 % interval [{unit}]", lambda row: _interval(row.ready, scale)
    if said("ratio"):
        yield "ratio", lambda row: number(row.ratio, ".3f")
    yield f"operations [{operations}]", lambda row: number(row.operations * few, ".4g")
    yield "share", lambda row: number(row.share, ".3f")
    if said("met_deadline"):
        yield "in time", lambda row: number(row.met_deadline, ".2f")
    for fate in ("used", "late", "purged", "lost"):
        yield fate, functools.partial(_fate, f"tasks_{fate}")
    yield "verdict", lambda row: row.verdict


def _sums(table: Inference) -> Iterator[tuple[str, Callable[[Total], str]]]:
    unit, scale, operations, few = _units(table)
    yield "variant", lambda total: total.variant
    if _differ(table):
        yield "stragglers", lambda total: count(total.stragglers)
    yield "jobs", lambda total: _jobs(total.jobs, total.last)
    yield "accuracy", lambda total: number(total.accuracy, ".4f")
    yield "points", lambda total: number(total.points, "+.2f")
    yield "agreement", lambda total: number(total.agreement, ".4f")
    yield f"median [{unit}]", lambda total: number(total.last.median * scale, ".4g")
    yield f"95 % interval [{unit}]", lambda total: _interval(total.last, scale)
    yield "ratio", lambda total: number(total.ratio, ".3f")
    yield (
        f"mean operations [{operations}]",
        lambda total: number(total.operations * few, ".4g"),
    )
    yield "share", lambda total: number(total.share, ".3f")


def _fate(name: str, row: Row) -> str:
    return number(getattr(row, name), ".3g")


def _jobs(jobs: int, times: Summary) -> str:
    return str(jobs) if times.count == jobs else f"{times.count} of {jobs}"


def _interval(times: Summary, scale: float) -> str:
    if math.isnan(times.low):
        return "-"
    return f"{times.low * scale:.4g} .. {times.high * scale:.4g}"


def _caption(table: Inference) -> Iterator[str]:
    yield (
        "Samples: those that enter the upgrade; decided: those whose decision is clear after it; "
        "gray: the share of all whose is not."
    )
    yield (
        "Accuracy, agreement: share of all samples whose latest decision is their label, or the "
        "one after all upgrades."
    )
    if any(not math.isnan(row.error_median) for row in table.rows):
        yield "Error: largest deviation of a sample's scores from those after all upgrades."
    yield (
        f"Median: time since the job's start on {clock(table)}. Operations: multiply-adds of the "
        "upgrade for a sample that enters it, in integers but for one-shot; share: those up to "
        "here, mean over all samples, over those of one-shot."
    )


def _base(table: Inference) -> Iterator[str]:
    unit, scale, operations, few = _units(table)
    if math.isnan(table.baseline):
        yield "No one-shot job to compare with: no ratios."
        return
    fewest = next(total for total in table.totals if total.variant == "oneshot")
    stragglers = f" with {count(fewest.stragglers)} stragglers" if _differ(table) else ""
    yield (
        f"Ratio: to the median of one-shot float32, {table.baseline * scale:.4g} {unit}"
        f"{stragglers}; points: 100 times the difference from its accuracy, "
        f"{number(table.baseline_accuracy, '.4f')}; it takes "
        f"{table.baseline_operations * few:.4g} {operations} multiply-adds a sample."
    )


def _warnings(table: Inference) -> Iterator[str]:
    apart = _differ(table)
    labels = [_label(row, apart) for row in table.rows]
    yield from time_warnings(zip(labels, (row.ready for row in table.rows), strict=True))
    yield from wrong_warnings(zip(labels, (row.verdict for row in table.rows), strict=True))


def _label(row: Row, apart: bool) -> str:
    stragglers = f" with {count(row.stragglers)} stragglers" if apart else ""
    return f"{row.variant} {row.upgrade}{stragglers}"


def _differ(table: Inference) -> bool:
    return len({row.stragglers for row in table.rows}) > 1
