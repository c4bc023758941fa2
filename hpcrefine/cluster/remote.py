"""Reading the master's own memory from a worker on its node (Linux ``process_vm_readv``).

The operands are where the caller put them. Workers read them there, a cache-sized block at a time,
with what MPI libraries use for large messages within a node, so that nothing is copied twice.
"""

import ctypes
import errno
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class GoneError(OSError):
    """The process whose memory is wanted has ended."""


class _Range(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


@cache
def _library() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        function = libc.process_vm_readv
    except AttributeError as error:
        raise OSError("no process_vm_readv on this system") from error
    ranges = ctypes.POINTER(_Range)
    function.argtypes = [ctypes.c_int, ranges, ctypes.c_ulong, ranges, *[ctypes.c_ulong] * 2]
    function.restype = ctypes.c_ssize_t
    return function


def read_memory(pid: int, address: int, out: NDArray[Any]) -> None:
    """Fill a contiguous array from an address of another process.

    Raises
    ------
    GoneError
        If that process has ended.
    OSError
        If the system does not allow it.
    """
    done = 0
    while done < out.nbytes:
        rest = out.nbytes - done
        here, there = _Range(out.ctypes.data + done, rest), _Range(address + done, rest)
        count = _library()(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
        if count <= 0:
            number = ctypes.get_errno()
            kind = GoneError if number == errno.ESRCH else OSError
            raise kind(number, f"process {pid} cannot be read: {os.strerror(number)}")
        done += count


def has_ended(pid: int) -> bool:
    """Say whether a process whose files could be seen has ended, be it a zombie or not even that.

    Who ends lets go of its files before it is a zombie; a zombie's are no longer its user's to see.
    """
    try:
        return not any(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return True


class RemoteMatrix:
    """A C-contiguous matrix in another process, read by blocks of rows.

    Parameters
    ----------
    pid, address : int
        Where it is.
    shape : tuple of int
        Rows and columns.
    dtype : dtype
        Type of its entries.
    """

    def __init__(self, pid: int, address: int, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._pid, self._address = pid, address
        self.shape, self.dtype = shape, np.dtype(dtype)

    def read(self, rows: slice, scratch: NDArray[np.float64]) -> NDArray[Any]:
        """Read a block of rows into ``scratch``, whatever its type."""
        block = scratch.reshape(-1).view(np.uint8)[: scratch.size * self.dtype.itemsize]
        start = self._address + rows.start * self.shape[1] * self.dtype.itemsize
        read_memory(self._pid, start, block)
        return block.view(self.dtype).reshape(scratch.shape)
