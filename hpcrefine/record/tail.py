"""Following a record while it is written: each look reads the jobs that are new, once."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hpcrefine.record import reader, schema, state

_WORKERS = ("rank", "session")
_UNCHECKED, _WRONG = b"unchecked", b"wrong"


@dataclass(frozen=True)
class News:
    """What a look at a record found.

    Attributes
    ----------
    anew : bool
        Whether this is the first look at this file: another one may have taken the place of that
        of before. Then all its jobs are new.
    live : bool or None
        Whether a process is writing it; None where the file system cannot tell.
    left_open : bool
        Whether its writer has not closed it.
    size : int
        Bytes.
    written : float
        When it was last written, in seconds since the epoch.
    attributes, environment : dict
        As in :class:`hpcrefine.record.reader.Record`.
    workers : ndarray
        All rows of this table: ranks and sessions.
    tables : dict of str to ndarray
        Of the tables asked for, the rows of jobs that are new, and of no others.
    wrong : int
        Jobs with a wrong result, of all that are there.
    """

    anew: bool
    live: bool | None
    left_open: bool
    size: int
    written: float
    attributes: dict[str, Any]
    environment: dict[str, Any]
    workers: NDArray[np.void]
    tables: dict[str, NDArray[np.void]]
    wrong: int


class Tail:
    """Looks at one record again and again.

    It opens the file by its name each time, so that a new one in its place is noticed, and takes no
    lock that a writer could meet.

    Parameters
    ----------
    path : Path
        The record.
    only : mapping of str to collection of str
        Columns wanted of each table wanted; those of ``jobs`` with ``verdict``.
    """

    def __init__(self, path: Path, only: reader.Columns) -> None:
        self._path = path
        self._only = only
        self._file: tuple[int, int] | None = None
        self._stamp = 0
        self._places: dict[str, int] = {}
        self._attributes: dict[str, Any] = {}
        self._environment: dict[str, Any] = {}
        self._workers = np.empty(0, schema.dtype("workers"))
        self._forget()

    def look(self) -> News:
        """Read what is new.

        Raises
        ------
        InputError
            No such file, no record, or a damaged one; a later look may succeed.
        """
        # First whether it is written, then what it says: a run that ends in between is complete.
        live, left_open = _standing(self._path)
        with reader.opened(self._path) as file:
            status = os.fstat(file.id.get_vfd_handle())
            there = (status.st_dev, status.st_ino)
            if there != self._file or len(file["jobs"]) < self._places["jobs"]:
                self._forget()
            anew = self._file is None
            if anew:
                self._read_head(file)
            complete = bool(file.attrs["complete"])
            tables, places = self._new_rows(file)
            changed = status.st_mtime_ns != self._stamp
            amended = not live or (changed and len(tables["jobs"]) == 0)
            wrong = self._count_wrong(file, tables["jobs"]["verdict"], places["jobs"], amended)
            # Only now, so that a look that failed is made up for by the next.
            self._file, self._stamp, self._places = there, status.st_mtime_ns, places
            return News(
                anew=anew,
                live=live,
                left_open=left_open,
                size=status.st_size,
                written=status.st_mtime,
                attributes=self._attributes | {"complete": complete},
                environment=self._environment,
                workers=self._workers,
                tables={name: reader.decode(rows) for name, rows in tables.items()},
                wrong=wrong,
            )

    def _read_head(self, file: h5py.File) -> None:
        """Read what stays the same as long as the file does."""
        self._attributes = reader.plain(file.attrs)
        self._environment = reader.plain(file[schema.ENVIRONMENT].attrs)
        rows = reader.load_rows(self._path, file, "workers", {"workers": _WORKERS})
        self._workers = reader.decode(rows)

    def _forget(self) -> None:
        self._file = None
        self._places = dict.fromkeys(self._only, 0)
        self._wrong = 0
        self._settled = 0  # jobs before the first unchecked one ...
        self._settled_wrong = 0  # ... and those among them with a wrong result

    def _rows(self, file: h5py.File, name: str) -> NDArray[np.void]:
        start = self._places[name]
        if schema.since(name) <= file.attrs["format_version"] and len(file[name]) == start:
            return np.empty(0, schema.dtype(name))  # most looks at most tables: worth a shortcut
        return reader.load_rows(self._path, file, name, self._only, start)

    def _new_rows(self, file: h5py.File) -> tuple[dict[str, NDArray[np.void]], dict[str, int]]:
        """Read the new jobs, then what belongs to them; return it, and where to go on.

        What belongs to a job is written before it: rows of jobs that are not there yet wait.
        """
        jobs = self._rows(file, "jobs")
        jobs = jobs[: _leading(jobs["job"] != schema.NO_JOB)]
        found, places = {"jobs": jobs}, {"jobs": self._places["jobs"] + len(jobs)}
        for name in self._only.keys() - {"jobs"}:
            rows = self._rows(file, name)
            theirs = np.flatnonzero(np.isin(rows["job"], jobs["job"]))
            found[name] = rows[theirs]
            places[name] = self._places[name] + (int(theirs[-1]) + 1 if len(theirs) else 0)
        return found, places

    def _count_wrong(
        self, file: h5py.File, new: NDArray[np.bytes_], jobs: int, amended: bool
    ) -> int:
        """Count wrong results; those of streams are found out later, and change rows in place."""
        if not amended:
            self._wrong += int(np.count_nonzero(new == _WRONG))
            return self._wrong
        rows = reader.load_rows(self._path, file, "jobs", {"jobs": ("verdict",)}, self._settled)
        verdicts = rows["verdict"][: jobs - self._settled]
        self._wrong = self._settled_wrong + int(np.count_nonzero(verdicts == _WRONG))
        settled = verdicts[: _leading(verdicts != _UNCHECKED)]
        self._settled += len(settled)
        self._settled_wrong += int(np.count_nonzero(settled == _WRONG))
        return self._wrong


def _standing(path: Path) -> tuple[bool | None, bool]:
    try:
        return state.liveness(path), state.left_open(path)
    except OSError:  # opening it says so
        return False, False


def _leading(wanted: NDArray[np.bool_]) -> int:
    """Return how many of the first rows are wanted, up to one that is not."""
    return len(wanted) if wanted.all() else int(np.argmin(wanted))
