"""A record at size: what it costs to write, its size on disk, what it takes to read.

A thousand jobs of five layers with 64 tasks each, 320,000 rows of tasks, are written job by job as
a run does, each flushed. Of that: bytes on disk, median and 99th percentile of the time of an
``append``, the time to read all of it back, to ``hpcrefine.load`` it as frames, and of ``hpcrefine
report``, with and without the page, and ``hpcrefine watch --once`` as whole processes.

``--run`` adds a real run of that many jobs on 3 ranks, small products so that it ends in minutes,
and says which share of it went into the record.

    python -m bench.record
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import hpcrefine
from hpcrefine import launch
from hpcrefine.cluster.pool import Pool
from hpcrefine.experiment.progress import Progress
from hpcrefine.experiment.run import Output, run
from hpcrefine.jobfile import load
from hpcrefine.record import schema
from hpcrefine.record.reader import read
from hpcrefine.record.writer import RecordWriter

Row = dict[str, Any]

JOBS, LAYERS, TASKS, WORKERS = 1000, 5, 64, 8
_MINIJOBS = (1, 2, 3, 2, 1)
_PRODUCT = """[job]
name = "record at size"
repeats = {jobs}
warmups = 0
[operands]
a = {{ random = "normal", shape = [512, 512] }}
b = {{ random = "normal", shape = [512, 512] }}
[resolution]
digits = 3
[code]
scheme = "uncoded"
tasks = {tasks}
[verify]
exact = "off"
"""


@dataclass
class Times:
    """Seconds of the calls of a function."""

    seconds: list[float] = field(default_factory=list)

    def of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, timed."""

        def timed(*arguments: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            result = function(*arguments, **named)
            self.seconds.append(time.perf_counter() - begun)
            return result

        return timed

    def __str__(self) -> str:
        median, p99 = np.quantile(self.seconds, [0.5, 0.99])
        return f"median {1e3 * median:.2f} ms, p99 {1e3 * p99:.2f} ms"


def rows(jobs: int, seed: int = 0) -> Iterator[tuple[Row, list[Row], list[Row]]]:
    """Yield what ``append`` takes for each of some jobs: a row of it, of its layers, its tasks.

    Times are drawn at random, to the last bit, as real ones are.
    """
    rng = np.random.default_rng(seed)
    blank = {table: _blank(table) for table in ("jobs", "layers", "tasks")}
    start = 0.0
    for job in range(jobs):
        ready = np.cumsum(rng.lognormal(-5, 0.2, LAYERS)).tolist()
        tasks = [
            blank["tasks"]
            | {"job": job, "layer": layer, "unit": layer, "task": task}
            | {"worker": 1 + task % WORKERS, "sent": sent, "received": received}
            | {"compute": 0.7 * (received - sent), "refine": 0.01 * (received - sent)}
            for layer in range(LAYERS)
            for task, sent, received in zip(
                range(TASKS),
                np.sort(rng.uniform(0, ready[layer] / 2, TASKS)).tolist(),
                rng.uniform(ready[layer] / 2, ready[layer], TASKS).tolist(),
                strict=True,
            )
        ]
        layers = [
            blank["layers"]
            | {"job": job, "layer": layer, "minijobs": _MINIJOBS[layer], "ready": time_}
            | {"delay": time_, "error_bound": 2.0 ** (-8 * layer), "tasks_used": TASKS}
            | {"error_measured": rng.uniform(0, 2.0 ** (-8 * layer)), "met_deadline": True}
            for layer, time_ in enumerate(ready)
        ]
        head = {"job": job, "variant": "layered", "scheme": "uncoded", "verdict": "exact"}
        head |= {"arrival": start, "start": start, "end": start + ready[-1], "n": 1024, "k": 1024}
        yield blank["jobs"] | head | {"p": 1024, "deadline": np.nan, "rate": np.nan}, layers, tasks
        start += ready[-1]


def write(path: Path, jobs: int) -> Times:
    """Write a record of some jobs; return the times of its appends."""
    workers = [_blank("workers") | {"rank": rank, "host": "node"} for rank in range(WORKERS + 1)]
    times, text = Times(), _PRODUCT.format(jobs=jobs, tasks=TASKS)
    with RecordWriter(
        path, job_text=text, kind="measured", environment={}, workers=workers, force=True
    ) as writer:
        append = times.of(writer.append)
        for job in rows(jobs):
            append(*job)
    return times


def main() -> int:
    """Measure and print."""
    options = _parser().parse_args()
    if options.appends:
        _run(*options.appends)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path, page = Path(folder) / "size.h5", Path(folder) / "page.html"
        print(f"append: {write(path, options.jobs)}")
        rows_, size = options.jobs * LAYERS * TASKS, path.stat().st_size
        print(f"size: {size / 1e6:.1f} MB, {size / rows_:.1f} bytes a row of tasks")
        calls = {
            "read": lambda: read(path),
            "hpcrefine.load": lambda: hpcrefine.load(path),
            "hpcrefine report": lambda: _call("report", path),
            "hpcrefine report --html": lambda: _call("report", path, "--html", page, "--force"),
            "hpcrefine watch --once": lambda: _call("watch", path, "--once"),
        }
        for name, call in calls.items():
            print(f"{name}: {_best(call, options.repeats):.2f} s")
        if options.run:
            _real(Path(folder), options.jobs)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--repeats", type=int, default=3, help="of which the best reading counts")
    parser.add_argument("--run", action="store_true", help="make a real run too")
    parser.add_argument("--appends", nargs=2, type=Path, help=argparse.SUPPRESS)
    return parser


def _blank(table: str) -> dict[str, Any]:
    """Return a row of zeros and first choices."""
    return {
        column.name: (column.values or ("",))[0]
        if "S" in column.dtype
        else np.dtype(column.dtype).type(0).item()
        for column in schema.TABLES[table]
    }


def _best(call: Callable[[], object], repeats: int) -> float:
    times = Times()
    for _ in range(repeats):
        times.of(call)()
    return min(times.seconds)


def _real(folder: Path, jobs: int) -> None:
    """Make a real run; say which share of it went into its record."""
    job, path = folder / "job.toml", folder / "real.h5"
    job.write_text(_PRODUCT.format(jobs=jobs, tasks=TASKS))
    program = [sys.executable, "-m", "bench.record", "--appends", str(job), str(path)]
    launcher = launch.find_launcher()
    command, environment = launcher.command(3, program), launcher.environment(3)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    record = read(path)
    seconds = float(record.jobs["end"].max())
    tasks, spent = len(record.tasks) / len(record.jobs), float(done.stdout.split()[-1])
    print(
        f"real run: {len(record.jobs)} jobs with {tasks:.0f} tasks each in {seconds:.1f} s, "
        f"{spent / seconds:.2%} of it for the record, {path.stat().st_size / 1e6:.1f} MB"
    )


def _run(job: Path, output: Path) -> None:
    """Run a job file on every rank; rank 0 prints what its appends took in seconds."""
    times = Times()
    with Pool() as pool:
        if not pool:
            return
        RecordWriter.append = times.of(RecordWriter.append)  # type: ignore[method-assign]
        run(load(job), pool, Output(output), Progress(""))
    print(sum(times.seconds))


def _call(*words: str | Path) -> None:
    command = [sys.executable, "-m", "hpcrefine", *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
