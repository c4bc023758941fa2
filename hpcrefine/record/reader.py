"""Reading a record: finished, interrupted by a kill, or still being written."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError
from hpcrefine.record import layout, schema, state

#: Columns to be read, by table; of the tables not named there, no row.
Columns = Mapping[str, Collection[str]]

# What h5py raises on files with holes, besides OSError.
_BROKEN = (OSError, KeyError, RuntimeError, ValueError, TypeError)


@dataclass(frozen=True)
class Record:
    """A record in memory.

    Attributes
    ----------
    path : Path
        The file it was read from.
    attributes, environment : dict
        Attributes of the file and of its group ``environment``, as Python values.
    workers, jobs, layers, tasks, events, estimates, upgrades, predictions : ndarray
        Structured arrays, one field per column of :data:`hpcrefine.record.schema.TABLES` (or of
        those asked for), strings decoded. All but workers belong to jobs that are there.
    """

    path: Path
    attributes: dict[str, Any]
    environment: dict[str, Any]
    workers: NDArray[np.void]
    jobs: NDArray[np.void]
    layers: NDArray[np.void]
    tasks: NDArray[np.void]
    events: NDArray[np.void]
    estimates: NDArray[np.void]
    upgrades: NDArray[np.void]
    predictions: NDArray[np.void]

    @property
    def complete(self) -> bool:
        """Whether the run came to its end."""
        return bool(self.attributes["complete"])

    @property
    def sessions(self) -> tuple[int, ...]:
        """Workers, the master not counted, at the first start and after each resume."""
        session = self.workers["session"]
        counts = np.bincount(
            session[self.workers["rank"] > 0], minlength=session.max(initial=0) + 1
        )
        return tuple(counts.tolist())


@dataclass(frozen=True)
class Stored:
    """What a record holds, tables as in the file: strings as bytes, jobs that are finished.

    Attributes
    ----------
    attributes, environment : dict
        As in :class:`Record`.
    tables : dict of str to ndarray
        Structured arrays of type :func:`hpcrefine.record.schema.dtype`, by name.
    """

    attributes: dict[str, Any]
    environment: dict[str, Any]
    tables: dict[str, NDArray[np.void]]


def read(path: str | os.PathLike[str], only: Columns | None = None) -> Record:
    """Read a record.

    Parameters
    ----------
    path : path-like
        A record, in whatever state its writer left it.
    only : mapping of str to collection of str, optional
        Columns wanted of each table wanted, beside ``job``: a simulation has millions of rows.
        Everything unless given.

    Returns
    -------
    Record
        The finished jobs with all that belongs to them.

    Raises
    ------
    InputError
        No such file, no HDF5 file, no record, a record of a newer version, or a damaged one.
    """
    path = Path(path)
    stored = _load(path, only)
    tables = {name: _decode(rows) for name, rows in stored.tables.items()}
    return Record(path, stored.attributes, stored.environment, **tables)


def seal(path: str | os.PathLike[str]) -> None:
    """Make the record of a killed run open like any other HDF5 file.

    Its finished jobs are copied to a new file, which replaces it. A record that opens already
    stays as it is.

    Parameters
    ----------
    path : path-like
        A record whose run has ended.

    Raises
    ------
    InputError
        As :func:`read`, or the file is still being written, or its directory is not writable.
    """
    path = Path(path)
    stored = load_ended(path)
    if not state.left_open(path):
        return
    try:
        with layout.replacement(path) as temporary:
            layout.create(temporary, stored.attributes, stored.environment, stored.tables).close()
    except OSError as error:
        raise InputError(f"{path}: cannot be replaced by a sealed copy: {error}") from error


def load_ended(path: Path) -> Stored:
    """Load a record that no process is writing.

    Parameters
    ----------
    path : Path
        A record whose run has ended.

    Raises
    ------
    InputError
        As :func:`read`, or the file is still being written.
    """
    if path.is_file() and state.is_live(path):
        raise InputError(f"{path}: still open in a process; expected a run that has ended")
    return _load(path)


def _load(path: Path, only: Columns | None = None) -> Stored:
    try:
        if not state.is_hdf5(path):
            raise InputError(f"{path}: not an HDF5 file; expected a record of hpcrefine")
        # A reader changes nothing, so that it needs no lock; network file systems may lack them.
        with h5py.File(path, "r", swmr=state.left_open(path), locking=False) as file:
            _check_format(path, file)
            return _load_tables(path, file, only)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; expected a record of hpcrefine") from error
    except _BROKEN as error:
        raise InputError(f"{path}: damaged or unreadable record: {error}") from error


def _check_format(path: Path, file: h5py.File) -> None:
    found = file.attrs.get("format")
    if found != schema.FORMAT:
        raise InputError(
            f"{path}: attribute format is {found!r}; expected {schema.FORMAT!r}: "
            "an HDF5 file, but no record of hpcrefine"
        )
    version = int(file.attrs["format_version"])
    if version > schema.FORMAT_VERSION:
        raise InputError(
            f"{path}: format_version {version}; this hpcrefine knows versions up to "
            f"{schema.FORMAT_VERSION}: read it with a newer one"
        )
    missing = [name for name in schema.ATTRIBUTES if name not in file.attrs]
    if missing:
        raise InputError(f"{path}: damaged record: without attributes {', '.join(missing)}")


def _load_tables(path: Path, file: h5py.File, only: Columns | None) -> Stored:
    # In a live file this order counts, the reverse of the writer's: first whether it is complete,
    # then the jobs, then the rows that belong to them and were written before.
    attributes = _plain(file.attrs)
    environment = _plain(file[schema.ENVIRONMENT].attrs)
    tables = {name: _load_table(path, file, name, only) for name in schema.TABLES}
    numbers = tables["jobs"]["job"]
    numbers = numbers[numbers != schema.NO_JOB]
    for name in tables.keys() - {"workers"}:
        known = np.isin(tables[name]["job"], numbers)
        if not known.all():
            tables[name] = tables[name][known]
    return Stored(attributes, environment, tables)


def _load_table(path: Path, file: h5py.File, name: str, only: Columns | None) -> NDArray[np.void]:
    version = int(file.attrs["format_version"])
    unwanted = only is not None and name not in only and name != "jobs"
    if unwanted or schema.since(name) > version:
        return np.empty(0, schema.dtype(name))
    wanted = {"job", *only.get(name, ())} if only is not None else None
    columns = [c for c in schema.TABLES[name] if wanted is None or c.name in wanted]
    there = [column.name for column in columns if column.since <= version]
    lacking = [column for column in there if column not in (file[name].dtype.names or ())]
    if lacking:
        raise InputError(f"{path}: table {name} lacks column {lacking[0]}")
    stored: NDArray[np.void] = file[name].fields(there)[:]
    kinds = np.dtype([(column.name, column.dtype) for column in columns])
    if stored.dtype == kinds:
        return stored
    rows = np.empty(len(stored), kinds)
    for column in columns:
        rows[column.name] = stored[column.name] if column.name in there else column.absent
    return rows


def _decode(rows: NDArray[np.void]) -> NDArray[np.void]:
    kinds = {name: rows.dtype[name] for name in rows.dtype.names or ()}
    if not any(kind.kind == "S" for kind in kinds.values()):
        return rows
    texts = [(name, kind.str.replace("|S", "U")) for name, kind in kinds.items()]
    decoded = np.empty(len(rows), texts)
    for name, kind in kinds.items():
        decoded[name] = _text(rows[name]) if kind.kind == "S" else rows[name]
    return decoded


def _text(values: NDArray[np.bytes_]) -> NDArray[np.str_]:
    """Decode strings, one of each run of equal ones: the columns of millions of rows have few."""
    changes = np.ones(len(values), bool)
    changes[1:] = values[1:] != values[:-1]
    (starts,) = np.nonzero(changes)
    # A string cut to its column's length may end within a character.
    texts = np.char.decode(values[starts], "utf-8", "replace")
    return np.repeat(texts, np.diff(starts, append=len(values)))


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in attributes.items()
    }
