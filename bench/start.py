"""How a comparison starts: its options, what it needs, its ranks."""

import argparse
import importlib.util
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hpcrefine import launch

#: Exit code of a comparison that cannot run here.
SKIPPED = 77


@dataclass(frozen=True)
class Options:
    """What every comparison takes.

    Attributes
    ----------
    quick : bool
        Tiny sizes: only whether it works.
    repeats : int or None
        Runs of each contender, where not the comparison's own.
    only : str
        Run only cases whose names hold it.
    output : Path
        Directory of the records.
    """

    quick: bool
    repeats: int | None
    only: str
    output: Path

    def runs(self, default: int = 9) -> int:
        """Return the runs of each contender."""
        return self.repeats or (1 if self.quick else default)

    def wants(self, case: str) -> bool:
        """Say whether a case was asked for."""
        return self.only in case


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return the parser of the common options."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--quick", action="store_true", help="tiny sizes: only whether it works")
    made.add_argument("--repeats", type=int, help="runs of each contender")
    made.add_argument("--only", default="", metavar="TEXT", help="only cases named like this")
    made.add_argument("--output", type=Path, metavar="DIR", help="default results/bench-TIME")
    return made


def parse(description: str | None) -> Options:
    """Read the common options from the command line."""
    found = parser(description).parse_args()
    output = found.output or Path("results") / f"bench-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    return Options(found.quick, found.repeats, found.only, output)


def arguments(options: Options) -> list[str]:
    """Write options as a command line."""
    given = ["--output", str(options.output), "--only", options.only]
    given += ["--quick"] if options.quick else []
    return given + (["--repeats", str(options.repeats)] if options.repeats else [])


def require(*modules: str) -> None:
    """End with exit code 77 where a module is missing."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        print(f"skipped: needs {', '.join(missing)} (pip install 'hpcrefine[bench]')", flush=True)
        sys.exit(SKIPPED)


def on_ranks(ranks: int, module: str, options: Options, extra: Sequence[str] = ()) -> None:
    """Run a module under ``mpiexec`` and end with its exit code."""
    launcher = launch.find_launcher()
    program = [sys.executable, "-m", module, *arguments(options), *extra]
    done = subprocess.run(
        launcher.command(ranks, program), env=launcher.environment(ranks), check=False
    )
    sys.exit(done.returncode)


def run(module: str, description: str | None, ranks: int, body: Callable[[Options], None]) -> None:
    """Run a comparison; from a shell, start its ranks first.

    Parameters
    ----------
    module : str
        Its name, for the ranks.
    description : str
        Its docstring.
    ranks : int
        Ranks to start.
    body : callable
        Called on every rank; an exception in it ends all ranks.
    """
    options = parse(description)
    require("threadpoolctl")
    if not launch.under_mpi():
        on_ranks(ranks, module, options)
    guarded(lambda: body(options))


def guarded(body: Callable[[], None]) -> None:
    """Call; an exception is printed and ends all ranks."""
    from mpi4py import MPI

    try:
        body()
    except Exception:
        traceback.print_exc()
        MPI.COMM_WORLD.Abort(1)
