"""Tables for programs (JSON) and for spreadsheets (CSV)."""

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from hpcrefine.analysis.statistics import Mean, Summary
from hpcrefine.report.codes import Codes
from hpcrefine.report.codes import Row as CodeRow
from hpcrefine.report.following import Row as SplitRow
from hpcrefine.report.following import Splits
from hpcrefine.report.inference import Inference
from hpcrefine.report.inference import Row as InferenceRow
from hpcrefine.report.streams import Row as StreamRow
from hpcrefine.report.streams import Streams
from hpcrefine.report.tables import Row, Table

_TIMES = {
    *("decoding", "checking", "deadline", "median", "p90", "p99", "bound", "waiting", "service"),
    *("overhead", "mean"),
}


def as_json(tables: Sequence[Table | Codes | Streams | Splits | Inference]) -> str:
    """Render tables as a JSON list, times in seconds, NaN and infinity as ``null``."""
    return json.dumps([_finite(asdict(table)) for table in tables], indent=2, allow_nan=False)


def as_csv(table: Table | Codes | Streams | Splits | Inference) -> str:
    """Render a table as CSV: a line per row, units in the header, NaN empty."""
    if isinstance(table, Codes):
        run = {"files": " ".join(run.file for run in table.runs)}
    else:
        names = ("file", "name", "kind", "workers", "kernel", "threads", "shape")
        run = {name: getattr(table, name) for name in names}
    lines = [run | dict(_flat(row)) for row in table.rows]
    header = lines[0] if lines else run
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(f"{name} [{_unit(name)}]" for name in header)
    for line in lines:
        writer.writerow("" if _is_nan(value) else value for value in line.values())
    return out.getvalue()


def _flat(row: Row | CodeRow | StreamRow | SplitRow | InferenceRow) -> Iterator[tuple[str, Any]]:
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
    times = name.startswith(("ready_", "delay_", "phases_", "first_", "last_"))
    return "s" if times and not name.endswith("_count") else "1"


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
