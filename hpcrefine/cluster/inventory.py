"""What ranks say of themselves: host, process, processors, threads, kernel, shared memory."""

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcrefine.cluster.arena import Offer
from hpcrefine.cluster.dispatch import Outbox
from hpcrefine.cluster.protocol import FACTS, HEADER, Command, Tag, as_bytes
from hpcrefine.cluster.roster import Roster
from hpcrefine.errors import InputError
from hpcrefine.kernels import Kernel, Peaks
from hpcrefine.launch import host


def facts(rank: int, kernel: Kernel | None, warning: str, error: str) -> NDArray[np.void]:
    """Return the FACTS row of this rank."""
    row = np.zeros(1, FACTS)
    row["rank"], row["pid"], row["threads"] = rank, os.getpid(), threads()
    row["host"] = host().encode()
    row["cpus"] = ranges(os.sched_getaffinity(0)).encode()
    row["kernel"] = (kernel.name if kernel else "").encode()
    row["warning"], row["error"] = warning.encode()[:512], error.encode()[:512]
    return row


def configure_workers(
    comm: MPI.Comm,
    roster: Roster,
    kernel: str,
    library: str | None,
    peaks: Peaks,
    *,
    share: bool,
) -> list[dict[str, Any]]:
    """Have every worker load a kernel, offer it our memory, and return what each says.

    Raises
    ------
    InputError
        If the library's path is longer than a command can hold.
    """
    offer = Offer() if share else None
    try:
        lines = kernel, library or "", f"{peaks.left} {peaks.right}", str(offer or "")
        text = "\n".join(lines).encode()
        if len(text) > HEADER["text"].itemsize:
            raise InputError(
                f"oneDNN library: found a path of {len(library or '')} characters, expected a "
                "shorter one"
            )
        outbox, workers = Outbox(roster), roster.living
        table = np.zeros(len(workers), FACTS)
        parts = [as_bytes(table[at : at + 1]) for at in range(len(workers))]
        asked = [
            (rank, comm.Irecv(part, rank, Tag.FACTS), part)
            for rank, part in zip(workers, parts, strict=True)
        ]
        outbox.command(Command.CONFIGURE, workers, text=text)
        outbox.flush()
        answered = roster.complete(asked)
    finally:
        if offer is not None:
            offer.close()
    rows = _as_rows(table[answered])
    for row in rows:
        roster.introduce(row["rank"], row["host"], row["pid"])
    return rows


def _as_rows(table: NDArray[np.void]) -> list[dict[str, Any]]:
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
