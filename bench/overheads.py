"""What hpcrefine costs beside the arithmetic: waiting, recording, memory.

None of these is a product compared with another, but each is a time beside a time, and so they are
recorded in the same way; rows whose name says CPU hold seconds of CPU time of a process.

``overheads-waiting``: one worker computes a long product of small result, the other has no task.
CPU time of the master and of the worker without a task from the moment all is on its way to the
result, over the time elapsed.
``overheads-idle``: no product at all; CPU time of a worker over the time elapsed.
``overheads-recording``: writing a job with all its tasks into a record, over the product itself,
with eight times as many tasks as are usual.
Figures of the last case: memory that a 16-bit product and its operands add to the ranks, each
one's own and what they share, over what operands, digit planes and results need. Nothing of it is
given back before, so it is the peak. All of it reads /proc, so on Linux.

    python -m bench.overheads
"""

import itertools
import os
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from bench import start
from bench.case import Case, Contender, Outcome
from bench.contenders import Problem, layered
from bench.harness import Site, measure, rows
from hpcrefine.cluster.pool import Pool
from hpcrefine.record.writer import RecordWriter

RANKS = 3


def body(options: start.Options) -> None:
    """Run all cases; memory first, while the processes are fresh."""
    with Pool() as pool:
        if not pool:
            return
        site = Site.of(pool)
        figures = _memory(pool, site, options) if options.wants("overheads-recording") else {}
        if options.wants("overheads-waiting"):
            _waiting(pool, site, options)
        if options.wants("overheads-idle"):
            _idle(site, options)
        if options.wants("overheads-recording"):
            _recording(pool, site, options, figures)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that the threads of a process have used."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def memory(pid: int) -> dict[str, int]:
    """Return a process's memory in bytes: its own, and its part of what it shares (``Pss``)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return {"own": sizes["Pss_Anon"], "shared": sizes["Pss_Shmem"]}


def _memory(pool: Pool, site: Site, options: start.Options) -> dict[str, float]:
    """Measure what one product and its operands take, all its resolutions kept."""
    size, digits = 256 if options.quick else 4096, 2
    pids = {f"rank {row['rank']}": row["pid"] for row in site.workers} | {"master": os.getpid()}
    warm = np.ones((64, 64))
    list(pool.matmul(warm, warm))
    pool.settle()
    before = {name: memory(pid) for name, pid in pids.items()}
    problem = Problem.normal(size, size, size, place=pool.place)
    resolutions = list(pool.matmul(problem.a, problem.b, digits=digits))
    pool.settle()
    after = {name: memory(pid) for name, pid in pids.items()}
    figures: dict[str, float] = {
        f"{name}: own memory [bytes]": after[name]["own"] - before[name]["own"] for name in pids
    }
    shared = sum(after[name]["shared"] - before[name]["shared"] for name in pids)
    used = shared + sum(figures.values())
    entries = size * size
    bare = 2 * 8 * entries + 2 * digits * entries
    needed = {"one result": bare + 8 * entries, "all": bare + 8 * entries * len(resolutions)}
    figures["shared by all ranks [bytes]"] = shared
    figures["all ranks [bytes]"] = used
    figures["over operands, planes, one result"] = used / needed["one result"]
    figures["over operands, planes, all resolutions"] = used / needed["all"]
    return figures


def _waiting(pool: Pool, site: Site, options: start.Options) -> None:
    shape = (256, 1024, 512) if options.quick else (1024, 16384, 4096)
    problem = Problem.normal(*shape)
    pid_of = {row["rank"]: row["pid"] for row in site.workers}

    def run() -> Outcome:
        product = pool.matmul(problem.a, problem.b, digits=1, tasks=1)
        (busy,) = {entry.worker for entry in product.log.values()}
        other = next(pid for rank, pid in pid_of.items() if rank != busy)
        pids, begun = (os.getpid(), other), time.perf_counter()
        before = [cpu_seconds(pid) for pid in pids]
        resolution = next(product)
        spent = [cpu_seconds(pid) - was for pid, was in zip(pids, before, strict=True)]
        elapsed = time.perf_counter() - begun
        product.settle()
        right = problem.reference.error(resolution.value) <= resolution.error_bound
        return Outcome((*spent, elapsed), verdict="unchecked" if right else "wrong")

    labels = ("master, CPU", "worker without a task, CPU", "elapsed")
    case = Case(
        name="overheads-waiting",
        note=f"CPU time of those who wait for a {'x'.join(map(str, shape))} product on one worker, "
        "float64 kernel (for its slowness). Base: the time elapsed.",
        bases=("waiting",),
        contenders=(Contender("waiting", shape, run, labels),),
        counts="",
        repeats=options.runs(6),
    )
    pool.configure("float64")
    measure(case, site, options.output)
    pool.configure()


def _idle(site: Site, options: start.Options) -> None:
    pid, pause = site.workers[0]["pid"], 0.2 if options.quick else 1.0

    def run() -> Outcome:
        begun, before = time.perf_counter(), cpu_seconds(pid)
        time.sleep(pause)
        spent = cpu_seconds(pid) - before
        return Outcome((spent, time.perf_counter() - begun))

    case = Case(
        name="overheads-idle",
        note="CPU time of a worker while there is nothing to do. Base: the time elapsed.",
        bases=("idle",),
        contenders=(Contender("idle", (1, 1, 1), run, ("worker, CPU", "elapsed")),),
        counts="",
        repeats=options.runs(6),
        warmups=0,
    )
    measure(case, site, options.output)


def _recording(pool: Pool, site: Site, options: start.Options, figures: dict[str, float]) -> None:
    size, tasks = (128, 16) if options.quick else (2048, 64)
    problem = Problem.normal(size, size, size)
    product = layered(lambda: nullcontext(pool), problem, name="product", tasks=tasks)
    outcome = product.run()
    count, numbers = len(outcome.tasks), itertools.count()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.output) as directory:
        writer = RecordWriter(
            Path(directory) / "scratch.h5",
            job_text="",
            kind="measured",
            environment=site.environment({}),
            workers=[],
        )

        def record() -> Outcome:
            head = {"job": next(numbers), "repeat": 0, "warmup": False, "start": 0.0}
            begun = time.perf_counter()
            writer.append(*rows(head, product, outcome))
            return Outcome((time.perf_counter() - begun,))

        case = Case(
            name="overheads-recording",
            note=f"Writing a {size}^3 product of 2 x 8 bits with its {count} tasks into a record. "
            "Base: the product's last resolution.",
            bases=("product",),
            contenders=(product, Contender("recording", problem.shape, record)),
            repeats=options.runs(),
        )
        with writer:
            measure(case, site, options.output, figures)


if __name__ == "__main__":
    if not Path(f"/proc/self/task/{os.getpid()}/schedstat").exists():
        print("skipped: needs Linux's /proc")
        sys.exit(start.SKIPPED)
    start.run("bench.overheads", __doc__, RANKS, body)
