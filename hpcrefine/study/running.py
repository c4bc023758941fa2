"""Runs the points of a study here, each as a process of its own, one or as many as fit."""

import contextlib
import fcntl
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from hpcrefine import launch
from hpcrefine.record.manifest import Point
from hpcrefine.study.plan import Study
from hpcrefine.study.scratch import Scratch
from hpcrefine.study.states import look

_POLL = 0.05  # seconds
_TOLD = {signal.SIGINT: signal.SIGUSR1, signal.SIGUSR1: signal.SIGUSR1}  # others as they are


@dataclass
class Tally:
    """How the points of a study ended.

    Attributes
    ----------
    done, failed, left : list of Point
        Complete (before, or now); failed; not begun or interrupted, because the study was told to
        end.
    """

    done: list[Point] = field(default_factory=list)
    failed: list[Point] = field(default_factory=list)
    left: list[Point] = field(default_factory=list)

    @property
    def code(self) -> int:
        """The exit code: 0 all is done, 1 something failed, 3 ended early as asked."""
        if self.left:
            return launch.ENDED_EARLY
        return 1 if self.failed else 0


@dataclass(frozen=True)
class _Running:
    """A point that is being run."""

    point: Point
    process: "subprocess.Popen[bytes]"
    log: BinaryIO
    began: float


class Runner:
    """Runs points.

    What a point's run says goes to a log beside its record.

    Parameters
    ----------
    study : Study
        Its folder and manifest are there.
    cores : int
        Points run at the same time while their ranks fit on so many cores; 0: one at a time.
    scratch : Scratch
        Where records stand while they are written.
    say : callable
        Takes one line for people.
    """

    def __init__(
        self, study: Study, cores: int, scratch: Scratch, say: Callable[[str], None]
    ) -> None:
        self._study, self._cores, self._scratch, self._say = study, cores, scratch, say
        self._threads = study.job.kernel.threads or 1
        self._running: list[_Running] = []
        self._asked: list[int] = []
        self._tally = Tally()
        self._total = 0

    def run(self, points: Iterable[Point]) -> Tally:
        """Run points that are not done, in their order; go on where one was interrupted.

        SIGUSR1 and the first SIGINT tell the runs to end themselves, other signals are passed on;
        in any case no further point is begun.
        """
        waiting = list(points)
        self._total = len(waiting)
        with self._signals():
            while waiting or self._running:
                if self._asked:
                    self._tally.left += waiting
                    waiting = []
                while waiting and self._fits(waiting[0]):
                    self._begin(waiting.pop(0))
                self._collect()
                if self._running:
                    time.sleep(_POLL)
        return self._tally

    def _fits(self, point: Point) -> bool:
        if not self._running:
            return True
        taken = sum(each.point.ranks for each in self._running)
        return (taken + point.ranks) * self._threads <= self._cores

    def _begin(self, point: Point) -> None:
        record = self._study.folder / point.file
        found = look(record)
        if found.kind == "done":
            self._tally.done.append(point)
            self._tell(point, f"done before, {found.jobs} jobs")
            return
        if found.kind == "damaged":
            self._fail(point, f"{found.problem}; remove it to run the point anew")
            return
        log = record.with_suffix(".log").open("ab")
        try:
            # The run inherits the lock with its stdout, and has it for as long as it lives.
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            process = self._start(point, self._scratch.fetch(point.file), log)
        except BlockingIOError:
            log.close()
            self._fail(point, "another process is running it")
            return
        except BaseException:
            log.close()
            raise
        self._running.append(_Running(point, process, log, time.monotonic()))
        for number in self._asked:
            process.send_signal(_TOLD.get(signal.Signals(number), number))

    def _start(self, point: Point, target: Path, log: BinaryIO) -> "subprocess.Popen[bytes]":
        command = self._command(point, target)
        log.write(f"$ {shlex.join(command)}\n".encode())
        log.flush()
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,  # the terminal's signals reach it through us alone
        )

    def _command(self, point: Point, target: Path) -> list[str]:
        simulate = self._study.sweep.simulate
        if look(target).kind == "done":  # its run died before it was brought
            return ["true"]
        command = [sys.executable, "-m", "hpcrefine", "simulate" if simulate else "run"]
        command += [str(self._study.path), "-n", str(point.ranks), "-o", str(target)]
        for override in point.overrides:
            command += ["--set", override]
        if look(target).kind == "interrupted":
            command.append("--force" if simulate else "--resume")
        return command

    def _collect(self) -> None:
        for running in list(self._running):
            code = running.process.poll()
            if code is None:
                continue
            self._running.remove(running)
            self._scratch.bring(running.point.file)
            running.log.close()
            self._judge(running, code)

    def _judge(self, running: _Running, code: int) -> None:
        point, seconds = running.point, time.monotonic() - running.began
        record = self._study.folder / point.file
        found = look(record)
        if code == 0 and found.kind == "done":
            self._tally.done.append(point)
            self._tell(point, f"done, {found.jobs} jobs in {seconds:.1f} s")
        elif code == launch.ENDED_EARLY or (self._asked and found.kind != "done"):
            self._tally.left.append(point)
            self._tell(point, f"ended early, with {found.jobs} finished jobs")
        else:
            log = record.with_suffix(".log")
            self._fail(point, f"exit code {code}: {_last_line(log)}; see {log}")

    def _fail(self, point: Point, why: str) -> None:
        self._tally.failed.append(point)
        self._tell(point, f"failed: {why}")

    def _tell(self, point: Point, what: str) -> None:
        over = len(self._tally.done) + len(self._tally.failed) + len(self._tally.left)
        self._say(f"[{over}/{self._total}] {point.number}: {point.name}: {what}")

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Pass signals on to the runs."""

        def pass_on(number: int, frame: FrameType | None) -> None:
            told = _TOLD.get(signal.Signals(number), number)
            if number == signal.SIGINT and self._asked:
                told = signal.SIGTERM
            self._asked.append(number)
            for running in self._running:
                running.process.send_signal(told)

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
        before = {number: signal.signal(number, pass_on) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _last_line(log: Path) -> str:
    """Return the last line that a run has said."""
    lines = log.read_text(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
