"""Matrices in files: the formats, their headers and their entries.

The formats are those of ``FORMATS``, told apart by suffix (IDX by its first bytes too); nothing is
ever unpickled, and a header is read without the data. Whatever is wrong with a file becomes an
:class:`~hpcrefine.errors.InputError` of one line.
"""

import gzip
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError

Header = tuple[tuple[int, ...], np.dtype[Any]]
Matrix = NDArray[Any]


def header(path: Path, dataset: str | None = None) -> Header:
    """Read the shape and the stored element type of a file's array, not its data.

    Parameters
    ----------
    path : Path
        The file.
    dataset : str, optional
        Which array, in a file that holds several.

    Returns
    -------
    shape : tuple of int
        As stored; an IDX array of more than two dimensions counts as a matrix, one item a row.
    dtype : dtype
        As stored, whatever its byte order.

    Raises
    ------
    InputError
        If the file is missing, broken, of an unknown format, or has no such dataset.
    """
    with _reading(path):
        return _format(path).header(path, dataset)


def describe(path: Path, dataset: str | None, rows: tuple[int, int] | None) -> Header:
    """Return the shape of some rows of a file's array, and the element type that numbers come in.

    Parameters
    ----------
    path, dataset
        As for :func:`header`.
    rows : (int, int), optional
        Only the rows ``start <= row < stop``.

    Returns
    -------
    shape : tuple of int
        Of these rows; it is empty for a single number.
    dtype : dtype
        float64, float32 or an integer type, in native byte order.

    Raises
    ------
    InputError
        As :func:`header`, and if it holds no real numbers or fewer rows.
    """
    shape, stored = header(path, dataset)
    if stored.kind not in "biuf" or stored.itemsize > 8:
        raise InputError(f"{path}: dtype: found {stored}, expected real numbers of up to 64 bits")
    if rows is not None and shape:
        if rows[1] > shape[0]:
            raise InputError(f"{path}: rows: found {list(rows)}, expected at most {shape[0]} rows")
        shape = (rows[1] - rows[0], *shape[1:])
    wider = {np.dtype(np.float16): np.float32, np.dtype(np.bool_): np.uint8}
    dtype = stored.newbyteorder("=")
    return shape, np.dtype(wider.get(dtype, dtype))


def load(path: Path, dataset: str | None, rows: slice, dtype: np.dtype[Any]) -> Matrix:
    """Read some rows of a file's matrix, which must not be empty, converted to an element type.

    Returns
    -------
    ndarray
        2-D, C- or F-ordered as it comes.

    Raises
    ------
    InputError
        As :func:`header`, and if the data are shorter than the header says.
    """
    with _reading(path):
        return _format(path).load(path, dataset, rows).astype(dtype, copy=False)


