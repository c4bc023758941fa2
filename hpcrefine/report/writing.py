"""What all tables for people have in common: their layout, numbers, units, titles and notes."""

import io
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from rich import box
from rich.console import Console
from rich.table import Table as Layout

from hpcrefine.analysis import stability
from hpcrefine.analysis.statistics import Summary
from hpcrefine.report.run import Event, Run

# Wide enough for any table: text that goes to a file or a pipe must not be cut.
_WIDTH = 10_000
TIME_UNITS = (("s", 1.0), ("ms", 1e3), ("us", 1e6))
OPERATION_UNITS = (("G", 1e-9), ("M", 1e-6), ("k", 1e-3), ("1", 1.0))
_LONG_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
BYTE_UNITS = (("GB", 1e-9), ("MB", 1e-6), ("kB", 1e-3), ("B", 1.0))
TEXT_COLUMNS = (
    *("series", "settings", "variant", "scheme", "split", "stream", "verdict"),
    *("record", "kind", "complete", "shape", "started"),
)
_MISHAPS = {
    "died": "died",
    "silent": "went silent",
    "lied": "sent wrong results",
    "dropped": "was dropped",
}
_MOST_EVENTS = 10


@dataclass(frozen=True)
class Grid:
    """A table of text.

    Attributes
    ----------
    headings : tuple of str
        Of the columns.
    rows : tuple of tuple of str
        The cells of each.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, headings: Iterable[str], rows: Iterable[Iterable[str]]) -> Self:
        """Make a table of any sequences."""
        return cls(tuple(headings), tuple(tuple(cells) for cells in rows))


#: A line of a report, or a table in its place.
Line = str | Grid


def lay_out(lines: Iterable[Line]) -> str:
    """Write lines as plain text; ends with a newline."""
    texts = (
        markdown(line.headings, line.rows) if isinstance(line, Grid) else line for line in lines
    )
    return "\n".join(texts) + "\n"


def title(run: Run) -> str:
    """Return one line that says which run a table is of."""
    parts = [
        run.name,
        run.kind,
        f"{run.workers} workers and the master",
        f"kernel {run.kernel} with {run.threads} threads" if run.kernel else "",
        run.shape,
    ]
    return f"{run.file}: " + "; ".join(part for part in parts if part)


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a table of text, wider than any terminal if need be; no newline at its end."""
    grid = Layout(box=box.MARKDOWN)
    for heading in headings:
        grid.add_column(
            heading, justify="left" if heading in TEXT_COLUMNS else "right", no_wrap=True
        )
    for cells in rows:
        grid.add_row(*cells)
    out = io.StringIO()
    Console(file=out, width=_WIDTH, markup=False, highlight=False, emoji=False).print(grid)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines() if line.strip())


def clock(run: Run) -> str:
    """Say what the times of a run were taken on."""
    return "rank 0's clock" if run.kind == "measured" else "the simulated clock"


def run_notes(run: Run) -> Iterator[str]:
    """Yield a line for each thing about a run that its reader must know."""
    if not run.complete:
        yield f"note: run was interrupted: {run.finished} finished jobs"
    if len(run.sessions) > 1:
        workers = ", ".join(map(str, run.sessions))
        yield f"note: run was resumed: started {len(run.sessions)} times, with {workers} workers"
    if run.warmups:
        yield f"note: {run.warmups} warm-ups left out"
    if run.stopped or run.lost:
        yield f"note: {run.stopped} jobs were stopped early, {run.lost} lost"
    yield from mishap_notes(run.events)


def mishap_notes(events: Iterable[Event]) -> Iterator[str]:
    """Yield a line for each of the first mishaps of workers, and one for those that follow."""
    mishaps = [event for event in events if event.kind in _MISHAPS]
    yield from map(_mishap, mishaps[:_MOST_EVENTS])
    if len(mishaps) > _MOST_EVENTS:
        yield f"note: {len(mishaps) - _MOST_EVENTS} further such events"


def _mishap(event: Event) -> str:
    detail = f": {event.detail}" if event.detail else ""
    what = _MISHAPS[event.kind]
    return f"note: worker {event.rank} {what} at {event.time:.3f} s, in job {event.job}{detail}"


def wrong_warnings(entries: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Warn of labels whose verdict is ``"wrong"``."""
    wrong = [label for label, verdict in entries if verdict == "wrong"]
    if wrong:
        yield f"warning: WRONG results, their times mean nothing: {', '.join(wrong)}"


def time_warnings(entries: Iterable[tuple[str, Summary]]) -> Iterator[str]:
    """Warn of labels whose times are few or unstable."""
    findings = ((label, stability.width(times)) for label, times in entries)
    yield from (f"warning: {line}" for line in stability.together(findings))


def smallest(values: Iterable[float]) -> float:
    """Return the least value above 0; 1 if there is none."""
    return min((value for value in values if value > 0), default=1.0)


def best_unit(value: float, units: Sequence[tuple[str, float]] = TIME_UNITS) -> tuple[str, float]:
    """Return name and factor of the unit in which a value is 1 or more."""
    return next((unit for unit in units if value * unit[1] >= 1), units[-1])


def duration(seconds: float) -> str:
    """Write a time of seconds to days in its two largest units, whole ones."""
    left = round(seconds)
    for (name, size), (lesser, part) in itertools.pairwise(_LONG_UNITS):
        if left >= size:
            return f"{left // size} {name} {left % size // part} {lesser}"
    return f"{left} s"


def count(number: int) -> str:
    """Write a number, -1 for one that is not known."""
    return "-" if number < 0 else str(number)


def beside(stragglers: Iterable[int]) -> str:
    """Say how many stragglers there were, to follow the name of an axis; nothing if none."""
    slow = sorted({count(number) for number in stragglers} - {"0", "-"})
    return f", {' or '.join(slow)} stragglers" if slow else ""


def number(value: float, form: str) -> str:
    """Write a number in a format, NaN as a dash."""
    if math.isnan(value):
        return "-"
    return "0" if value == 0 else format(value, form)
