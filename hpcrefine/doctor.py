"""``hpcrefine doctor``: what works here, and what does not and why."""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from hpcrefine import launch
from hpcrefine.errors import InputError
from hpcrefine.kernels import KERNELS, Kernel, check_exactness
from hpcrefine.record import environment

_SPEED_SHAPE = (512, 1024, 512)
_LINE = "{mark} {topic:<10} {text}"
_NEXT = "auto takes the next kernel"


class Mark(StrEnum):
    """What a finding means: all is well, runs work but more slowly, or they do not work."""

    OK = "ok"
    SLOWER = "--"
    BROKEN = "!!"


@dataclass(frozen=True)
class Finding:
    """One line of the examination; a broken one makes the exit code 1."""

    topic: str
    text: str
    mark: Mark = Mark.OK

    @property
    def broken(self) -> bool:
        """Whether runs do not work because of it."""
        return self.mark is Mark.BROKEN

    def __str__(self) -> str:
        return _LINE.format(mark=self.mark, topic=self.topic, text=self.text)


def examine(ranks: int) -> int:
    """Examine this machine, then start ranks and let them say what they are.

    Returns
    -------
    int
        0 if runs work, though maybe not as fast as they could; 1 if something is broken.
    """
    launch.check_count(ranks)
    broken = False
    for finding in _findings():
        print(finding, flush=True)
        broken |= finding.broken
    try:
        launcher = launch.find_launcher()
    except InputError as error:
        print(Finding("mpiexec", str(error), Mark.BROKEN))
        return 1
    print(Finding("mpiexec", f"{launcher.path}: {launcher.version}"), flush=True)
    code = launch.start(ranks, ["doctor"]).code
    if code:
        print(Finding("ranks", f"{ranks} ranks did not come up (exit code {code})", Mark.BROKEN))
    return int(broken or code != 0)


def examine_rank() -> int:
    """Examine the cluster from inside, on every rank; rank 0 prints."""
    from hpcrefine.cluster.pool import Pool

    with Pool() as master:
        if master is None:
            return 0
        launch.check_ranks(master.size)
        print(Finding("mpi", "{mpi} (mpi4py {mpi4py})".format(**master.mpi)))
        print(Finding("deaths", _tolerance()))
        rows = master.configure()
        for row in rows:
            text = "rank {rank} on {host}: pid {pid}, cpus {cpus}, {threads} thread(s), {kernel}"
            text = text.format(**row) + _reason(row["warning"])
            print(Finding("worker", f"{text}; {_memory(row)}"))
        a = np.random.default_rng(0).standard_normal((64, 96))
        resolutions = list(master.matmul(a, a.T.copy(), digits=2))
        error = float(np.abs(resolutions[-1].value - a @ a.T).max())
        right = error <= resolutions[-1].error_bound
        text = f"{len(resolutions)} resolutions on {len(rows)} workers, error within its bound"
        if not right:
            text = f"error {error} above its bound"
        print(Finding("product", text, Mark.OK if right else Mark.BROKEN))
    return 0 if right else 1


def _tolerance() -> str:
    from hpcrefine.launch import outlives_ranks

    if outlives_ranks():
        return "a run goes on when a worker dies (ULFM)"
    return f"a run ends when a worker dies; {launch.TOLERANCE_HINT}"


def _memory(row: dict[str, Any]) -> str:
    if not row["shared"]:
        return "served by messages"
    return "shares memory with rank 0" + (", reads its operands" if row["readable"] else "")


def _reason(warning: str) -> str:
    return f" ({warning})" if warning else ""


def _findings() -> Iterator[Finding]:
    facts = environment.collect(kernel="", mpi="", mpi4py="", threads=launch.prepare_process())
    yield Finding("python", f"{sys.version.split()[0]}, hpcrefine {_version('hpcrefine')}")
    yield Finding("cpu", f"{facts['cpu']}, cores {facts['cores']}")
    blas = f"numpy {np.__version__}, {facts['blas']}"
    core = os.environ.get("OPENBLAS_CORETYPE")
    yield Finding("blas", blas + (f", OPENBLAS_CORETYPE={core}" if core else ""))
    yield Finding("threads", f"{facts['threads']} per rank (OMP_NUM_THREADS)")
    yield Finding("hdf5", f"{facts['hdf5']} (h5py {facts['h5py']})")
    yield from _kernels()
    yield _slurm()


def _kernels() -> list[Finding]:
    """Examine each kernel; an inexact one is broken if none of those it gives way to is exact."""
    found: list[Finding] = []
    another = False
    for name, make in reversed(KERNELS.items()):
        try:
            kernel = make(None)
        except InputError as error:
            found.append(Finding(name, f"{error} ({_NEXT})"))
            continue
        reason = check_exactness(kernel)
        if not reason:
            where = getattr(kernel, "library", "BLAS")
            speed = f"{_speed(kernel):.0f} Gop/s a thread team"
            found.append(Finding(name, f"exact on worst-case digits, {speed} ({where})"))
        elif another:
            found.append(Finding(name, f"{reason} ({_NEXT})", Mark.SLOWER))
        else:
            found.append(Finding(name, reason, Mark.BROKEN))
        another |= not reason
    return found[::-1]


def _speed(kernel: Kernel) -> float:

    rows, inner, columns = _SPEED_SHAPE
    generator = np.random.default_rng(0)
    a = kernel.load(generator.integers(-128, 128, (rows, inner), dtype=np.int8))
    b = kernel.load(generator.integers(-128, 128, (inner, columns), dtype=np.int8))
    out = np.empty((rows, columns), np.int32)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        kernel.multiply(a, b, out, peak=128 * 128, accumulate=False)
        best = min(best, time.perf_counter() - start)
    return 2e-9 * rows * inner * columns / best


def _slurm() -> Finding:
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return Finding("slurm", "not inside a Slurm job")
    tasks, nodes = os.environ.get("SLURM_NTASKS", "?"), os.environ.get("SLURM_JOB_NUM_NODES", "?")
    return Finding("slurm", f"job {job}: {tasks} tasks on {nodes} nodes")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
