"""Memory that the master shares with the workers on its node.

Segments are anonymous files (``memfd_create``): they have no name that could be left behind, a
worker opens them through the master's ``/proc/PID/fd``, and the kernel frees them with their last
user, however that ends. The arena lends arrays; one that is garbage, with all its views, gives its
segment back for the next product, since fresh pages cost as much as a pass over them. What orders
reads and writes are the messages of :mod:`hpcrefine.cluster.protocol`.
"""

import contextlib
import itertools
import math
import mmap
import os
import secrets
import stat
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hpcrefine.cluster.protocol import SEGMENT
from hpcrefine.cluster.remote import GoneError, has_ended, read_memory
from hpcrefine.resolution.digits import strips

_ROOM = 2  # a free segment serves requests of no less than its size over this
_SURPLUS = 1.5  # segments may take this much of the most that was ever lent at once
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(eq=False)
class _Segment:
    number: int
    descriptor: int
    memory: mmap.mmap


class Arena:
    """Lends arrays in shared memory: the master's side.

    Parameters
    ----------
    forget : callable
        Called with the number of a segment that is given up.
    """

    def __init__(self, forget: Callable[[int], None]) -> None:
        self._forget = forget
        self._numbers = itertools.count(1)
        self._free: list[_Segment] = []
        self._lent: dict[int, _Segment] = {}
        self._most_lent = 0

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Lend an array of any content, C-contiguous."""
        kind, count = np.dtype(dtype), math.prod(shape)
        segment = self._take(max(1, count * kind.itemsize))
        lease = np.frombuffer(segment.memory, kind, count)
        address = lease.ctypes.data
        self._lent[address] = segment
        weakref.finalize(lease, self._return, address).atexit = False
        return lease.reshape(shape)

    def copy(self, matrix: NDArray[Any], dtype: DTypeLike, threads: int) -> NDArray[Any]:
        """Lend an array with the entries of a matrix."""
        lent = self.empty(matrix.shape, dtype)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda rows: np.copyto(lent[rows], matrix[rows]), strips(len(lent))))
        return lent

    def row(self, array: NDArray[Any]) -> NDArray[np.void]:
        """Describe a lent array to the workers, shape (1,), of type SEGMENT."""
        segment = self._lent[array.ctypes.data]
        return np.array([(segment.number, segment.descriptor, len(segment.memory))], SEGMENT)

    def holds(self, array: NDArray[Any]) -> bool:
        """Say whether an array begins where a segment does."""
        return array.ctypes.data in self._lent

    def close(self) -> None:
        """Give up what is free; arrays still in use keep their memory."""
        while self._free:
            self._give_up(self._free.pop())
        for segment in self._lent.values():
            os.close(segment.descriptor)
            segment.descriptor = -1

    def _take(self, nbytes: int) -> _Segment:
        fitting = [s for s in self._free if nbytes <= len(s.memory) <= _ROOM * nbytes]
        if fitting:
            best = min(fitting, key=lambda s: len(s.memory))
            self._free.remove(best)
            return best
        self._make_room(nbytes)
        return _Segment(next(self._numbers), *_create(nbytes))

    def _make_room(self, nbytes: int) -> None:
        """Give up what has been free longest, unless all of it is small beside what is used."""
        lent = nbytes + sum(len(segment.memory) for segment in self._lent.values())
        self._most_lent = max(self._most_lent, lent)
        free = sum(len(segment.memory) for segment in self._free)
        while self._free and lent + free > _SURPLUS * self._most_lent:
            oldest = self._free.pop(0)
            free -= len(oldest.memory)
            self._give_up(oldest)

    def _return(self, address: int) -> None:
        segment = self._lent.pop(address)
        if segment.descriptor >= 0:
            self._free.append(segment)

    def _give_up(self, segment: _Segment) -> None:
        self._forget(segment.number)
        os.close(segment.descriptor)


def _create(nbytes: int) -> tuple[int, mmap.mmap]:
    size = -(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    descriptor = os.memfd_create("hpcrefine", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, size)
    memory = mmap.mmap(descriptor, size)
    with contextlib.suppress(OSError):  # not every kernel has huge pages for shared memory
        memory.madvise(mmap.MADV_HUGEPAGE)
    return descriptor, memory


class Attachments:
    """Segments of the master as a worker has them mapped.

    Parameters
    ----------
    pid : int
        The master's.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._mapped: dict[int, mmap.mmap] = {}

    def array(self, row: np.void, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return the array at the start of a segment, mapping it if it is new.

        Raises
        ------
        GoneError
            If the master has ended.
        """
        number = int(row["number"])
        if number not in self._mapped:
            self._mapped[number] = _map(self.pid, int(row["descriptor"]), int(row["nbytes"]))
        return np.frombuffer(self._mapped[number], dtype, math.prod(shape)).reshape(shape)

    def forget(self, number: int) -> None:
        """Unmap a segment."""
        self._mapped.pop(number, None)


def _map(pid: int, descriptor: int, nbytes: int) -> mmap.mmap:
    try:
        opened = os.open(f"/proc/{pid}/fd/{descriptor}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if not has_ended(pid):
            raise
        raise GoneError(error.errno, f"process {pid} has ended") from error
    try:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise OSError(f"descriptor {descriptor} of process {pid} is no segment")
        return mmap.mmap(opened, nbytes)
    finally:
        os.close(opened)


class Offer:
    """A token in a segment and in plain memory: whoever finds it can share or read ours."""

    def __init__(self) -> None:
        self._token = np.frombuffer(secrets.token_bytes(16), np.uint8).copy()
        self._descriptor, memory = _create(self._token.nbytes)
        memory[: self._token.nbytes] = self._token.tobytes()

    def __str__(self) -> str:
        return (
            f"{_BOOT.read_text().strip()} {os.getpid()} {self._descriptor} "
            f"{self._token.ctypes.data} {self._token.tobytes().hex()}"
        )

    def close(self) -> None:
        """Withdraw the segment."""
        os.close(self._descriptor)


def accept(offer: str) -> tuple[Attachments | None, bool]:
    """Try an offer: return attachments if memory can be shared, and whether it can be read."""
    if not offer:
        return None, False
    boot, pid, descriptor, address, token = offer.split()
    expected = bytes.fromhex(token)
    try:
        if _BOOT.read_text().strip() != boot:
            return None, False
        found = _map(int(pid), int(descriptor), mmap.PAGESIZE)[: len(expected)]
    except (OSError, ValueError):
        return None, False
    if found != expected:
        return None, False
    readback = np.empty(len(expected), np.uint8)
    try:
        read_memory(int(pid), int(address), readback)
    except OSError:
        return Attachments(int(pid)), False
    return Attachments(int(pid)), readback.tobytes() == expected
