"""How far a run is: a live bar on a terminal, plain lines elsewhere."""

import os
import sys
from types import TracebackType
from typing import Self

from hpcrefine.launch import TERMINAL_VARIABLE

_LINES = 50


class Progress:
    """Shows finished jobs on stderr.

    Under a launcher no rank has a terminal, so ``hpcrefine run`` says through an environment
    variable how wide its own is.

    Parameters
    ----------
    title : str
        What is run.
    """

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = os.environ.get(TERMINAL_VARIABLE, "")
        live = sys.stderr.isatty() or columns.isdecimal()
        width = int(columns) if columns.isdecimal() else None
        self._console = Console(stderr=True, force_terminal=live, width=width, highlight=False)
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not live,
        )
        self._live = live
        self._task = self._bar.add_task(title, total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def step(self, done: int, total: int, text: str, *, often: bool = False) -> None:
        """Say that one more job is finished.

        Parameters
        ----------
        done, total : int
            Jobs.
        text : str
            What was done.
        often : bool
            Whether there are so many jobs that a few lines for all of them will do.
        """
        if often and done % max(1, total // _LINES) and done < total:
            return
        if self._live:
            self._bar.update(self._task, completed=done, total=total, description=text)
        else:
            self.note(f"[{done}/{total}] {text}")

    def note(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, markup=False, soft_wrap=True)
