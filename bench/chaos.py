"""Runs with random faults: workers die, freeze, lie and dawdle; no result may ever be wrong.

    python -m bench.chaos --runs 200            every run must end by itself, exact or clearly lost
    python -m bench.chaos --seed 17 --runs 1    the same run again, with its story

Everything in a run is drawn from its seed: ranks, operands, codes, who fails, how and when. Each
resolution is compared bit for bit with what the master computes itself.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpcrefine import launch
from hpcrefine.codes import DecodeError
from hpcrefine.errors import LostError
from hpcrefine.faults import Faults, Service

_MARK = "HPCREFINE_CHAOS_RUN"
_SECONDS = 90.0  # a run that takes longer hangs: the slowest take some 15 s
_TIMEOUT = 1.5  # seconds after which a silent worker is given up
_GRACE = 5.0  # seconds for processes to disappear

_CODES: tuple[dict[str, Any], ...] = (
    {"code": "uncoded"},
    {"code": "speculative", "tasks": 12},
    {"code": "replication", "tasks": 6, "redundancy": 2.0},
    {"code": "mds", "tasks": 8, "redundancy": 1.5},
    {"code": "blockdiagonal", "tasks": 16, "redundancy": 1.5},
    {"code": "polynomial", "tasks": 6, "redundancy": 1.5},
    {"code": "matdot", "tasks": 5, "redundancy": 1.6},
    {"code": "lt", "tasks": 10, "redundancy": 1.3},
)


@dataclass(frozen=True)
class Story:
    """How one run ended.

    Attributes
    ----------
    seed : int
        Of the run.
    outcome : {"exact", "lost", "wrong", "hung", "failed", "leaked"}
        In one word.
    seconds : float
        From start to end, ranks included.
    detail : dict
        What the master said.
    output : str
        What else was printed.
    """

    seed: int
    outcome: str
    seconds: float
    detail: dict[str, Any]
    output: str


def main() -> int:
    """Run; return 1 if any outcome is none of exact and lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the first run; then one more each")
    options = parser.parse_args()
    if launch.under_mpi():
        return take_part(options.seed)
    launch.prepare_process()
    stories = []
    for seed in range(options.seed, options.seed + options.runs):
        stories.append(tell(seed))
        print(_line(stories[-1]), flush=True)
    print(_summary(stories))
    return int(any(story.outcome not in ("exact", "lost") for story in stories))


def _line(story: Story) -> str:
    events = Counter(kind for _, kind in story.detail.get("events", ()))
    what = ", ".join(f"{count} {kind}" for kind, count in sorted(events.items()))
    products = story.detail.get("products", 0)
    line = (
        f"seed {story.seed}: {story.outcome}, {story.seconds:.1f} s, {products} products, "
        f"{story.detail.get('ranks', '?')} ranks: {what or 'no event'}"
    )
    usual = story.outcome == "exact"
    return line if usual else "\n".join([line, json.dumps(story.detail), story.output])


def _summary(stories: list[Story]) -> str:
    outcomes = Counter(story.outcome for story in stories)
    events = Counter(k for story in stories for _, k in story.detail.get("events", ()))
    products = sum(story.detail.get("products", 0) for story in stories)
    told = ", ".join(f"{outcomes[name]} {name}" for name in sorted(outcomes))
    befell = ", ".join(f"{events[name]} {name}" for name in sorted(events))
    return f"{len(stories)} runs: {told}; {products} products exact; workers: {befell or 'none'}"


def tell(seed: int) -> Story:
    """Run one seed on ranks of its own."""
    rng = np.random.default_rng(seed)
    ranks, mark = int(rng.integers(3, 8)), uuid.uuid4().hex
    launcher = launch.find_launcher()
    program = [sys.executable, "-m", "bench.chaos", "--seed", str(seed)]
    environment = launcher.environment(ranks) | {_MARK: mark}
    environment["HPCREFINE_SHARED_MEMORY"] = str(int(rng.integers(2)))
    folder = Path(tempfile.mkdtemp(prefix="hpcrefine-chaos-", dir="/dev/shm"))
    environment |= {"TMPDIR": str(folder), "OMPI_MCA_btl_sm_backing_directory": str(folder)}
    start = time.perf_counter()
    process = subprocess.Popen(
        launcher.command(ranks, program),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=_SECONDS)
        hung = False
    except subprocess.TimeoutExpired:
        for pid in _processes(mark):
            os.kill(pid, 9)
        out, err = process.communicate()
        hung = True
    seconds = time.perf_counter() - start
    said = [line for line in out.splitlines() if line.startswith("{")]
    detail: dict[str, Any] = json.loads(said[-1]) if said else {}
    outcome = detail.get("outcome", "failed")
    if process.returncode != 0 and outcome == "exact":
        outcome = "failed"
    left = [] if hung else _left(mark)
    files = sorted(str(path) for path in folder.rglob("*") if not path.is_dir())
    shutil.rmtree(folder)
    if left or files or detail.get("open_requests"):
        outcome = "leaked"
        detail |= {"processes": left, "files": files}
    return Story(seed, "hung" if hung else outcome, seconds, detail, out + err)


