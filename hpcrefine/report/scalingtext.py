"""Scaling and comparisons of studies as text for people."""

import math
from collections.abc import Sequence

from hpcrefine.analysis.comparison import Comparison, Difference
from hpcrefine.analysis.model import Model
from hpcrefine.analysis.scaling import Scaling, ScalingRow
from hpcrefine.analysis.statistics import Summary
from hpcrefine.report.writing import Grid, Line, best_unit, lay_out, number, smallest

_FORMULAS = {
    "strong": "Speed-up: T(p0) / T(p); efficiency: p0 T(p0) / (p T(p))",
    "weak": "Efficiency: T(p0) / T(p); speed-up: p / p0 times that",
}
_TERMS = ("serial", "parallel", "logarithmic", "linear")


def text(scaling: Scaling) -> str:
    """Render the scaling of a study as plain text; ends with a newline."""
    return lay_out(lines(scaling))


def lines(scaling: Scaling) -> list[Line]:
    """Say what there is to say of a study's scaling.

    Returns
    -------
    list of str or Grid
        A title, a line for each point, the table with its base, the models, and notes.
    """
    kind = f"{scaling.scaling} scaling" if scaling.scaling else "no scaling"
    said: list[Line] = [
        f"{scaling.name or 'records'}: {kind}",
        *scaling.points,
        "",
        _grid(scaling),
        "",
    ]
    said.append(
        "Medians of times since the job's start. Workers and p do not count the master (rank 0)."
    )
    if scaling.scaling:
        said.append(f"{_FORMULAS[scaling.scaling]}; intervals are 95 % (bootstrap).")
        said.append(f"Base p0: {scaling.base}.")
    if scaling.models:
        said += ["", _models(scaling.models), ""]
        said.append(
            "Model: T(p) = serial + parallel / p + logarithmic * log2(p) + linear * p; error: root "
            "mean square of its relative errors."
        )
    if any(model.points <= len(_TERMS) for model in scaling.models):
        said.append(f"A model of {len(_TERMS)} points or fewer may pass through all of them.")
    return [*said, *scaling.notes]


def comparison(found: Comparison) -> str:
    """Render a comparison of two studies as plain text; ends with a newline."""
    return lay_out(comparison_lines(found))


def comparison_lines(found: Comparison) -> list[Line]:
    """Say what there is to say of two studies side by side: a title, a table, and notes."""
    paired = sum(not math.isnan(row.p) for row in found.rows)
    return [
        f"{found.new} against {found.base}",
        "",
        _differences(found.rows),
        "",
        "Ratio: median of new over median of base, with its 95 % interval (bootstrap).",
        "p: Mann and Whitney's test, two-sided; faster or slower where it is below 5 % after "
        f"Holm's correction for {paired} rows.",
        "Jobs of one run share its luck: only several runs of each show what runs alone differ by.",
        *found.notes,
    ]


def _grid(scaling: Scaling) -> Grid:
    rows = scaling.rows
    unit, scale = best_unit(smallest(row.times.median for row in rows if row.times.count))
    named = any(row.series for row in rows)
    headings = [*(["series"] if named else []), "variant", "layer", "workers", "ranks", "nodes"]
    headings += ["jobs", f"median [{unit}]", f"95 % interval [{unit}]"]
    headings += ["speed-up", "efficiency", "95 % interval"] if scaling.scaling else []
    cells = [
        [
            *([row.series or "-"] if named else []),
            *(row.variant, str(row.layer), str(row.workers), str(row.ranks), str(row.nodes)),
            str(row.jobs) if row.times.count == row.jobs else f"{row.times.count} of {row.jobs}",
            *_times(row.times, scale),
            *(_gains(row) if scaling.scaling else []),
            row.verdict,
        ]
        for row in rows
    ]
    return Grid.of([*headings, "verdict"], cells)


def _gains(row: ScalingRow) -> list[str]:
    interval = _interval(row.efficiency_low, row.efficiency_high, ".3f")
    base = row.efficiency_low == row.efficiency_high == 1
    return [
        number(row.speedup, ".2f"),
        number(row.efficiency, ".3f"),
        "base" if base else interval,
    ]


def _models(models: Sequence[Model]) -> Grid:
    unit, scale = best_unit(max(getattr(model, term) for model in models for term in _TERMS))
    named = any(model.series for model in models)
    headings = [*(["series"] if named else []), "variant", "layer", "points"]
    headings += [f"{term} [{unit}]" for term in _TERMS]
    cells = [
        [
            *([model.series or "-"] if named else []),
            *(model.variant, str(model.layer), str(model.points)),
            *(number(getattr(model, term) * scale, ".4g") for term in _TERMS),
            number(model.r2, ".3f"),
            number(100 * model.error, ".1f"),
        ]
        for model in models
    ]
    return Grid.of([*headings, "R2", "error [%]"], cells)


def _differences(rows: Sequence[Difference]) -> Grid:
    medians = (times.median for row in rows for times in (row.base, row.new) if times.count)
    unit, scale = best_unit(smallest(medians))
    named = any(row.settings for row in rows)
    headings = [*(["settings"] if named else []), "ranks", "variant", "layer"]
    for which in ("base", "new"):
        headings += [f"{which} jobs", f"{which} [{unit}]", f"{which} 95 % [{unit}]"]
    cells = [
        [
            *([row.settings or "-"] if named else []),
            *(str(row.ranks), row.variant, str(row.layer)),
            *(str(row.base.count), *_times(row.base, scale)),
            *(str(row.new.count), *_times(row.new, scale)),
            number(row.ratio, ".3f"),
            _interval(row.low, row.high, ".3f"),
            number(row.p, ".2g"),
            row.verdict,
        ]
        for row in rows
    ]
    return Grid.of([*headings, "ratio", "95 % interval", "p", "verdict"], cells)


def _times(times: Summary, scale: float) -> list[str]:
    interval = _interval(times.low * scale, times.high * scale, ".4g")
    return [number(times.median * scale, ".4g"), interval]


def _interval(low: float, high: float, form: str) -> str:
    return "-" if math.isnan(low) else f"{number(low, form)} .. {number(high, form)}"
