"""Codes against workers that are killed: the codes of jobs/codes.toml, SIGKILL at random moments.

    python -m bench.survival --output results/survival

Each job is a run of its own, since the dead stay dead: ``hpcrefine run jobs/codes.toml`` with one
code, without stragglers, and with one or two of six workers killed while the job is computed. The
records are left in the directory; ``hpcrefine report --codes`` makes one table of them.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from hpcrefine import launch
from hpcrefine.jobfile import load_product

_JOB = Path(__file__).parents[1] / "jobs" / "codes.toml"
_RANKS = 7
_WITHIN = 0.1  # seconds from the start of the job; the fastest code takes 0.12 s
_SECONDS = 120.0


def main() -> int:
    """Run all; return 1 if a run failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=6, help="for each code and number of kills")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default results/survival-TIME")
    options = parser.parse_args()
    output = options.output or Path("results") / f"survival-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    output.mkdir(parents=True, exist_ok=True)
    launch.prepare_process()
    failed = 0
    for record, settings in _runs(options.jobs, output):
        failed += _run(record, settings)
    records = sorted(str(path) for path in output.glob("*.h5"))
    subprocess.run([sys.executable, "-m", "hpcrefine", "report", "--codes", *records], check=False)
    print(f"{len(records)} runs, {failed} of them failed")
    return int(failed > 0)


def _runs(jobs: int, output: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield the record and the settings of each run, codes and kills interleaved."""
    codes = load_product(_JOB).codes
    for seed in range(jobs):
        rng = np.random.default_rng(seed)
        for kills in (1, 2):
            ranks = 1 + rng.permutation(_RANKS - 1)[:kills]
            times = rng.uniform(0, _WITHIN, kills)
            killed = ", ".join(
                f"{{rank = {rank}, kill = {{at = {at:.4f}}}}}"
                for rank, at in zip(ranks, times, strict=True)
            )
            for label, code in codes:
                keys = {"name": label, "scheme": code.scheme, "tasks": code.tasks}
                table = ", ".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
                table += f", redundancy = {code.redundancy}"
                yield (
                    output / f"{label}-{kills}-{seed}.h5",
                    [
                        f"compare.codes=[{{{table}}}]",
                        "compare.stragglers=[0]",
                        f"faults.worker=[{killed}]",
                        f"job.seed={seed}",
                        "job.repeats=1",
                        "job.warmups=0",
                    ],
                )


def _run(record: Path, settings: list[str]) -> bool:
    """Run once; say whether it failed."""
    command = [sys.executable, "-m", "hpcrefine", "run", str(_JOB), "-n", str(_RANKS), "--force"]
    for setting in settings:
        command += ["--set", setting]
    done = subprocess.run(
        [*command, "-o", str(record)], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if done.returncode != 0:
        print(f"{record}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}", flush=True)
    return done.returncode != 0


if __name__ == "__main__":
    sys.exit(main())
