"""Draw error against time from a record: what is known of the product, and when.

python -m bench.anytime_picture results/normal-4096-....h5 bench/normal-4096.svg
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from hpcrefine.record.reader import Record, read
from hpcrefine.report.tables import Row, summarise

BOUND, MEASURED, ONESHOT = "#1b6ca8", "#e07a1f", "#555555"


def main() -> None:
    """Draw one record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("record", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    record = read(options.record)
    figure, axes = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
    draw(axes, record)
    figure.savefig(options.picture)


def draw(axes: Axes, record: Record) -> None:
    """Draw every run as points, the medians as steps: an error holds until the next layer."""
    table = summarise(record)
    layered = [row for row in table.rows if row.variant == "layered"]
    jobs = record.jobs[(record.jobs["variant"] == "layered") & ~record.jobs["warmup"]]
    runs = record.layers[np.isin(record.layers["job"], jobs["job"])]
    scale = layered[0].error_bound / layered[0].relative_bound
    end = 1.2 * max(table.baseline, runs["ready"].max())
    axes.set_xlim(0, end)
    for colour, name in ((BOUND, "error_bound"), (MEASURED, "error_measured")):
        axes.plot(runs["ready"], runs[name] / scale, ".", color=colour, alpha=0.35, ms=5)
        label = "guaranteed bound" if name == "error_bound" else "measured error"
        _steps(axes, layered, name, scale, colour, label)
    axes.axvline(table.baseline, color=ONESHOT, ls="--", lw=1.2)
    axes.annotate(
        f"one-shot float64,  \n{table.baseline:.2f} s  ",
        (table.baseline, 0.93),
        xycoords=("data", "axes fraction"),
        color=ONESHOT,
        ha="right",
        va="top",
    )
    axes.set(
        yscale="log",
        xlabel="time since the start of the product [s]",
        ylabel=r"largest error / max$|a_i|$ max$|b_j|$",
        title=f"{table.shape}, {table.workers} workers, kernel {table.kernel}: "
        f"{len(jobs)} runs, medians as steps",
    )
    axes.grid(alpha=0.25)
    axes.legend(loc="lower left", frameon=False)


def _steps(axes: Axes, rows: list[Row], name: str, scale: float, colour: str, label: str) -> None:
    times = [row.ready.median for row in rows]
    errors = [getattr(row, name) / scale for row in rows]
    end = axes.get_xlim()[1]
    axes.step([*times, end], [*errors, errors[-1]], where="post", color=colour, label=label)


if __name__ == "__main__":
    main()
