"""The messages between master (rank 0) and workers: tags, layouts, states.

All messages are buffers of fixed layout; nothing is pickled, probed for or cancelled. Matching
rests on one guarantee of MPI: messages of one sender with one tag are received in the order sent.

=======  ================  ====================================================================
tag      direction         message
=======  ================  ====================================================================
COMMAND  master -> worker  one HEADER: what to do next
PLAN     master -> worker  what belongs to a command, each table one message (left out if empty):

                           HOLD     BLOCK rows, SEGMENT rows
                           JOB      BLOCK rows, MINIJOB rows, TASK rows, SEGMENT rows, exponents
                           SURVEY   SURVEY row, SEGMENT rows (the matrix, if it is in one; the
                                    planes), peaks
PLANE    master -> worker  after the plan, for each digit, most significant first: the plane of
                           B (not for HOLD), then the limbs of each of the worker's blocks of A
                           (not for a JOB whose A is held already); a worker that shares memory
                           with the master gets one byte in place of B and plain blocks: they
                           stand
RESULT   worker -> master  one for each TASK row, in their order, whose result is sent: the result,
                           or nothing if purged
DONE     worker -> master  for the TASK rows whose results lie in shared memory, in their order: a
                           byte each, 1 done, 0 purged; one message holds one or many
REPORT   worker -> master  at the end of a JOB: for each TASK row two float64, its seconds of
                           computing and of refining (NaN if purged)
PART     worker -> master  after SURVEY: float64 peaks, then squares if planes were filled;
                           nothing if an entry is not finite
FACTS    worker -> master  after CONFIGURE: one FACTS row
=======  ================  ====================================================================

A worker is *idle* or *serving a job*; it takes commands in both states, between tasks. It leaves a
job only when all its planes have arrived, all its replies have left and its report is sent, so that
nothing of a job is in flight when the next begins or the worker stops.

Shared memory is ordered by messages: the master writes planes before it says that they stand, and
reads results after the reply that announces them.
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
    PART = 7
    DONE = 8


class Command(IntEnum):
    """What a header asks for."""

    CONFIGURE = 1
    """Load a kernel (first line of ``text``; then library and offer) and answer with FACTS."""
    JOB = 2
    """Serve a product: plan and planes follow."""
    PURGE = 3
    """Drop the tasks of ``unit`` (all if negative) of job ``job`` not yet begun."""
    STOP = 4
    """Leave."""
    SURVEY = 5
    """Read rows of the master's memory: find peaks, or quantise them."""
    FORGET = 6
    """Unmap the segment ``segment``."""
    HOLD = 7
    """Keep the planes of A that follow, under the number ``held``."""
    RELEASE = 8
    """Let go of the planes ``held``."""


HEADER = np.dtype(
    [
        ("command", "i8"),
        ("job", "i8"),
        ("unit", "i8"),
        ("digits", "i8"),
        ("digit_bits", "i8"),
        ("top", "i8"),  # place value of the leading digit product, in bits
        ("floating", "i8"),  # planes are float64: a one-shot product by BLAS
        ("rows", "i8"),
        ("inner", "i8"),
        ("columns", "i8"),
        ("blocks", "i8"),
        ("minijobs", "i8"),
        ("tasks", "i8"),
        ("segments", "i8"),  # of planes, values and stores in shared memory; none: by messages
        ("values", "i8"),  # how many of the segments are values: this worker refines
        ("held", "i8"),
        ("segment", "i8"),
        ("text", "S1024"),
    ]
)
BLOCK = np.dtype([("start", "i8"), ("rows", "i8"), ("limbs", "i8")])  # start -1: a combination
MINIJOB = np.dtype([("unit", "i8"), ("i", "i8"), ("j", "i8")])
TASK = np.dtype([("unit", "i8"), ("layer", "i8"), ("block", "i8"), ("itemsize", "i8")])
SEGMENT = np.dtype([("number", "i8"), ("descriptor", "i8"), ("nbytes", "i8")])
SURVEY = np.dtype(
    [
        ("address", "i8"),  # of the matrix, C-contiguous, in the master's memory; 0: in a segment
        ("rows", "i8"),
        ("columns", "i8"),
        ("start", "i8"),  # the rows surveyed
        ("stop", "i8"),
        ("axis", "i8"),
        ("peaks", "i8"),  # how many are given
        ("dtype", "S8"),
    ]
)
FACTS = np.dtype(
    [
        ("rank", "i8"),
        ("pid", "i8"),
        ("threads", "i8"),
        ("shared", "i8"),  # memory can be shared with the master
        ("readable", "i8"),  # the master's own memory can be read
        ("host", "S64"),
        ("cpus", "S64"),
        ("kernel", "S16"),
        ("warning", "S512"),
        ("error", "S512"),
    ]
)

MASTER = 0
MOST_DONE = 4096  # bytes of a DONE message


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
