"""An empty record on disk: attributes, environment and tables, under a temporary name at first."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hpcrefine.record import schema

# SWMR needs the file format of HDF5 1.10; nothing newer, so that older tools read the record.
_LIBRARY = ("v110", "v110")
_CHUNK_ROWS = {
    **{"workers": 64, "jobs": 64, "layers": 128, "tasks": 512, "events": 32, "estimates": 128},
    "upgrades": 128,
}
# Of compressed tables, which are written many rows at a time: in SWMR mode a compressed chunk that
# grows leaves its old place unused, so that tables of few rows a job would swell.
_LONG_CHUNK_ROWS = 8192
_COMPRESSED = ("predictions",)  # in all records


@contextlib.contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; on success it takes the place of `path`.

    An exception inside removes whatever stands under the temporary name.

    Raises
    ------
    OSError
        Another process has put a file at `path` in the meantime.
    """
    before = _identity(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        if _identity(path) != before:
            raise FileExistsError("another process has replaced it in the meantime")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def create(
    path: Path,
    attributes: Mapping[str, Any],
    environment: Mapping[str, Any],
    tables: Mapping[str, NDArray[np.void]],
    *,
    locking: bool | None = None,
    compressed: bool = False,
) -> h5py.File:
    """Create a record with all its tables and return it open for writing, not yet in SWMR mode.

    Parameters
    ----------
    path : Path
        Where; an existing file is overwritten.
    attributes, environment : mapping
        Attributes of the file and of its group ``environment``.
    tables : mapping of str to ndarray
        First rows of a table, by name; tables not named here start empty.
    locking : bool, optional
        Whether HDF5 locks the file; its own default where None.
    compressed : bool
        Whether all tables are, in long chunks.

    Raises
    ------
    OSError
        The file cannot be created there.
    """
    file = h5py.File(path, "w", libver=_LIBRARY, locking=locking)
    try:
        file.attrs.update(attributes)
        file.create_group(schema.ENVIRONMENT).attrs.update(environment)
        for name in schema.TABLES:
            rows = tables.get(name, np.empty(0, schema.dtype(name)))
            _create_table(file, name, rows, compressed or name in _COMPRESSED)
        file.flush()
    except BaseException:
        file.close()
        raise
    return file


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _create_table(file: h5py.File, name: str, rows: NDArray[np.void], compressed: bool) -> None:
    fill = np.zeros((), rows.dtype)
    if "job" in (rows.dtype.names or ()):
        fill["job"] = schema.NO_JOB
    table = file.create_dataset(
        name,
        data=rows,
        dtype=rows.dtype,
        maxshape=(None,),
        chunks=(_LONG_CHUNK_ROWS if compressed else _CHUNK_ROWS[name],),
        compression="lzf" if compressed else None,
        shuffle=compressed,
        fillvalue=fill,
    )
    table.attrs.create("units", schema.units(name), dtype=h5py.string_dtype())
