"""Run every comparison and write one page: ``python -m bench [--quick] [--output DIR]``.

Each runs by itself under its own ``mpiexec``, one after another, each with a time limit. Exit code
1 if a result was wrong or a comparison failed; one that lacks a package is skipped and named.
"""

import os
import signal
import subprocess
import sys
import time

from bench import start
from bench.summary import PAGE, write

#: Modules and their time limits in seconds; together they take less than ten minutes on two cores.
COMPARISONS = {
    "products": 360,
    "ladder": 150,
    "pool_executor": 180,
    "dask_product": 120,
    "polynomial_code": 150,
    "machine": 60,
    "overheads": 90,
}
_GRACE = 10


def main() -> int:
    """Run all; return the exit code."""
    options = start.parse(__doc__)
    options.output.mkdir(parents=True, exist_ok=True)
    notes: dict[str, str] = {}
    failed = False
    for module, limit in COMPARISONS.items():
        print(f"# bench.{module}\n", flush=True)
        begun = time.monotonic()
        code = _run(module, limit, options)
        notes[module] = f"{time.monotonic() - begun:.0f} s"
        if code == start.SKIPPED:
            notes[module] = "skipped; its output says why"
        elif code is None:
            notes[module] = f"out of time after {limit} s"
            failed = True
        elif code != 0:
            notes[module] = f"failed with exit code {code}"
            failed = True
    comparisons = write(options.output, notes)
    wrong = [c.case.name for c in comparisons if c.wrong]
    print(options.output / PAGE)
    if wrong:
        print(f"WRONG results in {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong or failed else 0


def _run(module: str, limit: float, options: start.Options) -> int | None:
    """Run one comparison; return its exit code, None where it ran out of time."""
    command = [sys.executable, "-m", f"bench.{module}", *start.arguments(options)]
    with subprocess.Popen(command, start_new_session=True) as child:
        try:
            return child.wait(limit)
        except subprocess.TimeoutExpired:
            for number in (signal.SIGTERM, signal.SIGKILL):
                os.killpg(child.pid, number)
                try:
                    child.wait(_GRACE)
                    break
                except subprocess.TimeoutExpired:
                    continue
            return None
        except BaseException:
            os.killpg(child.pid, signal.SIGTERM)
            raise


if __name__ == "__main__":
    sys.exit(main())
