"""The messages between master (rank 0) and workers: tags, layouts, states.

All messages are buffers of fixed layout; nothing is pickled, probed for or cancelled. Matching
rests on one guarantee of MPI: messages of one sender with one tag are received in the order sent.

=======  ================  ====================================================================
tag      direction         message
=======  ================  ====================================================================
COMMAND  master -> worker  one HEADER: what to do next
PLAN     master -> worker  after a JOB: BLOCK rows, MINIJOB rows, TASK rows (three messages)
PLANE    master -> worker  after the plan, for each digit, most significant first: the plane of
                           B, then the limbs of each of the worker's blocks of A
RESULT   worker -> master  one for each TASK row, in their order: the result, or nothing if
                           purged
REPORT   worker -> master  at the end of a JOB: one float64 for each TASK row, its seconds of
                           computing (NaN if purged)
FACTS    worker -> master  after CONFIGURE: one FACTS row
=======  ================  ====================================================================

A worker is *idle* or *serving a job*; it takes commands in both states, between tasks. It leaves a
job only when all its planes have arrived, all its replies have left and its report is sent, so that
nothing of a job is in flight when the next begins or the worker stops.
"""

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Tag(IntEnum):
    """Message tags."""

    COMMAND = 1
    PLAN = 2
    PLANE = 3
    RESULT = 4
    REPORT = 5
    FACTS = 6


class Command(IntEnum):
    """What a header asks for."""

    CONFIGURE = 1
    """Load a kernel (named in ``text``; library path after a newline) and answer with FACTS."""
    JOB = 2
    """Serve a product: plan and planes follow."""
    PURGE = 3
    """Drop the tasks of ``unit`` (all if negative) of job ``job`` not yet begun."""
    STOP = 4
    """Leave."""


HEADER = np.dtype(
    [
        ("command", "i8"),
        ("job", "i8"),
        ("unit", "i8"),
        ("digits", "i8"),
        ("digit_peak", "i8"),
        ("floating", "i8"),  # planes are float64: a one-shot product by BLAS
        ("inner", "i8"),
        ("columns", "i8"),
        ("blocks", "i8"),
        ("minijobs", "i8"),
        ("tasks", "i8"),
        ("text", "S1024"),
    ]
)
BLOCK = np.dtype([("rows", "i8"), ("limbs", "i8")])
MINIJOB = np.dtype([("unit", "i8"), ("i", "i8"), ("j", "i8")])
TASK = np.dtype([("unit", "i8"), ("block", "i8"), ("itemsize", "i8")])
FACTS = np.dtype(
    [
        ("rank", "i8"),
        ("pid", "i8"),
        ("threads", "i8"),
        ("host", "S64"),
        ("cpus", "S64"),
        ("kernel", "S16"),
        ("warning", "S512"),
        ("error", "S512"),
    ]
)

MASTER = 0


def header(command: Command, **fields: Any) -> NDArray[np.void]:
    """Return a header message."""
    message = np.zeros(1, HEADER)
    message["command"] = command
    for name, value in fields.items():
        message[name] = value
    return message


def as_bytes(message: NDArray[Any]) -> NDArray[np.uint8]:
    """View a contiguous array as the bytes that are sent."""
    return message.reshape(-1).view(np.uint8)