def _processes(mark: str) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{_MARK}={mark}".encode() in (folder / "environ").read_bytes():
                yield int(folder.name)
        except OSError:  # not ours, or gone
            continue


def _left(mark: str) -> list[int]:
    """Return the processes of a run that are there when it has ended, and end them."""
    until = time.monotonic() + _GRACE
    while (left := list(_processes(mark))) and time.monotonic() < until:
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, 9)
    return left


def take_part(seed: int) -> int:
    """Be a rank of a run."""
    from hpcrefine.cluster.pool import Pool

    with Pool() as pool:
        if pool is None:
            return 0
        result = _multiply(pool, np.random.default_rng([seed, 1]), seed)
        pool.settle()
    open_requests = [rank for rank in pool.roster.kept if not pool.roster.gone(rank)]
    print(json.dumps(result | {"open_requests": open_requests}), flush=True)
    return int(result["outcome"] == "wrong")


def _multiply(pool: Any, rng: np.random.Generator, seed: int) -> dict[str, Any]:
    from hpcrefine.experiment.verify import Exact
    from hpcrefine.resolution.digits import quantise
    from hpcrefine.resolution.layers import layering

    pool.configure()
    pool.guard(timeout=_TIMEOUT, lies=int(rng.integers(1, 6)))
    faults = {rank: _faults(rng) for rank in range(1, pool.size)}
    lying = any(each.corrupt_rate for each in faults.values())
    verify = "freivalds" if lying or rng.random() < 0.3 else "none"
    pool.inject(faults, seed)
    told: dict[str, Any] = {"ranks": pool.size, "products": 0, "outcome": "exact"}
    told["faults"] = {rank: repr(each) for rank, each in faults.items() if not each.empty}
    for _ in range(int(rng.integers(4, 12))):
        code = _CODES[int(rng.integers(len(_CODES)))]
        shape = rng.integers(20, 240, 3).tolist()
        a, b = rng.standard_normal(shape[:2]), rng.standard_normal(shape[1:])
        digits, layers = int(rng.integers(1, 4)), str(rng.choice(["antidiagonal", "square"]))
        taken = int(rng.integers(1, 6))
        time.sleep(float(rng.choice([0, 0, 0.2])))  # workers die while idle, too
        try:
            product = pool.matmul(a, b, digits=digits, layers=layers, verify=verify, **code)
            left, right = (quantise(m, digits, 8, axis=x) for m, x in ((a, 1), (b, 0)))
            exact = Exact(left, right, layering(layers, digits), "full", 2**60)
            pairs = zip(product, exact.values(), strict=False)
            for count, (resolution, expected) in enumerate(pairs, start=1):
                if not np.array_equal(resolution.value, expected):
                    told |= {"outcome": "wrong", "code": code, "layer": resolution.layer}
                    return told | _events(pool)
                if count == taken:
                    break
            product.close()
        except (LostError, DecodeError) as error:
            told |= {"outcome": "lost", "error": str(error), "code": code}
            if not pool.roster.usable:
                break
            continue
        told["products"] += 1
    return told | _events(pool)


def _events(pool: Any) -> dict[str, Any]:
    return {"events": [(event.rank, event.kind) for event in pool.roster.events]}


def _faults(rng: np.random.Generator) -> Faults:
    """Draw what befalls a worker: about half of them nothing but being a little slow."""
    service = Service("exponential", float(rng.uniform(0.001, 0.01)))
    drawn: dict[str, Any] = {}
    match int(rng.integers(10)):
        case 0:
            drawn = {"kill_at": float(rng.uniform(0, 1.5))}
        case 1:
            drawn = {"kill_after": int(rng.integers(1, 40))}
        case 2:
            drawn = {"silent_at": float(rng.uniform(0, 1.5))}
        case 3:
            drawn = {"silent_after": int(rng.integers(1, 40))}
        case 4:
            drawn = {"corrupt_rate": float(rng.choice([0.02, 0.2, 1.0]))}
        case 5:
            drawn = {"slowdown": float(rng.uniform(2, 6))}
        case 6:
            drawn = {"pauses": ((float(rng.uniform(0, 0.5)), float(rng.uniform(0.1, 0.6))),)}
    return Faults(service=service, **drawn)


if __name__ == "__main__":
    sys.exit(main())
