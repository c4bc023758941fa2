"""One table of a record that is open for writing.

h5py's own assignment works out the compound type five times, half a millisecond a table: here that
is done once.
"""

import h5py
import numpy as np
from h5py import h5s
from numpy.typing import NDArray


class Table:
    """A table to write rows to.

    Parameters
    ----------
    file : h5py.File
        The record.
    name : str
        The table.
    """

    def __init__(self, file: h5py.File, name: str) -> None:
        self._name, self._dataset = name, file[name]
        self._kind, self._id = self._dataset.dtype, self._dataset.id
        self._stored = self._id.get_type()
        self._jobs = np.empty(0, np.int64)  # of its first rows, as far as they were asked for

    def append(self, rows: NDArray[np.void]) -> None:
        """Write rows behind the last ones; when this returns they survive a kill.

        Raises
        ------
        ValueError
            They are not of the table's type.
        """
        if len(rows) == 0:
            return
        (end,) = self._id.shape
        self._check(rows)
        self._id.set_extent((end + len(rows),))
        self._put(end, rows)
        self._id.flush()

    def places(self, job: int) -> list[int]:
        """Return at which places the rows of a job stand."""
        (end,), known = self._id.shape, len(self._jobs)
        if known < end:
            self._jobs = np.concatenate([self._jobs, self._dataset.fields("job")[known:]])
        places: list[int] = np.flatnonzero(self._jobs == job).tolist()
        return places

    def replace(self, places: list[int], rows: NDArray[np.void]) -> None:
        """Write rows in the places of others, of the same jobs.

        Raises
        ------
        ValueError
            They are not of the table's type.
        """
        self._check(rows)
        for at, place in enumerate(places):
            self._put(place, rows[at : at + 1])
        self._id.flush()

    def _check(self, rows: NDArray[np.void]) -> None:
        if rows.dtype != self._kind:
            raise ValueError(f"table {self._name}: rows of another type than the table's")

    def _put(self, start: int, rows: NDArray[np.void]) -> None:
        space = self._id.get_space()
        space.select_hyperslab((start,), (len(rows),))
        self._id.write(h5s.create_simple((len(rows),)), space, rows, self._stored)
