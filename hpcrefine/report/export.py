"""Tables for programs (JSON) and for spreadsheets (CSV)."""

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from hpcrefine.analysis.comparison import Comparison, Difference
from hpcrefine.analysis.scaling import Scaling, ScalingRow
from hpcrefine.analysis.statistics import Mean, Summary
from hpcrefine.report.codes import Codes
from hpcrefine.report.codes import Row as CodeRow
from hpcrefine.report.following import Row as SplitRow
from hpcrefine.report.inference import Row as InferenceRow
from hpcrefine.report.sources import Reported
from hpcrefine.report.streams import Row as StreamRow
from hpcrefine.report.tables import Row

_TIMES = {
    *("decoding", "checking", "deadline", "median", "p90", "p99", "bound", "waiting", "service"),
    *("overhead", "mean"),
}
# What the names of a summary's parts begin with.
_OF_TIMES = ("ready_", "delay_", "phases_", "first_", "last_", "times_", "base_", "new_")


def as_json(tables: Sequence[Reported]) -> str:
    """Render tables as a JSON list, times in seconds, NaN and infinity as ``null``."""
    plain = (asdict(table, dict_factory=_without_replicates) for table in tables)
    return json.dumps([_finite(table) for table in plain], indent=2, allow_nan=False)


def _without_replicates(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in fields if name != "replicates"}


def as_csv(table: Reported) -> str:
    """Render a table as CSV: a line per row, units in the header, NaN empty."""
    run = _origin(table)
    lines = [run | dict(_flat(row)) for row in table.rows]
    header = lines[0] if lines else run
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(f"{name} [{_unit(name)}]" for name in header)
    for line in lines:
        writer.writerow("" if _is_nan(value) else value for value in line.values())
    return out.getvalue()


def _origin(table: Reported) -> dict[str, Any]:
    if isinstance(table, Codes):
        return {"files": " ".join(run.file for run in table.runs)}
    if isinstance(table, Scaling):
        return {"name": table.name, "scaling": table.scaling}
    if isinstance(table, Comparison):
        return {"base": table.base, "new": table.new}
    names = ("file", "name", "kind", "workers", "kernel", "threads", "shape")
    return {name: getattr(table, name) for name in names}


def _flat(
    row: ScalingRow | Difference | Row | CodeRow | StreamRow | SplitRow | InferenceRow,
) -> Iterator[tuple[str, Any]]:
    for name, value in vars(row).items():
        if isinstance(value, Summary | Mean):
            yield from ((f"{name}_{part}", inner) for part, inner in vars(value).items())
        elif isinstance(value, dict):
            yield from ((f"{name}_{part}", inner) for part, inner in value.items())
        else:
            yield name, value


def _unit(name: str) -> str:
    if name.endswith("_bytes"):
        return "B"
    if name == "rate":
        return "1/s"
    if name in _TIMES:
        return "s"
    times = name.startswith(_OF_TIMES)
    return "s" if times and not name.endswith("_count") else "1"


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
