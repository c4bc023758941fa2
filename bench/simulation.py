"""The simulator against the published figures, and against the clock.

    python -m bench.simulation [--tables] [--grid] [--workers] [--model]

Tables: mean delays and success rates beside the reference values, each with its deviation in
standard errors. The reference values were measured by running the authors' published scripts
(Esfahanizadeh, Cohen, Shamai, Medard, "Successive Refinement in Large-Scale Computation", IEEE TSP
2025) with J = 4000 and 3000 jobs; ours are means over streams of 10,000 jobs, their standard error
that of the mean of streams. Grid: one published figure, 51 redundancy ratios of 10,000 jobs,
layered and one-shot, by the command line on one core. Workers: 100,000 of them. Model: jobs a
second where workers go on by themselves.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpcrefine.jobfile import load_product
from hpcrefine.schedule.theory import delay_bound
from hpcrefine.simulate.rows import Stream
from hpcrefine.simulate.simulation import Simulation

_JOBS = Path(__file__).parents[1] / "jobs"
_FIGURES = _JOBS / "paper"
_COLUMNS = ("one-shot", "layer 0", "layer 1", "layer 2")
_DELAY_ERROR, _SUCCESS_ERROR = 0.15, 0.008  # of the reference values

#: Mean delays in seconds by redundancy ratio: one-shot, layers 0, 1, 2.
DELAYS = {
    1.0: (29.04, 10.39, 22.80, 29.01),
    1.02: (27.12, 9.53, 21.27, 27.14),
    1.05: (26.48, 9.22, 20.72, 26.46),
    1.1: (26.21, 9.11, 20.51, 26.20),
}

#: Success rates by deadline in seconds: one-shot, layers 0, 1, 2.
SUCCESS = {
    2.0: (0.809, 0.949, 0.849, 0.808),
    5.0: (0.809, 0.954, 0.848, 0.808),
    6.0: (0.807, 1.000, 0.848, 0.807),
    10.0: (0.808, 1.000, 0.848, 0.808),
    14.0: (0.807, 1.000, 0.849, 0.807),
    16.0: (0.810, 1.000, 0.985, 0.808),
    18.0: (0.808, 1.000, 1.000, 0.808),
    20.0: (0.821, 1.000, 1.000, 0.807),
    22.0: (0.992, 1.000, 1.000, 1.000),
    24.0: (1.000, 1.000, 1.000, 1.000),
}

_MANY = """
[job]
repeats = 1
[operands]
operations = 1e9
[code]
scheme = "mds"
tasks = 240_000
redundancy = 1.09
unit = "minijob"
[schedule]
split = "optimal"
[stream]
jobs = 1000
rate = 0.01
[workers]
count = 100_000
rates = { random = "uniform", low = 0.2, sum = 1e8 }
[simulate]
model = "published"
"""

_FEW = """
[job]
repeats = 1
[operands]
operations = 50_000.0
[code]
scheme = "mds"
tasks = 16
redundancy = 1.25
unit = "minijob"
[compare]
splits = ["uniform", "optimal", "dynamic"]
[stream]
jobs = 4000
rate = 0.01
[workers]
rates = [628.29, 153.15, 508.13, 443.17, 467.26]
"""


@dataclass(frozen=True)
class Cell:
    """A simulated mean beside its reference.

    Attributes
    ----------
    mean, error : float
        Ours, and its standard error.
    reference, reference_error : float
        Theirs.
    """

    mean: float
    error: float
    reference: float
    reference_error: float

    @property
    def deviation(self) -> float:
        """Difference in standard errors of both."""
        return (self.mean - self.reference) / float(np.hypot(self.error, self.reference_error))


def delays(repeats: int, jobs: int) -> dict[float, list[Cell]]:
    """Return the table of mean delays by redundancy ratio, from so many streams of jobs."""
    streams = _streams("delay-vs-redundancy", repeats, jobs, f"compare.redundancies={list(DELAYS)}")
    found: dict[float, list[list[float]]] = defaultdict(list)
    for ratio, several in _by_row(streams, "redundancy").items():
        for oneshot, layered in several:
            found[ratio].append([*_delay(oneshot), *_delay(layered)])
    return {ratio: _cells(found[ratio], DELAYS[ratio], _DELAY_ERROR) for ratio in DELAYS}


def success(repeats: int, jobs: int) -> dict[float, list[Cell]]:
    """Return the table of success rates by deadline, from so many streams of jobs."""
    streams = _streams("success-vs-deadline", repeats, jobs, f"compare.deadlines={list(SUCCESS)}")
    found: dict[float, list[list[float]]] = defaultdict(list)
    for deadline, several in _by_row(streams, "deadline").items():
        for oneshot, layered in several:
            rates = [stream.outcome.released.mean(axis=0) for stream in (oneshot, layered)]
            found[deadline].append(np.concatenate(rates).tolist())
    return {when: _cells(found[when], SUCCESS[when], _SUCCESS_ERROR) for when in SUCCESS}


def _streams(figure: str, repeats: int, jobs: int, *overrides: str) -> list[Stream]:
    given = [*overrides, f"job.repeats={repeats}", f"stream.jobs={jobs}"]
    job = load_product(_FIGURES / f"{figure}.toml", given)
    return [stream for _, stream in Simulation(job, workers=5).run()]


def _by_row(streams: Sequence[Stream], row: str) -> dict[float, list[tuple[Stream, Stream]]]:
    """Return for each row of a table pairs of streams, one-shot and layered, by repetition."""
    pairs: dict[float, dict[int, dict[bool, Stream]]] = defaultdict(lambda: defaultdict(dict))
    for stream in streams:
        turn = stream.turn
        value = turn.code.redundancy if row == "redundancy" and turn.code else turn.deadline
        pairs[value or 0.0][turn.repeat][turn.whole] = stream
    return {
        value: [(both[True], both[False]) for both in repeats.values()]
        for value, repeats in pairs.items()
    }


def _delay(stream: Stream) -> list[float]:
    outcome = stream.outcome
    waited = outcome.start - stream.arrivals
    means: list[float] = (outcome.ready + waited[:, None]).mean(axis=0).tolist()
    return means


def _cells(
    found: list[list[float]], reference: tuple[float, ...], reference_error: float
) -> list[Cell]:
    values = np.array(found)
    errors = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    columns = zip(values.mean(axis=0).tolist(), errors.tolist(), reference, strict=True)
    return [Cell(mean, error, theirs, reference_error) for mean, error, theirs in columns]


def _print(title: str, table: dict[float, list[Cell]], digits: int) -> float:
    """Print a table; return its largest deviation."""
    print(f"\n{title}: ours / theirs (deviation in standard errors)\n")
    print(f"|     | {' | '.join(_COLUMNS)} |\n|---|---|---|---|---|")
    for value, cells in table.items():
        shown = [
            f"{c.mean:.{digits}f} / {c.reference:.{digits}f} ({c.deviation:+.1f})" for c in cells
        ]
        print(f"| {value:g} | {' | '.join(shown)} |")
    largest = max(abs(cell.deviation) for cells in table.values() for cell in cells)
    print(f"\nlargest deviation: {largest:.2f} standard errors")
    return largest


def _tables(repeats: int) -> bool:
    """Print both tables; say whether all is within three standard errors."""
    rates = load_product(_FIGURES / "delay-vs-redundancy.toml").workers.rates
    speed = float(np.sum(rates if isinstance(rates, tuple) else []))
    bounds = [delay_bound(0.01, 50_000, speed, share * 50_000) for share in (0.25, 0.75, 1)]
    print(f"lower bounds on mean delays: {', '.join(f'{bound:.4f}' for bound in bounds)} s")
    largest = _print("Mean delay in seconds by redundancy", delays(repeats, 10_000), 2)
    return max(largest, _print("Success by deadline in seconds", success(repeats, 10_000), 3)) <= 3


def timed(job: Path, *overrides: str) -> tuple[float, float]:
    """Simulate a job file on one core; return seconds and peak memory in GiB."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record.h5"
        command = [sys.executable, "-m", "hpcrefine", "simulate", str(job), "-o", str(record)]
        for override in overrides:
            command += ["--set", override]
        core = min(os.sched_getaffinity(0))
        start = time.perf_counter()
        child = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: exit code {child.returncode}")
        size = record.stat().st_size / 2**20
    busy = usage.ru_utime + usage.ru_stime
    print(
        f"{job.name}: {seconds:.1f} s, {busy:.1f} s of them computing; "
        f"memory {usage.ru_maxrss / 2**20:.2f} GiB at most, record {size:.0f} MiB"
    )
    return seconds, usage.ru_maxrss / 2**20


def _written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def main() -> int:
    """Run what is asked for, all by default; return 1 if a table is off."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", action="store_true", help="only the reference tables")
    parser.add_argument("--grid", action="store_true", help="only the published grid")
    parser.add_argument("--workers", action="store_true", help="only 100,000 workers, 1,000 jobs")
    parser.add_argument("--model", action="store_true", help="only the model of ranks")
    parser.add_argument("--repeats", type=int, default=10, help="streams for each table cell")
    options = parser.parse_args()
    everything = not (options.tables or options.grid or options.workers or options.model)
    right = True
    if options.tables or everything:
        right = _tables(options.repeats)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.grid or everything:
            timed(_FIGURES / "delay-vs-redundancy.toml")
        if options.workers or everything:
            timed(_written(folder, "100,000-workers.toml", _MANY))
        if options.model or everything:
            job = load_product(_written(folder, "ranks.toml", _FEW))
            start = time.perf_counter()
            for turn, stream in Simulation(job, workers=5).run():
                seconds, start = time.perf_counter() - start, time.perf_counter()
                print(f"ranks, {turn.split}: {len(stream) / seconds:.0f} jobs/s")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
