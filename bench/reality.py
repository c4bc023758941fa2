"""Simulation against reality: mean delays and success rates of the same job file, side by side.

    python -m bench.reality [--record REAL.h5] [--output results/reality]

Runs ``jobs/reality.toml`` on five workers, simulates it several times with what that run tells of
its workers (``--calibrate``), and prints for each deadline and layer the mean delay and the share
of jobs that had the layer in time, with ratios simulated over measured. Arrivals are the same on
both sides; the simulations differ in their draws of task times alone.
"""

import argparse
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpcrefine import launch
from hpcrefine.jobfile import load_product
from hpcrefine.record.reader import Record, read
from hpcrefine.simulate.calibration import Calibration
from hpcrefine.simulate.simulation import Simulation

_JOB = Path(__file__).parents[1] / "jobs" / "reality.toml"
_RANKS = 6
Floats = NDArray[np.float64]
Key = tuple[float, int]  # deadline, layer


def main() -> int:
    """Run, simulate, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--record", type=Path, metavar="REAL.h5", help="of a run made before")
    parser.add_argument("--simulations", type=int, default=10, help="how many (default 10)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default results/reality-TIME")
    options = parser.parse_args()
    launch.prepare_process()
    record = options.record
    if record is None:
        output = options.output or Path("results") / f"reality-{datetime.now(UTC):%Y%m%dT%H%M%S}"
        output.mkdir(parents=True, exist_ok=True)
        record = output / "real.h5"
        words = [sys.executable, "-m", "hpcrefine", "run", str(_JOB), "-n", str(_RANKS)]
        subprocess.run([*words, "-o", str(record), "--force"], check=True)
    real = read(record)
    calibration = Calibration(record)
    print(calibration)
    simulated = [_simulated(calibration, seed) for seed in range(options.simulations)]
    print(_table(_measured(real), simulated))
    print(_overhead(real))
    return 0


def _measured(record: Record) -> dict[Key, tuple[float, float]]:
    """Return mean delay and success rate by deadline and layer."""
    jobs = record.jobs[~record.jobs["warmup"]]
    found = {}
    for deadline in np.unique(jobs["deadline"]).tolist():
        mine = np.isin(record.layers["job"], jobs["job"][jobs["deadline"] == deadline])
        for layer in np.unique(record.layers["layer"][mine]).tolist():
            rows = record.layers[mine & (record.layers["layer"] == layer)]
            found[deadline, layer] = float(np.nanmean(rows["delay"])), rows["met_deadline"].mean()
    return found


def _simulated(calibration: Calibration, seed: int) -> dict[Key, tuple[float, float]]:
    """Simulate once: the same arrivals, other draws of times."""
    simulation = Simulation(load_product(_JOB), calibration.workers, calibration, draw=seed)
    found = {}
    for turn, stream in simulation.run():
        delays, released = stream.delays, stream.outcome.released
        for layer in range(delays.shape[1]):
            mean = float(delays[released[:, layer], layer].mean())
            found[turn.deadline or np.inf, layer] = mean, float(released[:, layer].mean())
    return found


def _table(
    real: dict[Key, tuple[float, float]], simulated: list[dict[Key, tuple[float, float]]]
) -> str:
    head = ("deadline [s]", "layer", "measured [ms]", "simulated [ms]", "ratio")
    lines = [[*head, "success measured", "success simulated", "ratio"]]
    for key, (delay, success) in real.items():
        delays, successes = np.array([each[key] for each in simulated]).T
        half = 2 * delays.std(ddof=1)
        lines.append(
            [
                *(f"{key[0]:g}", str(key[1]), f"{1e3 * delay:.1f}"),
                f"{1e3 * delays.mean():.1f} ± {1e3 * half:.1f}",
                f"{delays.mean() / delay:.3f}",
                *(f"{success:.3f}", f"{successes.mean():.3f} ± {2 * successes.std(ddof=1):.3f}"),
                f"{successes.mean() / success:.3f}",
            ]
        )
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _overhead(record: Record) -> str:
    """Say what the master takes of a job's time."""
    jobs = record.jobs[~record.jobs["warmup"] & (record.jobs["status"] == "done")]
    last = record.layers[np.isin(record.layers["job"], jobs["job"])]
    last = last[last["layer"] == last["layer"].max()]
    prepare, ready = last["prepare"].mean(), last["ready"].mean()
    decode = float(np.nanmean(record.layers["decode"]))
    return (
        f"master: prepares {1e3 * prepare:.2f} ms and decodes {1e3 * decode:.2f} ms a layer, "
        f"{(prepare + 3 * decode) / ready:.1%} of a job's {1e3 * ready:.1f} ms"
    )


if __name__ == "__main__":
    sys.exit(main())
