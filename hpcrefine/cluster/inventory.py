"""What a rank says of itself: host, process, processors, threads, kernel."""

import os
import socket
from collections.abc import Iterable
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcrefine.cluster.protocol import FACTS
from hpcrefine.kernels import Kernel


def facts(rank: int, kernel: Kernel | None, warning: str, error: str) -> NDArray[np.void]:
    """Return the FACTS row of this rank."""
    row = np.zeros(1, FACTS)
    row["rank"], row["pid"], row["threads"] = rank, os.getpid(), threads()
    row["host"] = host().encode()
    row["cpus"] = ranges(os.sched_getaffinity(0)).encode()
    row["kernel"] = (kernel.name if kernel else "").encode()
    row["warning"], row["error"] = warning.encode()[:512], error.encode()[:512]
    return row


def as_rows(table: NDArray[np.void]) -> list[dict[str, Any]]:
    """Turn FACTS rows into dictionaries with text instead of bytes."""
    return [
        {
            name: row[name].decode(errors="replace")
            if isinstance(row[name], bytes)
            else int(row[name])
            for name in FACTS.names or ()
        }
        for row in table
    ]


def host() -> str:
    """Return the node's name; virtual Slurm nodes share a host name but not SLURMD_NODENAME."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def threads() -> int:
    """Return the threads that BLAS and oneDNN were told to use."""
    return int(os.environ.get("OMP_NUM_THREADS", "1") or 1)


def ranges(numbers: Iterable[int]) -> str:
    """Write a set of numbers as ranges, such as ``0-3,8``."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def mpi_library() -> str:
    """Return the first line of the MPI library's own version text."""
    return " ".join(MPI.Get_library_version().strip("\0").splitlines()[0].split())
