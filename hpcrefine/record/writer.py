"""Writing a record while the run goes on: a run killed at any moment leaves its finished jobs."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

import hpcrefine
from hpcrefine.errors import InputError
from hpcrefine.record import layout, reader, schema, state
from hpcrefine.record.table import Table


def check_output(path: str | os.PathLike[str], force: bool = False) -> None:
    """Find out whether a record can be written there, without creating anything.

    Parameters
    ----------
    path : path-like
        The file to be written.
    force : bool
        Whether an existing file may be replaced.

    Raises
    ------
    InputError
        The file exists (and `force` is not given, or a run is writing it), or its directory is
        missing or not writable.
    """
    path = Path(path)
    directory = path.parent
    if path.is_dir():
        raise InputError(f"{path}: is a directory; expected the name of a file to write")
    if not directory.is_dir():
        raise InputError(f"{path}: no directory {directory}; expected one that exists")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise InputError(f"{path}: directory {directory} is not writable")
    if not path.exists():
        return
    if not force:
        raise InputError(f"{path}: exists already; give --force to replace it, or another name")
    if os.access(path, os.R_OK) and state.is_live(path):
        raise InputError(f"{path}: another run is writing it; wait for its end or name another")


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    try:
        with layout.replacement(path) as temporary:
            yield temporary
    except OSError as error:
        raise InputError(f"{path}: cannot be created: {error}") from error


def load_interrupted(path: Path) -> reader.Stored:
    """Load the record of a run that can be gone on with.

    Raises
    ------
    InputError
        No such record, or one that is complete or still being written or of another version of
        the format.
    """
    stored = reader.load_ended(path)
    if stored.attributes["complete"]:
        raise InputError(f"{path}: a complete record; expected one whose run was interrupted")
    version = stored.attributes["format_version"]
    if version != schema.FORMAT_VERSION:
        # Jobs of before would lack what is known of those to come.
        raise InputError(
            f"{path}: format_version {version}; expected {schema.FORMAT_VERSION} to go on with: "
            "run its job anew"
        )
    return stored


def _pack_workers(rows: Sequence[Mapping[str, Any]], session: int) -> NDArray[np.void]:
    return schema.pack("workers", [{**row, "session": session} for row in rows])


class RecordWriter:
    """One record, open for appending; rank 0 alone has it.

    Use it as a context manager: leaving it without an exception marks the record complete.

    Parameters
    ----------
    path : path-like
        The file to write.
    job_text : str
        The job file (TOML) as run.
    kind : str
        ``"measured"`` or ``"simulated"``.
    environment : mapping
        What :func:`hpcrefine.record.environment.collect` gives.
    workers : sequence of mapping
        Rows of the table ``workers``; the writer itself fills in ``session``.
    force : bool
        Replace an existing file, once the new one stands.
    compressed : bool
        Whether tables are compressed: for many jobs at a time (:meth:`extend`).
    locking : bool, optional
        Whether the file is locked (switch it off on file systems where locks fail); HDF5's own
        default where None.

    Raises
    ------
    InputError
        The file exists, or cannot be created there.
    KeyError, ValueError
        A worker's row or `kind` is not of the schema.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        job_text: str,
        kind: str,
        environment: Mapping[str, str | int | float],
        workers: Sequence[Mapping[str, Any]],
        force: bool = False,
        compressed: bool = False,
        locking: bool | None = None,
    ) -> None:
        if kind not in schema.KINDS:
            raise ValueError(f"kind {kind!r} is none of {', '.join(schema.KINDS)}")
        self.path = Path(path)
        self._finished: set[int] = set()
        tables = {"workers": _pack_workers(workers, session=0)}
        attributes = {
            "format": schema.FORMAT,
            "format_version": schema.FORMAT_VERSION,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "hpcrefine_version": hpcrefine.__version__,
            "job": job_text,
            "kind": kind,
            "complete": np.False_,
        }
        check_output(self.path, force)
        with _replacing(self.path) as temporary:
            self._begin(temporary, attributes, environment, tables, locking, compressed)

    @classmethod
    def resume(
        cls,
        path: str | os.PathLike[str],
        *,
        workers: Sequence[Mapping[str, Any]],
        locking: bool | None = None,
    ) -> Self:
        """Go on with the record of a run that did not come to its end.

        Its finished jobs are copied to a new file, which replaces it: a kill at any moment leaves
        the one or the other whole. Attributes and environment stay as they were.

        Parameters
        ----------
        path : path-like
            The record.
        workers : sequence of mapping
            Rows of the table ``workers``, added as those of one more session.
        locking : bool, optional
            As for a new record. Without locks nobody can tell that a record is being written: then
            the caller must know that its run has ended.

        Returns
        -------
        RecordWriter
            With the jobs that are there as :attr:`finished`.

        Raises
        ------
        InputError
            No such record, one that is complete or still being written or of another version of
            the format, or it cannot be replaced.
        KeyError, ValueError
            A worker's row is not of the schema.
        """
        writer = cls.__new__(cls)
        writer.path = Path(path)
        with _replacing(writer.path) as temporary:
            stored = load_interrupted(writer.path)
            tables = dict(stored.tables)
            writer._finished = set(tables["jobs"]["job"].tolist())
            session = int(tables["workers"]["session"].max(initial=0)) + 1
            tables["workers"] = np.concatenate([tables["workers"], _pack_workers(workers, session)])
            writer._begin(temporary, stored.attributes, stored.environment, tables, locking)
        return writer

    @property
    def finished(self) -> frozenset[int]:
        """Ids of the jobs that are in the record."""
        return frozenset(self._finished)

    def append(
        self,
        job: Mapping[str, Any],
        layers: Sequence[Mapping[str, Any]],
        tasks: Sequence[Mapping[str, Any]],
        events: Sequence[Mapping[str, Any]] = (),
        estimates: Sequence[Mapping[str, Any]] = (),
        upgrades: Sequence[Mapping[str, Any]] = (),
        predictions: NDArray[np.void] | None = None,
    ) -> None:
        """Write one finished job; when this returns the job survives a kill.

        Parameters
        ----------
        job : mapping
            Row of the table ``jobs``; its id is new and not negative.
        layers, tasks, events, estimates, upgrades : sequence of mapping
            The job's rows of these tables.
        predictions : ndarray, optional
            The job's rows of this table, of type ``schema.dtype``
            (:func:`hpcrefine.record.schema.pack_arrays`).

        Raises
        ------
        KeyError
            A column is missing or unknown.
        ValueError
            A value is not of its column, or a row belongs to another job.
        """
        packed = {
            "tasks": schema.pack("tasks", tasks),
            "layers": schema.pack("layers", layers),
            "events": schema.pack("events", events),
            "estimates": schema.pack("estimates", estimates),
            "upgrades": schema.pack("upgrades", upgrades),
            "predictions": schema.pack("predictions", ()) if predictions is None else predictions,
            "jobs": schema.pack("jobs", [job]),
        }
        number = int(packed["jobs"]["job"][0])
        if number < 0 or number in self._finished:
            raise ValueError(f"table jobs, column job: {number} is negative or there already")
        for name, rows in packed.items():
            if np.any(rows["job"] != number):
                raise ValueError(f"table {name}, column job: rows of another job than {number}")
        # Each table reaches the file before the next is touched, the job's own row last: a reader
        # that sees the job sees all of it, after a kill too.
        for name, rows in packed.items():
            self._extend(name, rows)
        self._finished.add(number)

    def extend(
        self,
        jobs: NDArray[np.void],
        layers: NDArray[np.void],
        estimates: NDArray[np.void] | None = None,
    ) -> None:
        """Write many finished jobs; when this returns they survive a kill.

        Parameters
        ----------
        jobs, layers, estimates : ndarray
            Rows of these tables, of type ``schema.dtype``; the jobs' ids are new and not negative.

        Raises
        ------
        ValueError
            An id is negative or there already.
        """
        numbers = set(jobs["job"].tolist())
        if len(numbers) < len(jobs) or numbers & self._finished or min(numbers, default=0) < 0:
            raise ValueError("table jobs, column job: ids are negative, or there already")
        if estimates is not None:
            self._extend("estimates", estimates)
        self._extend("layers", layers)
        self._extend("jobs", jobs)
        self._finished |= numbers

    def amend(self, job: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows of a job anew that is there: what was found out about it since.

        Parameters
        ----------
        job : mapping
            Row of the table ``jobs``.
        layers : sequence of mapping
            The job's rows of the table ``layers``, as many as before, in the same order.

        Raises
        ------
        KeyError, ValueError
            There is no such job, or as :meth:`append`.
        """
        packed = {"layers": schema.pack("layers", layers), "jobs": schema.pack("jobs", [job])}
        places = {name: self._table(name).places(job["job"]) for name in packed}
        for name, rows in packed.items():
            if len(places[name]) != len(rows) or len(rows) == 0:
                raise ValueError(f"table {name}: {len(places[name])} rows of job {job['job']}")
        for name, rows in packed.items():
            self._table(name).replace(places[name], rows)

    def close(self, complete: bool = True) -> None:
        """Close the file; a second call does nothing.

        Parameters
        ----------
        complete : bool
            Whether the run came to its end.
        """
        if not self._file:
            return
        try:
            if complete:
                # SWMR allows new values of an attribute, though no new attributes. Opening the
                # file once more without SWMR would leave a moment in which a kill is fatal.
                self._file.attrs.modify("complete", np.True_)
        finally:
            self._tables.clear()
            self._file.close()
            if self._lock is not None:
                self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(complete=kind is None)

    def _begin(
        self,
        path: Path,
        attributes: Mapping[str, Any],
        environment: Mapping[str, Any],
        tables: Mapping[str, NDArray[np.void]],
        locking: bool | None,
        compressed: bool = False,
    ) -> None:
        self._tables: dict[str, Table] = {}
        self._file = layout.create(
            path, attributes, environment, tables, locking=locking, compressed=compressed
        )
        # From here on the file is consistent, whatever happens to this process.
        self._file.swmr_mode = True
        self._lock = None if locking is False else state.hold(path)

    def _extend(self, name: str, rows: NDArray[np.void]) -> None:
        self._table(name).append(rows)

    def _table(self, name: str) -> Table:
        if name not in self._tables:
            self._tables[name] = Table(self._file, name)
        return self._tables[name]
