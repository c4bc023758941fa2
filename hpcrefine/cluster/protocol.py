"""The messages between master (rank 0) and workers: tags, layouts, states.

All messages are buffers of fixed layout; nothing is pickled, probed for or cancelled. Matching
rests on one guarantee of MPI: messages of one sender with one tag are received in the order sent.

=======  ================  ====================================================================
tag      direction         message
=======  ================  ====================================================================
COMMAND  master -> worker  one HEADER: what to do next
PLAN     master -> worker  what belongs to a command, each table one message (left out if empty):

                           HOLD     BLOCK rows, SEGMENT rows
                           JOB      BLOCK rows of A (none if held), BLOCK rows of B (none if it has
                                    them), MINIJOB rows, TASK rows, SEGMENT rows, exponents
                           SURVEY   SURVEY row, SEGMENT rows (the matrix, if it is in one; the
                                    planes), peaks
                           FAULTS   the text of its faults
                           NETWORK  its bytes
                           INFER    SAMPLES rows, numbers of the blocks that joined ones are made
                                    of, the text of the rule
PLANE    master -> worker  after the plan, for each digit, most significant first: the limbs of
                           each block of B, then of each block of A, but for those that stand in
                           shared memory or are there already; after INFER the samples of each
                           block that is made of none, in their own type
RESULT   worker -> master  one for each TASK row, in their order, whose result is sent: the result,
                           or nothing if purged; one for each SAMPLES row: float32 scores
DONE     worker -> master  for the TASK rows whose results lie in shared memory, in their order: a
                           byte each, 1 done, 0 purged; one message holds one or many
REPORT   worker -> master  at the end of a JOB or INFER: for each row two float64, its seconds of
                           computing and of refining (NaN if purged)
PART     worker -> master  after SURVEY: float64 peaks, then squares if planes were filled;
                           nothing if an entry is not finite
FACTS    worker -> master  after CONFIGURE: one FACTS row
LEAVE    worker -> master  nothing, when it leaves after STOP; the receive that waits for it is also
                           how the master learns that a worker has died
=======  ================  ====================================================================

What a worker is to do for a product comes in one JOB or several, its *rounds*: the first with what
the plan gives it, further ones with copies of tasks that others did not finish. PLAN, PLANE,
RESULT, DONE and REPORT of a round have a tag of their own (:func:`round_tag`), so that rounds do
not wait for each other. A worker takes commands between tasks, and of all its tasks does the one of
the lowest unit of the oldest product first. It ends a round when all its planes have arrived, all
its replies have left and its report is sent.

An inference is served like a product, in rounds that INFER begins: its unit is the upgrade, its
task the block. A worker keeps the states of those samples of a block that the rule leaves
undecided, under the block's number, until a block of the next upgrade is made of them, or all is
purged.

Products overlap in streams alone: the plan and the planes of the next one may come early, in a JOB
that is ``gated``; its tasks are begun after START. Otherwise the next product begins when all
rounds have ended.

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
    LEAVE = 9


class Command(IntEnum):
    """What a header asks for."""

    CONFIGURE = 1
    """Load a kernel (first line of ``text``; then library and offer) and answer with FACTS."""
    JOB = 2
    """Serve a product: plan and planes follow."""
    PURGE = 3
    """Drop the tasks of ``unit`` (all if negative) of job ``job`` not yet begun, or only ``task``
    of them if that is not negative."""
    STOP = 4
    """Leave."""
    SURVEY = 5
    """Read rows of the master's memory: find peaks, or quantise them."""
    FORGET = 6
    """Unmap the segment ``segment``."""
    HOLD = 7
    """Keep the planes of A that follow, under the number ``held``."""
    RELEASE = 8
    """Let go of the planes, or the network, ``held``."""
    FAULTS = 9
    """From now on behave as the text says that follows, of ``length`` bytes."""
    START = 10
    """Begin the tasks of job ``job``, whose rounds so far were gated."""
    NETWORK = 11
    """Keep the network that follows, of ``length`` bytes, under the number ``held``."""
    INFER = 12
    """Bring blocks of samples to an upgrade of the network ``held``: ``tasks`` of them follow, made
    of ``sources`` blocks, samples of the type ``text``, and a rule of ``length`` bytes."""


HEADER = np.dtype(
    [
        ("command", "i8"),
        ("job", "i8"),
        ("round", "i8"),
        ("gated", "i8"),  # wait for START
        ("position", "i8"),  # place of the job in its stream
        ("unit", "i8"),
        ("task", "i8"),
        ("digits", "i8"),
        ("digit_bits", "i8"),
        ("top", "i8"),  # place value of the leading digit product, in bits
        ("floating", "i8"),  # planes are float64: a one-shot product by BLAS
        ("rows", "i8"),
        ("inner", "i8"),
        ("columns", "i8"),
        ("left", "i8"),  # blocks of A
        ("right", "i8"),  # blocks of B; none: those of the round before
        ("minijobs", "i8"),
        ("tasks", "i8"),
        ("sources", "i8"),  # blocks that joined ones are made of
        ("segments", "i8"),  # in shared memory: A's planes if not held, B's, values, stores
        ("values", "i8"),  # how many of the segments are values: this worker refines
        ("held", "i8"),
        ("segment", "i8"),
        ("length", "i8"),
        ("text", "S1024"),
    ]
)
BLOCK = np.dtype([("start", "i8"), ("limbs", "i8"), ("rows", "i8"), ("columns", "i8")])
"""A block of an operand; start: its first row in shared memory, -1 if it comes as messages."""
MINIJOB = np.dtype([("unit", "i8"), ("i", "i8"), ("j", "i8")])
TASK = np.dtype(
    [
        ("unit", "i8"),
        ("layer", "i8"),
        ("task", "i8"),
        ("left", "i8"),  # its block of A, of B
        ("right", "i8"),
        ("itemsize", "i8"),
        ("in_place", "i8"),  # its result goes to shared memory
    ]
)
SAMPLES = np.dtype(
    [
        ("upgrade", "i8"),  # what they are brought to
        ("block", "i8"),
        ("samples", "i8"),
        ("sources", "i8"),  # how many blocks of the upgrade before it is made of; 0: they are sent
    ]
)
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
ALL = -1
MOST_DONE = 4096  # bytes of a DONE message


_TAGS = 16
_ROUNDS = 1024  # ended long before their tags are used again; 32767 is the least largest tag


def round_tag(tag: Tag, number: int) -> int:
    """Return the tag of a round's messages."""
    return tag + _TAGS * (number % _ROUNDS)


def header(command: Command, **fields: Any) -> NDArray[np.void]:
    """Return a header message."""
    message = np.zeros(1, HEADER)
    message["command"], message["task"] = command, ALL
    for name, value in fields.items():
        message[name] = value
    return message


def as_bytes(message: NDArray[Any]) -> NDArray[np.uint8]:
    """View a contiguous array as the bytes that are sent."""
    return message.reshape(-1).view(np.uint8)
