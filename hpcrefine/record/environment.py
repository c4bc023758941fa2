"""Where a run took place: host, processor, libraries, commit, batch job.

Nothing here starts a process: a fork after MPI_Init is unsafe.
"""

import os
import platform
import socket
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

import hpcrefine

UNKNOWN = "unknown"
_SLURM = (
    "SLURM_JOB_ID",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_CLUSTER_NAME",
    "SLURM_JOB_PARTITION",
    "SLURM_JOB_NUM_NODES",
    "SLURM_NODELIST",
    "SLURM_NTASKS",
    "SLURM_NTASKS_PER_NODE",
    "SLURM_CPUS_PER_TASK",
    "SLURMD_NODENAME",
)
_MAX_HOPS = 8


def collect(
    *,
    kernel: str,
    mpi: str,
    mpi4py: str,
    threads: int,
    extra: Mapping[str, str | int | float] | None = None,
) -> dict[str, str | int | float]:
    """Describe this process's surroundings, for the record's group ``environment``.

    Parameters
    ----------
    kernel : str
        Kernel of the digit products.
    mpi, mpi4py : str
        Versions of the MPI library and of mpi4py.
    threads : int
        Threads of the kernel.
    extra : mapping, optional
        More entries; they win over those found here.

    Returns
    -------
    dict
        Names to values; ``"unknown"`` where something cannot be found out. ``cores`` counts those
        this process may run on, ``cores_total`` those of the machine, ``memory_bytes`` is in bytes.
    """
    system = os.uname()
    found: dict[str, str | int | float] = {
        "host": socket.gethostname(),
        "platform": f"{system.sysname} {system.release} {system.machine}",
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "cores_total": os.cpu_count() or 0,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        **_blas(),
        "h5py": h5py.version.version,
        "hdf5": h5py.version.hdf5_version,
        "mpi": mpi.strip(),
        "mpi4py": mpi4py,
        "kernel": kernel,
        "threads": threads,
        "git_commit": git_commit(Path(hpcrefine.__file__).parents[1]),
    }
    for name in ("OPENBLAS_CORETYPE", *_SLURM):
        if name in os.environ:
            found[name.lower()] = os.environ[name]
    return found | dict(extra or {})


def cpu_model(source: Path = Path("/proc/cpuinfo")) -> str:
    """Name of the processor: ``model name`` on x86, ``cpu`` on POWER, else the architecture."""
    try:
        lines = source.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    fields = dict(reversed([_field(line) for line in lines if ":" in line]))
    return fields.get("model name") or fields.get("cpu") or os.uname().machine


def git_commit(checkout: Path) -> str:
    """Commit of a checkout, read from its ``.git``; ``"unknown"`` where there is none.

    Parameters
    ----------
    checkout : Path
        The directory that holds ``.git``: a directory, or a file in linked worktrees.

    Returns
    -------
    str
        The full hexadecimal name of the commit.
    """
    try:
        private = _git_directory(checkout)
        common = private
        if (private / "commondir").exists():
            common = private / (private / "commondir").read_text().strip()
        head = (private / "HEAD").read_text().strip()
        for _ in range(_MAX_HOPS):
            if not head.startswith("ref:"):
                return head if _is_commit(head) else UNKNOWN
            head = _resolve(head.removeprefix("ref:").strip(), private, common)
    except (OSError, UnicodeDecodeError):
        pass
    return UNKNOWN


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def _git_directory(checkout: Path) -> Path:
    git = checkout / ".git"
    if git.is_file():
        return checkout / git.read_text().removeprefix("gitdir:").strip()
    return git


def _resolve(reference: str, private: Path, common: Path) -> str:
    for directory in (private, common):
        if (directory / reference).is_file():
            return (directory / reference).read_text().strip()
    for line in (common / "packed-refs").read_text().splitlines():
        commit, _, name = line.partition(" ")
        if name == reference:
            return commit
    return UNKNOWN


def _is_commit(text: str) -> bool:
    return len(text) in (40, 64) and set(text) <= set("0123456789abcdef")


def _blas() -> dict[str, str]:
    try:
        built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    except (KeyError, TypeError):
        return {"blas": UNKNOWN}
    name = f"{built.get('name', UNKNOWN)} {built.get('version', '')}".strip()
    return {"blas": name, "blas_config": str(built.get("openblas configuration", UNKNOWN))}
