"""Quantising by the workers: those on the master's node read the operands where they lie.

Threads of one Python process take turns, processes do not: two workers quantise twice as fast as
two threads of the master.
"""

import itertools
from collections.abc import Collection, Sequence

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcrefine.cluster.arena import Arena, Attachments
from hpcrefine.cluster.backoff import wait_all
from hpcrefine.cluster.dispatch import Outbox
from hpcrefine.cluster.messages import receive_table
from hpcrefine.cluster.protocol import MASTER, SEGMENT, SURVEY, Command, Tag, as_bytes, header
from hpcrefine.cluster.remote import RemoteMatrix
from hpcrefine.cluster.roster import Roster
from hpcrefine.resolution.digits import Array, Threads
from hpcrefine.resolution.sweep import NotFiniteError, Rows, Source, Sweep, Swept, strip_peaks

_BLOCK_ENTRIES = 1 << 16  # a float64 block and its temporaries stay in a 2 MiB cache
_WORTHWHILE = 1 << 18  # entries; a smaller matrix is done before the workers have begun

Floats = NDArray[np.float64]


class Ranks(Threads):
    """A team of workers; what they cannot read is left to threads of this process.

    Parameters
    ----------
    comm : MPI.Comm
        Communicator of the pool.
    roster : Roster
        Who is there.
    ranks : sequence of int
        Workers that share memory with this process; all must be idle.
    readers : collection of int
        Those that can read all of this process's memory.
    arena : Arena or None
        Where planes go; None: into this process's own memory.
    threads : int
        Threads for the rest.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        roster: Roster,
        ranks: Sequence[int],
        readers: Collection[int],
        arena: Arena | None,
        threads: int,
    ) -> None:
        super().__init__(threads)
        self._comm, self._roster, self._arena = comm, roster, arena
        self._ranks, self._readers = ranks, readers

    def planes(self, digits: int, shape: tuple[int, int]) -> NDArray[np.int8]:
        """Return planes in shared memory, if there is any."""
        if self._arena is None:
            return super().planes(digits, shape)
        return self._arena.empty((digits, *shape), np.int8)

    def peaks(self, matrix: Array, axis: int) -> list[Floats]:
        """Return the peaks that each worker found."""
        while self._readable(matrix):
            parts = self._survey(matrix, axis, None, None, 0)
            if parts is not None:
                return parts
        return super().peaks(matrix, axis)

    def sweep(
        self,
        matrix: Array,
        axis: int,
        peaks: Floats | None,
        planes: NDArray[np.int8],
        digit_bits: int,
    ) -> list[Swept]:
        """Have each worker quantise its share of the rows."""
        while self._arena is not None and self._arena.holds(planes) and self._readable(matrix):
            parts = self._survey(matrix, axis, peaks, planes, digit_bits)
            if parts is not None:
                split = [part.reshape(len(planes) + 2, -1) for part in parts]
                return [Swept(part[0], part[1:]) for part in split]
        return super().sweep(matrix, axis, peaks, planes, digit_bits)

    def _readable(self, matrix: Array) -> bool:
        usual = matrix.dtype.isnative and matrix.flags.c_contiguous
        return usual and matrix.size >= _WORTHWHILE and bool(self._team(matrix))

    def _team(self, matrix: Array) -> list[int]:
        """Return the workers that can read a matrix."""
        shared = self._arena is not None and self._arena.holds(matrix)
        found = [rank for rank in self._ranks if shared or rank in self._readers]
        return [rank for rank in found if not self._roster.gone(rank)]

    def _survey(
        self,
        matrix: Array,
        axis: int,
        peaks: Floats | None,
        planes: NDArray[np.int8] | None,
        digit_bits: int,
    ) -> list[Floats] | None:
        """Have each worker see to its share of the rows; None if one has gone meanwhile."""
        rows, columns = matrix.shape
        ranks = self._team(matrix)
        count = min(len(ranks), rows)
        edges = [rows * i // count for i in range(count + 1)]
        digits = 0 if planes is None else len(planes)
        order = as_bytes(header(Command.SURVEY, digits=digits, digit_bits=digit_bits))
        arena, address = self._arena, matrix.ctypes.data
        rows_of = []
        if arena is not None and arena.holds(matrix):
            rows_of, address = [arena.row(matrix)], 0
        if arena is not None and planes is not None:
            rows_of.append(arena.row(planes))
        segments = np.concatenate([np.empty(0, SEGMENT), *rows_of])
        outbox, parts = Outbox(self._roster), []
        for rank, (start, stop) in zip(ranks, itertools.pairwise(edges), strict=False):
            given = np.empty(0) if peaks is None else peaks[start:stop] if axis == 1 else peaks
            place = (address, rows, columns, start, stop, axis, len(given), matrix.dtype.str)
            part = np.empty((digits + 2 if digits else 1) * (stop - start if axis else columns))
            outbox.send(order, rank, Tag.COMMAND)
            for table in (np.array([place], SURVEY), segments, given):
                if len(table):
                    outbox.send(as_bytes(table), rank, Tag.PLAN)
            parts.append((rank, self._comm.Irecv(as_bytes(part), rank, Tag.PART), part))
        outbox.flush()
        statuses = [MPI.Status() for _ in parts]
        if not all(self._roster.complete(parts, statuses)):
            return None
        if any(status.Get_count(MPI.BYTE) == 0 for status in statuses):
            raise NotFiniteError
        return [part for _, _, part in parts]


def answer(comm: MPI.Comm, command: np.void, memory: Attachments | None) -> None:
    """Serve a SURVEY command: the worker's side."""
    digits = int(command["digits"])
    row = receive_table(comm, SURVEY, 1)[0]
    address = int(row["address"])
    segments = list(receive_table(comm, SEGMENT, (digits > 0) + (address == 0)))
    peaks = receive_table(comm, np.dtype(np.float64), row["peaks"])
    if memory is None:
        raise RuntimeError("asked to read a master whose memory is not shared")
    shape, axis = (int(row["rows"]), int(row["columns"])), int(row["axis"])
    dtype = np.dtype(row["dtype"].decode())
    source: Source = RemoteMatrix(memory.pid, address, shape, dtype)
    if address == 0:
        source = Rows(memory.array(segments.pop(0), shape, dtype))
    strip = slice(int(row["start"]), int(row["stop"]))
    if digits == 0:
        part = strip_peaks(source, strip, axis, _BLOCK_ENTRIES)
    else:
        planes = memory.array(segments[0], (digits, *shape), np.int8)
        bits = int(command["digit_bits"])
        sweep = Sweep(
            source, strip, axis, peaks if len(peaks) else None, planes, bits, _BLOCK_ENTRIES
        )
        try:
            part = np.concatenate([x.ravel() for x in sweep.run()])
        except NotFiniteError:
            part = np.empty(0)
    wait_all([comm.Isend(as_bytes(part), MASTER, Tag.PART)])
