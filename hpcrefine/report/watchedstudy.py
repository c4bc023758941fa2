"""What is known of a study by now: the state of each of its points."""

from collections import Counter
from pathlib import Path

from hpcrefine.errors import InputError
from hpcrefine.record.manifest import Manifest, Point
from hpcrefine.report.watched import DONE, INTERRUPTED, Watched

_PENDING, _UNREADABLE = "pending", "unreadable"


class WatchedStudy:
    """The records of a study's points, looked at again and again.

    Parameters
    ----------
    folder : Path
        Of the study.

    Raises
    ------
    InputError
        It has no manifest, or none that can be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._study = Manifest.read(folder)
        self._points = [_WatchedPoint(folder, point) for point in self._study.points]

    def look(self) -> list[str]:
        """Look at the points that are not over; return a line for each that has changed."""
        before = [point.line for point in self._points]
        for point in self._points:
            point.look()
        return [
            point.line for point, was in zip(self._points, before, strict=True) if point.line != was
        ]

    @property
    def over(self) -> bool:
        """Whether nothing more is to come."""
        return all(point.over for point in self._points)

    @property
    def code(self) -> int:
        """The exit code: 1 if a point was interrupted."""
        return int(any(point.state in (INTERRUPTED, _UNREADABLE) for point in self._points))

    @property
    def ending(self) -> str:
        """What is to be said of a study with points that were interrupted; empty for others."""
        broken = sum(point.state in (INTERRUPTED, _UNREADABLE) for point in self._points)
        if not broken:
            return ""
        done = f"{self._states()[DONE]} of {len(self._points)} points are done"
        return f"{self._folder}: {broken} points were interrupted, {done}; run the study again"

    def line(self) -> str:
        """Say in one line how far it is."""
        states = self._states()
        counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        return f"{self._study.name}: {len(self._points)} points: {counts}"

    def text(self) -> str:
        """Say all that is known; ends with a newline."""
        return "\n".join([self.line(), *(point.line for point in self._points)]) + "\n"

    def _states(self) -> Counter[str]:
        return Counter(point.state for point in self._points)


class _WatchedPoint:
    """A point, and the line that says how far it is."""

    def __init__(self, folder: Path, point: Point) -> None:
        self._path, self._head = folder / point.file, f"[{point.number}] {point.name}"
        self._record: Watched | None = None
        self._stamp: tuple[int, int, int] | None = None
        self._say(_PENDING)

    def look(self) -> None:
        stamp = self._stamped()
        if stamp is None:
            self._record = None
            self._say(_PENDING)
        elif not (self.over and stamp == self._stamp):
            self._read()
        self._stamp = stamp

    @property
    def over(self) -> bool:
        return self.state in (DONE, INTERRUPTED, _UNREADABLE)

    def _read(self) -> None:
        record = self._record = self._record or Watched(self._path, steps=False)
        try:
            record.look()
        except InputError as error:
            self._record = None
            self._say(_UNREADABLE, str(error))
        else:
            self._say(record.state, record.line().partition(": ")[2])

    def _say(self, state: str, detail: str = "") -> None:
        self.state = state
        self.line = f"{self._head}: {state}{detail and f': {detail}'}"

    def _stamped(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns
