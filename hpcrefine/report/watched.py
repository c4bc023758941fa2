"""What is known of a run by now: how far it is, how fast, how long still, what befell it."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError
from hpcrefine.experiment.turns import count_jobs, count_variants
from hpcrefine.job import AnyJob, InferenceJob
from hpcrefine.jobfile import load_text
from hpcrefine.record.tail import News, Tail
from hpcrefine.report.pace import Pace, Steps
from hpcrefine.report.run import Event, as_events, job_name
from hpcrefine.report.writing import (
    BYTE_UNITS,
    best_unit,
    duration,
    markdown,
    mishap_notes,
    number,
    smallest,
)

RUNNING, DONE, INTERRUPTED, UNSEEN = "running", "done", "interrupted", "unseen"
#: Columns that are read again and again.
JOBS = {"jobs": ("variant", "warmup", "end", "status", "verdict", "dead")}
COLUMNS = JOBS | {
    "layers": ("layer", "ready", "error_bound"),
    "upgrades": ("upgrade", "ready", "accuracy"),
    "events": ("time", "rank", "kind", "detail"),
}
# The table, its column that numbers the steps to the result, and what is shown of each.
_STEPS = (("layers", "layer", "error_bound"), ("upgrades", "upgrade", "accuracy"))
_STREAM_ROUND = 25  # jobs: gaps between arrivals vary much
_PATIENCE = 3  # failing looks in a row at a record that could be read before


class Watched:
    """A record that is looked at again and again.

    Parameters
    ----------
    path : Path
        The record.
    steps : bool
        Whether times of layers and upgrades are wanted.

    Attributes
    ----------
    state : str
        ``"running"``, ``"done"``, ``"interrupted"``, or ``"unseen"``: there may be a process that
        writes it, on another host or without locks.
    done : int
        Finished jobs, warm-ups too.
    """

    def __init__(self, path: Path, steps: bool = True) -> None:
        self._path = path
        self._tail = Tail(path, COLUMNS if steps else JOBS)
        self._news: News | None = None
        self._failures = 0
        self._begin()

    def look(self) -> list[str]:
        """Read what is new; return notes on what people should know at once.

        Raises
        ------
        InputError
            No such file, no record, or one that cannot be read for a while.
        """
        try:
            news = self._tail.look()
        except InputError:
            self._failures += 1
            if self._news is not None and not self._path.exists():
                raise InputError(f"{self._path}: has gone while it was watched") from None
            if self._news is None or self._failures == _PATIENCE:
                raise
            return []
        self._failures = 0
        notes = []
        if news.anew:
            if self._news is not None:
                notes += [f"note: another file has taken its place, with {_jobs(news)} jobs"]
            self._begin()
            self._plan(news)
        self._news = news
        self._add(news)
        self.state = self._judge(news)
        events = as_events(news.tables["events"]) if "events" in news.tables else ()
        self._events += events
        return [*notes, *mishap_notes(events)]

    @property
    def over(self) -> bool:
        """Whether nothing more is to come."""
        return self.state in (DONE, INTERRUPTED)

    @property
    def code(self) -> int:
        """The exit code: 1 if the run was interrupted."""
        return int(self.state == INTERRUPTED)

    @property
    def ending(self) -> str:
        """What is to be said of a run that was interrupted; empty for others."""
        if self.state != INTERRUPTED or self._news is None:
            return ""
        measured = self._news.attributes["kind"] == "measured"
        how = f"hpcrefine run JOB.toml --resume -o {self._path}"
        more = f"go on with {how}" if measured else "simulations are run anew"
        return f"{self._path}: its run was interrupted and left {self.done} finished jobs; {more}"

    def line(self) -> str:
        """Say in one line how far it is."""
        parts = [f"{self.state}: {self._progress()}"]
        parts += [f"{self._wrong} wrong"] if self._wrong else []
        parts += [f"{self._lost} lost"] if self._lost else []
        parts += [
            f"{variant} {_time(max(of_it, key=lambda one: one[0])[1].median)}"
            for variant, of_it in self._by_variant().items()
        ]
        return "; ".join(parts)

    def text(self) -> str:
        """Say all that is known; ends with a newline."""
        news = self._news
        if news is None:
            return f"{self._path}: not looked at yet\n"
        title = [job_name(news.attributes["job"]), news.attributes["kind"], self.state]
        lines = [
            f"{self._path}: {'; '.join(filter(None, title))}",
            "",
            f"done     {self._progress()}",
            f"results  {self._wrong} wrong, {self._lost} lost",
        ]
        if self._workers:
            alive = self._workers - self._dead
            lines += [f"workers  {alive} of {self._workers} alive (the master does not count)"]
        lines += [f"file     {_size(news.size)}, {self._writer()}, {_written(news.written)}"]
        lines += ["", self._table()] if self._steps else []
        lines += mishap_notes(self._events)
        return "\n".join(lines) + "\n"

    def _begin(self) -> None:
        self.state, self.done = RUNNING, 0
        self._seen_live = self._unlocked = False
        self._total: int | None = None
        self._pace = Pace()
        self._warmups = self._lost = self._wrong = self._dead = self._workers = 0
        self._steps: dict[tuple[str, int], Steps] = {}
        self._shown = ("layer", "error bound")
        self._events: tuple[Event, ...] = ()

    def _plan(self, news: News) -> None:
        """Find out from the job's text how many jobs there will be."""
        try:
            job = load_text(news.attributes["job"], self._path)
            self._total = count_jobs(job, warmups=news.attributes["kind"] == "measured")
        except InputError:  # written by another program, or what it names is not at hand
            return
        self._pace = Pace(_round(job))
        self._unlocked = job.record.locking is False

    def _add(self, news: News) -> None:
        jobs = news.tables["jobs"]
        self.done += len(jobs)
        self._warmups += int(np.count_nonzero(jobs["warmup"]))
        self._lost += int(np.count_nonzero(jobs["status"] == "lost"))
        self._wrong = news.wrong
        sessions, ranks = news.workers["session"], news.workers["rank"]
        self._workers = int(np.count_nonzero((sessions == sessions.max(initial=0)) & (ranks > 0)))
        if not len(jobs):
            return
        self._dead = int(jobs["dead"][-1])
        self._pace.add(jobs["end"])
        jobs = jobs[~jobs["warmup"]]
        jobs = jobs[np.argsort(jobs["job"])]
        for table, step, shown in _STEPS:
            if table in news.tables:
                self._add_steps(jobs, news.tables[table], step, shown)

    def _add_steps(
        self, jobs: NDArray[np.void], rows: NDArray[np.void], step: str, shown: str
    ) -> None:
        rows = rows[np.isin(rows["job"], jobs["job"])]
        if len(rows):
            self._shown = (step, shown.replace("_", " "))
        variants = jobs["variant"][np.searchsorted(jobs["job"], rows["job"])]
        for variant in np.unique(variants).tolist():
            of_it = rows[variants == variant]
            for index in np.unique(of_it[step]).tolist():
                found = of_it[of_it[step] == index]
                steps = self._steps.setdefault((variant, index), Steps())
                steps.add(found["ready"], float(found[shown][-1]))

    def _judge(self, news: News) -> str:
        """Say what state the record is in; what cannot be seen is not taken for dead."""
        if news.attributes["complete"]:
            return DONE
        self._seen_live |= news.live is True
        if news.live:
            return RUNNING
        if not news.left_open:
            return INTERRUPTED
        here = news.environment.get("host", "") in ("", socket.gethostname())
        told = news.live is False and not self._unlocked and (here or self._seen_live)
        return INTERRUPTED if told else UNSEEN

    def _progress(self) -> str:
        total = "unknown" if self._total is None else str(self._total)
        of_all = "" if self.state == DONE else f" of {total}"
        warm = f" ({self._warmups} of them warm-ups)" if self._warmups else ""
        parts = [f"{self.done}{of_all} jobs{warm}"]
        if not self.over:
            parts += filter(None, [self._pace.rate(), self._pace.left(self._total, self.done)])
        return ", ".join(parts)

    def _writer(self) -> str:
        if self.state == RUNNING:
            return "a process is writing it"
        if self.state == UNSEEN:
            return "whether a process is writing it cannot be seen from here"
        return "no process is writing it"

    def _by_variant(self) -> dict[str, list[tuple[int, Steps]]]:
        found: dict[str, list[tuple[int, Steps]]] = {}
        for (variant, index), steps in sorted(self._steps.items()):
            found.setdefault(variant, []).append((index, steps))
        return found

    def _table(self) -> str:
        unit, factor = best_unit(smallest(steps.median for steps in self._steps.values()))
        step, shown = self._shown
        headings = ("variant", step, "jobs", f"median [{unit}]", f"last [{unit}]", shown)
        return markdown(headings, self._cells(factor))

    def _cells(self, factor: float) -> Iterator[tuple[str, ...]]:
        for variant, of_it in self._by_variant().items():
            for index, steps in of_it:
                times = (number(time * factor, ".4g") for time in (steps.median, steps.last))
                yield variant, str(index), str(steps.count), *times, number(steps.shown, ".3g")


def _round(job: AnyJob) -> int:
    """Return how many jobs make up a round, in which every variant has its turn."""
    if not isinstance(job, InferenceJob) and job.stream is not None:
        return _STREAM_ROUND
    return count_variants(job)


def _jobs(news: News) -> int:
    return len(news.tables["jobs"])


def _time(seconds: float) -> str:
    unit, factor = best_unit(seconds)
    return f"{number(seconds * factor, '.3g')} {unit}"


def _size(size: int) -> str:
    unit, factor = best_unit(size, BYTE_UNITS)
    return f"{size * factor:.3g} {unit}"


def _written(when: float) -> str:
    ago = max(time.time() - when, 0.0)
    return f"last written {time.strftime('%H:%M:%S', time.localtime(when))} ({duration(ago)} ago)"