def read_idx(path: str | Path) -> NDArray[Any]:
    """Read an IDX file (the format of MNIST), gzipped or not.

    Returns
    -------
    ndarray
        With the dimensions and the element type that the header says, in native byte order.

    Raises
    ------
    InputError
        If the file is missing, is not IDX, or holds more or less data than its header says.
    """
    path = Path(path)
    with _reading(path), _idx_stream(path) as stream:
        shape, dtype = _idx_start(stream)
        data = np.empty(shape, dtype)
        view, filled = data.reshape(-1).view(np.uint8).data, 0
        while count := stream.readinto(view[filled:]):
            filled += count
        if filled < data.nbytes or stream.read(1):
            found = f"{filled}" if filled < data.nbytes else "more"
            raise ValueError(f"found {found} bytes of data, expected {data.nbytes}")
    return data.astype(dtype.newbyteorder("="), copy=False)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong inside a file into one line; there must be one."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise InputError(f"{path}: found {found}, expected a file with a matrix")
    try:
        yield
    except InputError:
        raise
    except (
        *(OSError, EOFError, ValueError, OverflowError, MemoryError, KeyError, RuntimeError),
        *(zlib.error, zipfile.BadZipFile),
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: cannot be read: {reason}") from None


# Each format has a header and a load function of path and dataset; load takes the rows too.


@dataclass(frozen=True)
class _Format:
    header: Callable[[Path, str | None], Header]
    load: Callable[[Path, str | None, slice], Matrix]


def _format(path: Path) -> _Format:
    """Return the format that a file's name tells, or its first bytes do (IDX only)."""
    name = path.name.lower()
    for suffix, handler in FORMATS.items():
        if name.endswith(suffix):
            return handler
    with path.open("rb") as stream:
        start = stream.read(2)
    if start in (b"\0\0", _GZIP) and _starts_as_idx(path):
        return FORMATS[".idx"]
    known = ", ".join(FORMATS)
    raise InputError(f"{path}: found suffix {path.suffix or 'none'}, expected one of {known}")


def _no_dataset(path: Path, dataset: str | None) -> None:
    if dataset is not None:
        raise InputError(f'{path}: dataset: found "{dataset}", expected none: it holds one matrix')


def _pick(path: Path, dataset: str | None, present: list[str]) -> str:
    """Return the dataset meant: the one asked for, or the only one."""
    if dataset in present:
        return dataset
    if dataset is None and len(present) == 1:
        return present[0]
    found = "none" if dataset is None else f'"{dataset}"'
    names = ", ".join(f'"{name}"' for name in present[:20]) or "nothing: the file holds no arrays"
    raise InputError(f"{path}: dataset: found {found}, expected one of {names}")


def _npy_start(stream: IO[bytes], size: int) -> Header:
    """Read the header of an .npy stream of some size, and check that the data can be there."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"found .npy version {version}, expected (1, 0) or (2, 0)")
    expected = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and size - stream.tell() < expected:
        found = size - stream.tell()
        raise ValueError(f"found {found} bytes of data, expected {expected}: truncated")
    return shape, dtype


def _npy_header(path: Path, dataset: str | None) -> Header:
    _no_dataset(path, dataset)
    with path.open("rb") as stream:
        return _npy_start(stream, path.stat().st_size)


def _npy_load(path: Path, dataset: str | None, rows: slice) -> Matrix:
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    return np.array(mapped[rows], order="K")


@contextmanager
def _npz_member(path: Path, dataset: str | None) -> Iterator[tuple[IO[bytes], int]]:
    with zipfile.ZipFile(path) as archive:
        names = [name[:-4] for name in archive.namelist() if name.endswith(".npy")]
        member = archive.getinfo(_pick(path, dataset, names) + ".npy")
        with archive.open(member) as stream:
            yield stream, member.file_size


def _npz_header(path: Path, dataset: str | None) -> Header:
    with _npz_member(path, dataset) as (stream, size):
        return _npy_start(stream, size)


def _npz_load(path: Path, dataset: str | None, rows: slice) -> Matrix:
    with _npz_member(path, dataset) as (stream, _):
        whole: Matrix = np.lib.format.read_array(stream, allow_pickle=False)
        return whole[rows]


@contextmanager
def _h5_dataset(path: Path, dataset: str | None) -> Iterator[Any]:
    import h5py

    with h5py.File(path, "r") as file:
        names: list[str] = []

        def note(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset):
                names.append(name)

        if dataset is not None and isinstance(file.get(dataset), h5py.Dataset):
            yield file[dataset]  # a link too, which a visit passes over
            return
        file.visititems(note)
        yield file[_pick(path, dataset, names)]


def _h5_header(path: Path, dataset: str | None) -> Header:
    with _h5_dataset(path, dataset) as data:
        return data.shape or (), data.dtype


def _h5_load(path: Path, dataset: str | None, rows: slice) -> Matrix:
    with _h5_dataset(path, dataset) as data:
        part: Matrix = data[rows]
        return part


_MTX_FIELDS = {"integer": "int64", "unsigned-integer": "uint64", "complex": "complex128"}


def _mtx_header(path: Path, dataset: str | None) -> Header:
    import scipy.io

    _no_dataset(path, dataset)
    rows, columns, _, _, field, _ = scipy.io.mminfo(path)
    return (rows, columns), np.dtype(_MTX_FIELDS.get(field, "float64"))


def _mtx_load(path: Path, dataset: str | None, rows: slice) -> Matrix:
    import scipy.io

    matrix = scipy.io.mmread(path)
    dense: Matrix = (
        matrix[rows] if isinstance(matrix, np.ndarray) else matrix.tocsr()[rows].toarray()
    )
    return dense


_GZIP = b"\x1f\x8b"
_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@contextmanager
def _idx_stream(path: Path) -> Iterator[Any]:
    """Open a file to read its bytes, through gzip if it is gzipped."""
    with path.open("rb") as stream:
        zipped = stream.read(2) == _GZIP
        stream.seek(0)
        if not zipped:
            yield stream
            return
        with gzip.GzipFile(fileobj=stream) as unzipped:
            yield unzipped


def _idx_start(stream: IO[bytes]) -> Header:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_TYPES:
        raise ValueError(f"found first bytes {magic.hex(' ')}, expected those of an IDX file")
    lengths = stream.read(4 * magic[3])
    if len(lengths) < 4 * magic[3]:
        raise ValueError(f"found {len(lengths)} bytes of dimensions, expected {4 * magic[3]}")
    shape = tuple(int(length) for length in np.frombuffer(lengths, ">u4"))
    return shape, np.dtype(_IDX_TYPES[magic[2]])


def _starts_as_idx(path: Path) -> bool:
    try:
        with _idx_stream(path) as stream:
            return bool(_idx_start(stream))
    except (OSError, EOFError, ValueError, zlib.error):
        return False


def _idx_header(path: Path, dataset: str | None) -> Header:
    _no_dataset(path, dataset)
    with _idx_stream(path) as stream:
        shape, dtype = _idx_start(stream)
        expected = stream.tell() + math.prod(shape) * dtype.itemsize
    if not isinstance(stream, gzip.GzipFile) and path.stat().st_size != expected:
        raise ValueError(f"found {path.stat().st_size} bytes, expected {expected}")
    return (shape[0], math.prod(shape[1:])) if len(shape) > 2 else shape, dtype


def _idx_load(path: Path, dataset: str | None, rows: slice) -> Matrix:
    whole = read_idx(path)
    return whole.reshape(len(whole), -1)[rows]


_IDX = _Format(_idx_header, _idx_load)
_H5 = _Format(_h5_header, _h5_load)
_MTX = _Format(_mtx_header, _mtx_load)
FORMATS = {
    ".npy": _Format(_npy_header, _npy_load),
    ".npz": _Format(_npz_header, _npz_load),
    ".h5": _H5,
    ".hdf5": _H5,
    ".mtx": _MTX,
    ".mtx.gz": _MTX,
    ".idx": _IDX,
    ".idx.gz": _IDX,
    "-ubyte": _IDX,
    "-ubyte.gz": _IDX,
}
