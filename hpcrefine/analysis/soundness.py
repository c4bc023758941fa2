"""What makes the points of a study hard to compare, in words."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcrefine.analysis.sources import Source
from hpcrefine.record.reader import Record

if TYPE_CHECKING:
    from pandas import DataFrame

#: Attributes that should be the same for all points.
COMPARED = (
    *("host", "platform", "cpu", "cores", "memory_bytes", "kernel", "threads", "blas"),
    *("openblas_coretype", "python", "numpy", "mpi", "mpi4py", "hpcrefine_version", "git_commit"),
)
_SHOWN = 4  # values of an attribute, names of points
_WIDTH = 50  # characters of a value


def facts(record: Record) -> dict[str, Any]:
    """Return the environment of a record, with the version that wrote it and when."""
    names = ("hpcrefine_version", "format_version", "created")
    return record.environment | {name: record.attributes[name] for name in names}


def warnings_of(sources: Sequence[Source]) -> Iterator[str]:
    """Yield a line for each thing in which points differ that were not to, or that went wrong."""
    there = [source for source in sources if source.record is not None]
    swept = {key.rpartition(".")[2] for source in sources for key in source.settings}
    for attribute in COMPARED:
        if attribute not in swept:
            yield from _differences(attribute, there)
    told = {s.name: s.record.environment.get("kernel_warning") for s in there if s.record}
    for warning in dict.fromkeys(filter(None, told.values())):
        yield from _about(str(warning), (name for name in told if told[name] == warning))
    yield from _about(
        "interrupted or still running",
        (s.name for s in there if s.record and not s.record.complete),
    )
    yield from _about("resumed with other workers or ranks than planned", _odd(there))
    wrong = (source.name for source in there if _any(source, "verdict", "wrong"))
    yield from _about("WRONG results, their times mean nothing", wrong)
    yield from _about("jobs were lost", (s.name for s in there if _any(s, "status", "lost")))


def surroundings_apart(base: "DataFrame", new: "DataFrame") -> Iterator[str]:
    """Yield a line for each attribute of which two studies have no value in common."""
    for attribute in COMPARED:
        values = [
            [_cut(str(value)) for value in frame[attribute].dropna().unique()]
            for frame in (base, new)
            if attribute in frame
        ]
        if len(values) == 2 and not set(values[0]) & set(values[1]):
            before, after = (", ".join(known[:_SHOWN]) + _more(len(known)) for known in values)
            yield f"{attribute} differs: {before} in base, {after} in new"


def _differences(attribute: str, sources: Iterable[Source]) -> Iterator[str]:
    values = Counter(str(facts(s.record).get(attribute, "unknown")) for s in sources if s.record)
    if len(values) > 1:
        shown = [f"{_cut(value)} ({count} points)" for value, count in values.most_common(_SHOWN)]
        yield f"{attribute} differs: {', '.join(shown)}{_more(len(values))}"


def _odd(sources: Iterable[Source]) -> Iterator[str]:
    for source in sources:
        if source.record is not None and set(source.record.sessions) != {source.ranks - 1}:
            yield source.name


def _any(source: Source, column: str, value: str) -> bool:
    if source.record is None:
        return False
    jobs = source.record.jobs
    return bool(np.any(jobs[column][~jobs["warmup"]] == value))


def _about(what: str, names: Iterable[str]) -> Iterator[str]:
    names = list(names)
    if names:
        yield f"{what}: {'; '.join(names[:_SHOWN])}{_more(len(names))}"


def _more(count: int) -> str:
    return f" and {count - _SHOWN} more" if count > _SHOWN else ""


def _cut(value: str) -> str:
    line = " ".join(value.split())
    return line if len(line) <= _WIDTH else line[: _WIDTH - 3] + "..."
