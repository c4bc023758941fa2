"""The timeline of one job: what each worker did when, and what became of it."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hpcrefine.errors import InputError
from hpcrefine.record.reader import Record
from hpcrefine.report.run import describe
from hpcrefine.report.style import COLOURS, canvas, legend
from hpcrefine.report.writing import best_unit

#: Columns of a record that are drawn; upgrades stand for layers in records of inference.
COLUMNS = {
    "workers": ("rank", "threads", "kernel", "session"),
    "jobs": ("variant", "repeat", "warmup", "start", "end", "status", "n", "k", "p"),
    "layers": ("layer", "ready"),
    "upgrades": ("upgrade", "ready"),
    "tasks": ("layer", "unit", "task", "worker", "sent", "received", "compute", "refine", "status"),
    "events": ("time", "rank", "kind", "detail"),
}
_MOST_WORKERS = 48  # that are drawn, of more evenly spread ones
_MOST_BARS = 800
_FINEST = 1 / 2000  # of the time axis: where there are more, bars this close become one
_BAR = 0.72  # of the height of a worker's row
_ROOM = 7  # workers that are given room for at least
# Computed for nothing: paler, with stripes; what was called off is no bar, for it has no result.
_LOOKS: dict[str, dict[str, Any]] = {
    "used": {"lw": 0.4, "edgecolor": "white"},
    "late": {"hatch": "/////", "lw": 0.4, "edgecolor": "white", "alpha": 0.75},
    "rejected": {"hatch": "xxxxx", "lw": 0.4, "edgecolor": "white", "alpha": 0.75},
    "lost": {"hatch": ".....", "lw": 0.4, "edgecolor": "white", "alpha": 0.75},
}
_SAID = {
    "used": "used",
    "late": "late: not needed any more",
    "rejected": "rejected: found wrong",
    "lost": "lost with its worker",
}
_MARKS = {"purged": ("o", "called off"), "lost": ("X", "lost with its worker")}


@dataclass(frozen=True)
class Bar:
    """What a worker did without a break, of one layer and fate.

    Attributes
    ----------
    worker, layer : int
    status : str
        As in the record's table ``tasks``.
    start, end : float
        Seconds since the job's start.
    """

    worker: int
    layer: int
    status: str
    start: float
    end: float


def choose(record: Record, job: int | None = None) -> int:
    """Return the job to draw: the one asked for, or the median one.

    Parameters
    ----------
    record : Record
        With the columns of :data:`COLUMNS`.
    job : int, optional
        An id of the record's; unless given, of the finished jobs with tasks of the first variant
        that is not one-shot, the one with the median time (the lower one of two).

    Raises
    ------
    InputError
        There is no such job, or it has no tasks.
    """
    if len(record.tasks) == 0:
        raise InputError(f"{record.path}: found no tasks, expected some: simulations have none")
    if job is not None:
        if job not in record.tasks["job"]:
            raise InputError(f"--job: {record.path}: found no tasks of job {job}")
        return job
    jobs = record.jobs[np.isin(record.jobs["job"], record.tasks["job"])]
    counted = jobs[~jobs["warmup"]] if not jobs["warmup"].all() else jobs
    layered = counted[counted["variant"] != "oneshot"]
    counted = layered if len(layered) else counted
    mine = counted[counted["variant"] == counted["variant"][np.argmin(counted["job"])]]
    whole = mine[mine["status"] == "done"] if (mine["status"] == "done").any() else mine
    order = np.argsort(whole["end"] - whole["start"], kind="stable")
    return int(whole["job"][order[(len(order) - 1) // 2]])


def bars(tasks: NDArray[np.void]) -> Iterator[Bar]:
    """Yield what the workers computed, in order of workers and time.

    A worker computes one task after the other, each for ``compute + refine`` until at the latest it
    is received; results that reach the master together were computed before one another.

    Parameters
    ----------
    tasks : ndarray
        Rows of one job; those without a result, such as tasks called off, give no bar.
    """
    there = tasks["received"] - tasks["sent"] >= 0
    spent = tasks["compute"] + tasks["refine"]
    done = tasks[there & (spent > 0) & (tasks["status"] != "purged")]
    for worker in np.unique(done["worker"]):
        mine = done[done["worker"] == worker]
        order = np.lexsort([mine[name] for name in ("task", "unit", "layer", "received")])
        found: list[Bar] = []
        following = np.inf
        for row in mine[order][::-1]:
            end = min(float(row["received"]), following)
            start = max(end - float(row["compute"] + row["refine"]), float(row["sent"]))
            following = min(start, end)
            found.append(Bar(int(worker), int(row["layer"]), str(row["status"]), following, end))
        yield from reversed(found)


def timeline(record: Record, job: int | None = None) -> Figure:
    """Draw one job.

    Parameters
    ----------
    record : Record
        With the columns of :data:`COLUMNS`, of products or of inference.
    job : int, optional
        As for :func:`choose`.

    Raises
    ------
    InputError
        As :func:`choose`.
    """
    job = choose(record, job)
    tasks = record.tasks[record.tasks["job"] == job]
    (head,) = record.jobs[record.jobs["job"] == job]
    ready = _ready(record, job)
    run = describe(record)
    workers, everyone = _shown(tasks)
    tasks = tasks[np.isin(tasks["worker"], workers)]
    ends = [*known_times(tasks["received"]), *(time for _, time in ready)]
    last = max(ends, default=1.0) or 1.0
    unit, scale = best_unit(last / 2)
    word = "upgrade" if len(record.upgrades) else "resolution"
    title = f"{run.name or record.path.stem}: {head['variant']}, job {job}"
    figure, axes = canvas(title, width=9.6, height=1.2 + 0.27 * max(len(workers), _ROOM))
    _bars(axes, tasks, workers, scale, last)
    _marks(axes, tasks, workers, scale)
    _resolutions(axes, ready, scale, word)
    axes.set_yticks(range(len(workers)), [str(worker) for worker in workers])
    axes.set_ylim(len(workers) - 0.4, -0.6)
    axes.set_xlim(0, 1.02 * scale * last)
    axes.grid(False, axis="y")
    axes.set_xlabel(f"time since the job's start [{unit}]")
    some = f" ({len(workers)} of {everyone})" if everyone > len(workers) else ""
    axes.set_ylabel(f"worker{some}")
    _keys(axes, tasks, word)
    legend(axes)
    return figure


def known_times(times: NDArray[np.float64]) -> list[float]:
    """Return the finite ones of some times."""
    found: list[float] = times[np.isfinite(times)].tolist()
    return found


def _ready(record: Record, job: int) -> list[tuple[int, float]]:
    """Return the layers or upgrades that the job released, and when."""
    name = "upgrade" if len(record.upgrades) else "layer"
    rows = record.upgrades if len(record.upgrades) else record.layers
    mine = rows[(rows["job"] == job) & np.isfinite(rows["ready"])]
    return [(int(row[name]), float(row["ready"])) for row in mine]


def _shown(tasks: NDArray[np.void]) -> tuple[list[int], int]:
    every = np.unique(tasks["worker"])
    places = np.linspace(0, len(every) - 1, min(_MOST_WORKERS, len(every))).round().astype(int)
    return every[places].tolist(), len(every)


def few(found: list[Bar], gap: float, most: int = _MOST_BARS) -> list[Bar]:
    """Make bars one that differ in nothing and are close to each other, until they are few enough.

    Parameters
    ----------
    found : list of Bar
        By workers and time.
    gap : float
        Seconds between, and length of, bars that may be made one; doubled until there are no more
        than `most`, or none are left that could be made one.
    most : int
        How many are few.
    """
    alike = sum(_key(a) != _key(b) for a, b in itertools.pairwise(found)) + 1
    while len(found) > max(most, alike):
        found, gap = list(_merge(found, gap)), 2 * gap
    return found


def _merge(found: Iterable[Bar], gap: float) -> Iterator[Bar]:
    last: Bar | None = None
    for bar in found:
        near = last is not None and bar.start - last.end < gap and bar.end - bar.start < gap
        if last is not None and near and _key(last) == _key(bar):
            last = replace(last, end=bar.end)
            continue
        if last is not None:
            yield last
        last = bar
    if last is not None:
        yield last


def _key(bar: Bar) -> tuple[int, int, str]:
    return bar.worker, bar.layer, bar.status


def _bars(
    axes: Axes, tasks: NDArray[np.void], workers: list[int], scale: float, last: float
) -> None:
    shown = few(list(bars(tasks)), last * _FINEST)
    for key, alike in itertools.groupby(sorted(shown, key=_key), _key):
        worker, layer, status = key
        axes.broken_barh(
            [(scale * bar.start, scale * (bar.end - bar.start)) for bar in alike],
            (workers.index(worker) - _BAR / 2, _BAR),
            facecolor=COLOURS[layer % len(COLOURS)],
            zorder=2,
            **_LOOKS[status],
        )


def _marks(axes: Axes, tasks: NDArray[np.void], workers: list[int], scale: float) -> None:
    """Mark what has no bar where its answer came, or else where it was sent."""
    for status, (marker, label) in _MARKS.items():
        mine = tasks[tasks["status"] == status]
        mine = mine[~(mine["compute"] > 0)] if status == "lost" else mine
        when = np.where(np.isfinite(mine["received"]), mine["received"], mine["sent"])
        for layer in np.unique(mine["layer"]):
            these = mine["layer"] == layer
            x = scale * when[these]
            y = [workers.index(worker) for worker in mine["worker"][these]]
            points = np.unique(np.round(np.stack([x, y]), 9), axis=1)
            colour = COLOURS[layer % len(COLOURS)]
            look: dict[str, Any] = {"ls": "none", "marker": marker, "ms": 6, "mew": 1.2}
            axes.plot(*points, color=colour, markerfacecolor="white", zorder=3, **look)
        if len(mine):
            axes.plot([], [], ls="none", marker=marker, color="#555555", mfc="white", label=label)


def _resolutions(axes: Axes, ready: list[tuple[int, float]], scale: float, word: str) -> None:
    for layer, time in ready:
        colour = COLOURS[layer % len(COLOURS)]
        axes.axvline(scale * time, color=colour, lw=1.8, zorder=1)
    if ready:
        axes.plot([], [], color="#555555", lw=1.8, label=f"the {word} is ready")


def _keys(axes: Axes, tasks: NDArray[np.void], word: str) -> None:
    """Say what colours and stripes mean."""
    for layer in np.unique(tasks["layer"]):
        colour = COLOURS[layer % len(COLOURS)]
        axes.broken_barh([], (0, 0), facecolor=colour, label=f"task of {word} {layer}")
    done = tasks[tasks["compute"] > 0]
    for status, label in _SAID.items():
        if status in done["status"] and status != "used":
            axes.broken_barh([], (0, 0), facecolor="#888888", label=label, **_LOOKS[status])
