"""What has become of the points of a study, as their records tell."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hpcrefine.errors import InputError
from hpcrefine.record import state
from hpcrefine.record.manifest import Point
from hpcrefine.record.reader import read


@dataclass(frozen=True)
class State:
    """What has become of a point.

    Attributes
    ----------
    kind : {"pending", "running", "interrupted", "done", "damaged"}
        Pending: it has no record. Running: a process is writing it.
    jobs : int
        Finished jobs.
    problem : str
        What is wrong with a damaged record.
    """

    kind: Literal["pending", "running", "interrupted", "done", "damaged"]
    jobs: int = 0
    problem: str = ""


def look(path: Path) -> State:
    """Look at the record of a point."""
    if not path.exists():
        return State("pending")
    try:
        record = read(path, {})
        if record.complete:
            return State("done", len(record.jobs))
        return State("running" if state.is_live(path) else "interrupted", len(record.jobs))
    except InputError as error:
        return State("damaged", problem=str(error))


def listing(folder: Path, points: Iterable[Point]) -> str:
    """List points and what has become of them, a line for each."""
    lines = []
    for point in points:
        found = look(folder / point.file)
        jobs = f", {found.jobs} jobs" if found.jobs else ""
        problem = f": {found.problem}" if found.problem else ""
        lines.append(f"{point.number}: {point.name}: {found.kind}{jobs}{problem}")
    return "\n".join(lines)
