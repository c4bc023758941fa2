"""Reading a record: finished, interrupted by a kill, or still being written."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError
from hpcrefine.record import layout, schema, state

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
    workers, jobs, layers, tasks, events, estimates : ndarray
        Structured arrays, one field per column of :data:`hpcrefine.record.schema.TABLES`,
        strings decoded. Layers, tasks, events and estimates belong to jobs that are there.
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

    @property
    def complete(self) -> bool:
        """Whether the run came to its end."""
        return bool(self.attributes["complete"])


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


def read(path: str | os.PathLike[str]) -> Record:
    """Read a record.

    Parameters
    ----------
    path : path-like
        A record, in whatever state its writer left it.

    Returns
    -------
    Record
        The finished jobs with all their layers, tasks, events and estimates.

    Raises
    ------
    InputError
        No such file, no HDF5 file, no record, a record of a newer version, or a damaged one.
    """
    path = Path(path)
    stored = _load(path)
    tables = {name: _decode(name, rows) for name, rows in stored.tables.items()}
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


def _load(path: Path) -> Stored:
    try:
        if not state.is_hdf5(path):
            raise InputError(f"{path}: not an HDF5 file; expected a record of hpcrefine")
        # A reader changes nothing, so that it needs no lock; network file systems may lack them.
        with h5py.File(path, "r", swmr=state.left_open(path), locking=False) as file:
            _check_format(path, file)
            return _load_tables(path, file)
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


def _load_tables(path: Path, file: h5py.File) -> Stored:
    # In a live file this order counts, the reverse of the writer's: first whether it is complete,
    # then the jobs, then the rows that belong to them and were written before.
    attributes = _plain(file.attrs)
    environment = _plain(file[schema.ENVIRONMENT].attrs)
    version = int(file.attrs["format_version"])
    tables = {name: _load_table(path, file, name, version) for name in schema.TABLES}
    numbers = tables["jobs"]["job"]
    numbers = numbers[numbers != schema.NO_JOB]
    for name in tables.keys() - {"workers"}:
        tables[name] = tables[name][np.isin(tables[name]["job"], numbers)]
    return Stored(attributes, environment, tables)


def _load_table(path: Path, file: h5py.File, name: str, version: int) -> NDArray[np.void]:
    if schema.since(name) > version:
        return np.empty(0, schema.dtype(name))
    stored = file[name][:]
    rows = np.empty(len(stored), schema.dtype(name))
    for column in schema.TABLES[name]:
        if column.since > version:
            rows[column.name] = column.absent
        elif column.name not in (stored.dtype.names or ()):
            raise InputError(f"{path}: table {name} lacks column {column.name}")
        else:
            rows[column.name] = stored[column.name]
    return rows


def _decode(name: str, rows: NDArray[np.void]) -> NDArray[np.void]:
    decoded = np.empty(len(rows), schema.text_dtype(name))
    for column in rows.dtype.names or ():
        values = rows[column]
        # A string cut to its column's length may end within a character.
        text = values.dtype.kind == "S"
        decoded[column] = np.char.decode(values, "utf-8", "replace") if text else values
    return decoded


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in attributes.items()
    }
