"""What state a file is in, told from its first bytes and a lock: finished, interrupted, live.

HDF5 marks a file that is open for writing in its superblock and takes the mark away on closing.
A killed writer leaves the mark. A live writer leaves it too, so that a shared ``flock``, which
the kernel drops with the process, tells the two apart.
"""

import contextlib
import fcntl
from pathlib import Path
from typing import BinaryIO

from hpcrefine.errors import InputError

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_VERSION_BYTE, _FLAGS_BYTE = 8, 11
_OPEN_FOR_WRITING, _OPEN_FOR_SWMR = 0x01, 0x04


def is_hdf5(path: Path) -> bool:
    """Whether the file begins like an HDF5 file."""
    return _head(path).startswith(_SIGNATURE)


def left_open(path: Path) -> bool:
    """Whether a writer has this file open now, or died while it had.

    Raises
    ------
    InputError
        The file is marked as open for writing, and not in SWMR mode: its state is unknown.
    """
    head = _head(path)
    # The mark came with version 3 of the superblock.
    if len(head) <= _FLAGS_BYTE or head[_VERSION_BYTE] < 3:
        return False
    flags = head[_FLAGS_BYTE]
    if flags & _OPEN_FOR_SWMR:
        return True
    if flags & _OPEN_FOR_WRITING:
        raise InputError(
            f"{path}: another program has this file open for writing, or died while it had; "
            "expected a file that is closed or in SWMR mode"
        )
    return False


def hold(path: Path) -> BinaryIO:
    """Mark the file as being written, until the handle is closed or the process dies."""
    handle = path.open("rb")
    # File systems without locks are common, and the mark is only a courtesy to `is_live`.
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return handle


def is_live(path: Path) -> bool:
    """Whether a process is writing this file now, as far as the file system knows."""
    return liveness(path) is True


def liveness(path: Path) -> bool | None:
    """Whether a process is writing this file now; None where the file system cannot tell."""
    if not (is_hdf5(path) and left_open(path)):
        return False
    with path.open("rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return None
    return False


def _head(path: Path) -> bytes:
    with path.open("rb") as handle:
        return handle.read(_FLAGS_BYTE + 1)
