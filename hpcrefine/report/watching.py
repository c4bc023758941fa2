"""Following a run from another shell: ``hpcrefine watch``."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from hpcrefine.errors import InputError
from hpcrefine.record.manifest import NAME
from hpcrefine.report.watched import Watched
from hpcrefine.report.watchedstudy import WatchedStudy

_Subject = Watched | WatchedStudy
#: Shows all that is known, or only what people should know at once and a line.
_Show = Callable[[_Subject, Sequence[str]], None]


def watch(path: Path, *, once: bool = False, interval: float = 1.0, wait: bool = False) -> int:
    """Show how far a run is until it is over: in place on a terminal, else by a line a change.

    Parameters
    ----------
    path : Path
        A record, or the folder of a study.
    once : bool
        Show it once and return.
    interval : float
        Seconds between two looks.
    wait : bool
        Wait for a record, or a study, that is not there yet.

    Returns
    -------
    int
        Exit code: 1 if the run was interrupted.

    Raises
    ------
    InputError
        There is no such record or study, it has gone, or it cannot be read.
    """
    if not interval > 0:
        raise InputError(f"--interval: found {interval:g}, expected a number > 0 of seconds")
    while wait and not (path.is_file() or (path / NAME).is_file()):
        time.sleep(interval)
    subject: _Subject = WatchedStudy(path) if path.is_dir() else Watched(path)
    if once:
        subject.look()
        print(subject.text(), end="")
    else:
        with _screen() as show:
            show(subject, subject.look())
            while not subject.over:
                time.sleep(interval)
                show(subject, subject.look())
    if subject.ending:
        print(f"hpcrefine: {subject.ending}", file=sys.stderr)
    return subject.code


@contextlib.contextmanager
def _screen() -> Iterator[_Show]:
    console = Console(highlight=False)
    if not console.is_terminal:
        yield _Lines()
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:

        def show(subject: _Subject, notes: Sequence[str]) -> None:
            shown = Text(subject.text().rstrip("\n"), no_wrap=True, overflow="ellipsis")
            live.update(shown, refresh=True)

        yield show


class _Lines:
    """Prints a line for each change."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, subject: _Subject, notes: Sequence[str]) -> None:
        line = subject.line()
        for text in (*notes, *([line] if line != self._last else [])):
            print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)
        self._last = line
