"""Matrices in files: every format as it really lies on disk, every way in which it can be wrong."""

import gzip
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hpcrefine.errors import InputError
from hpcrefine.inputs.formats import header, load, read_idx

RNG = np.random.default_rng(0)
REAL = RNG.standard_normal((7, 5)) * 10.0 ** RNG.uniform(-8, 8, (7, 1))
IMAGES = RNG.integers(0, 256, (6, 3, 4), dtype=np.uint8)
DATA = Path(__file__).parents[2] / "jobs" / "data"
IDX_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array):
    code = IDX_CODES[array.dtype.str[1:]]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_idx(path, array):
    path.write_bytes(idx_bytes(array))


def write_idx_gz(path, array):
    path.write_bytes(gzip.compress(idx_bytes(array)))


def write_h5(path, array):
    with h5py.File(path, "w") as file:
        file["group/x"] = array


def write_mtx_gz(path, array):
    plain = path.with_name("plain.mtx")
    scipy.io.mmwrite(plain, scipy.sparse.coo_matrix(array), precision=17)
    path.write_bytes(gzip.compress(plain.read_bytes()))


WRITERS = {
    "x.npy": np.save,
    "x.npz": lambda path, array: np.savez(path, x=array),
    "z.npz": lambda path, array: np.savez_compressed(path, array),
    "x.h5": write_h5,
    "X.HDF5": write_h5,
    "x.mtx": lambda path, array: scipy.io.mmwrite(path, array, precision=17),
    "x.mtx.gz": write_mtx_gz,
    "x.idx": write_idx,
    "x.idx.gz": write_idx_gz,
    "x-idx2-ubyte": write_idx,
    "x-idx2-ubyte.gz": write_idx_gz,
    "unnamed": write_idx,
    "unnamed.gz": write_idx_gz,
}


def both(path, dataset=None, rows=None):
    """Read a file's header and its data; check that the two agree."""
    shape, stored = header(path, dataset)
    dtype = stored.newbyteorder("=")
    wanted = rows or slice(0, shape[0])
    M = load(path, dataset, wanted, dtype)
    assert M.shape == (wanted.stop - wanted.start, shape[1])
    assert M.dtype == dtype
    assert M.dtype.isnative
    return M


def refusal(call, *args, **keys):
    with pytest.raises(InputError) as caught:
        call(*args, **keys)
    message = str(caught.value)
    assert "\n" not in message
    return message


def refused_header(path, dataset=None):
    """Return the message of header without the path."""
    message = refusal(header, path, dataset)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("name", WRITERS)
class TestEveryFormat:
    def test_round_trip(self, tmp_path, name):
        WRITERS[name](tmp_path / name, REAL)
        np.testing.assert_array_equal(both(tmp_path / name), REAL)

    def test_rows(self, tmp_path, name):
        WRITERS[name](tmp_path / name, REAL)
        np.testing.assert_array_equal(both(tmp_path / name, rows=slice(2, 6)), REAL[2:6])

    def test_integers_stay_integers(self, tmp_path, name):
        integers = np.array([[1, -2, 3], [-(2**31), 0, 2**31 - 1]], np.int32)
        WRITERS[name](tmp_path / name, integers)
        M = both(tmp_path / name)
        assert M.dtype.kind == "i"
        np.testing.assert_array_equal(M, integers)

    def test_truncated(self, tmp_path, name):
        path = tmp_path / name
        WRITERS[name](path, REAL)
        path.write_bytes(path.read_bytes()[:-60])
        message = refusal(load, path, None, slice(7), REAL.dtype)
        assert message.startswith(f"{path}: cannot be read: ")

    def test_garbage(self, tmp_path, name):
        path = tmp_path / name
        path.write_bytes(b"\x93garbage, not a matrix" * 9)
        assert refusal(header, path).startswith(f"{path}: ")

    def test_empty_file(self, tmp_path, name):
        path = tmp_path / name
        path.touch()
        assert refusal(header, path).startswith(f"{path}: ")


def test_stored_types_are_told_as_stored(tmp_path):
    for name in ("x.npy", "x.npz", "x.h5"):
        for stored in (np.dtype(">f8"), np.dtype(np.float16), np.dtype(bool), np.dtype(complex)):
            WRITERS[name](tmp_path / name, np.ones((2, 3), stored))
            assert header(tmp_path / name) == ((2, 3), stored)
            (tmp_path / name).unlink()


def test_data_are_converted(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[1, 0]], ">i2"))
    M = load(tmp_path / "x.npy", None, slice(1), np.dtype(np.float32))
    assert M.dtype == np.float32
    np.testing.assert_array_equal(M, [[1, 0]])


def test_nothing_is_unpickled(tmp_path):
    objects = np.array([[1, "x"]], dtype=object)
    np.save(tmp_path / "o.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "o.npz", objects)
    for name in ("o.npy", "o.npz"):
        assert header(tmp_path / name) == ((1, 2), object)
        assert "cannot be read: " in refusal(
            load, tmp_path / name, None, slice(1), np.dtype(object)
        )


def test_complex_matrix_market(tmp_path):
    scipy.io.mmwrite(tmp_path / "c.mtx", np.ones((2, 2), complex))
    assert header(tmp_path / "c.mtx") == ((2, 2), np.complex128)


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), ()])
@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.h5"])
def test_other_dimensions_are_told(tmp_path, name, shape):
    WRITERS[name](tmp_path / name, np.ones(shape))
    assert header(tmp_path / name)[0] == shape


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.h5", "x.idx"])
def test_header_of_no_rows(tmp_path, name):
    WRITERS[name](tmp_path / name, np.empty((0, 5)))
    assert header(tmp_path / name) == ((0, 5), ">f8" if name == "x.idx" else "f8")


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("coordinate pattern general", "2 3 2\n1 1\n2 3\n", [[1.0, 0, 0], [0, 0, 1]]),
        ("coordinate integer symmetric", "2 2 2\n1 1 4\n2 1 -5\n", [[4, -5], [-5, 0]]),
        (
            "coordinate unsigned-integer general",
            "1 2 1\n1 2 18446744073709551615\n",
            [[0, 2**64 - 1]],
        ),
        ("coordinate real skew-symmetric", "2 2 1\n2 1 0.5\n", [[0, -0.5], [0.5, 0]]),
    ],
)
def test_matrix_market_kinds(tmp_path, kind, body, expected):
    (tmp_path / "m.mtx").write_text(f"%%MatrixMarket matrix {kind}\n{body}")
    M = both(tmp_path / "m.mtx")
    np.testing.assert_array_equal(M, np.array(expected, M.dtype))


def test_fortran_order_is_kept(tmp_path):
    np.save(tmp_path / "f.npy", np.asfortranarray(REAL))
    M = both(tmp_path / "f.npy")
    assert M.flags.f_contiguous
    assert M.flags.writeable
    np.testing.assert_array_equal(M, REAL)


def test_datasets_by_name(tmp_path):
    np.savez(tmp_path / "two.npz", left=REAL, right=2 * REAL)
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["left"] = REAL
        file["group/right"] = 2 * REAL
        file["link"] = h5py.SoftLink("/group/right")
        file["nothing"] = h5py.Empty("f8")
    np.testing.assert_array_equal(both(tmp_path / "two.npz", dataset="right"), 2 * REAL)
    for name in ("group/right", "/group/right", "link"):
        np.testing.assert_array_equal(both(tmp_path / "two.h5", dataset=name), 2 * REAL)
    assert header(tmp_path / "two.h5", "nothing")[0] == ()


@pytest.mark.parametrize("suffix", ["npz", "h5"])
def test_missing_datasets(tmp_path, suffix):
    path = tmp_path / f"two.{suffix}"
    if suffix == "npz":
        np.savez(path, left=REAL, right=REAL)
    else:
        with h5py.File(path, "w") as file:
            file.update(left=REAL, right=REAL)
    expected = 'expected one of "left", "right"'
    assert refused_header(path) == f"dataset: found none, {expected}"
    assert refused_header(path, dataset="x") == f'dataset: found "x", {expected}'


def test_files_without_arrays(tmp_path):
    with zipfile.ZipFile(tmp_path / "e.npz", "w") as archive:
        archive.writestr("readme.txt", "x")
    h5py.File(tmp_path / "e.h5", "w").close()
    for name in ("e.npz", "e.h5"):
        message = refused_header(tmp_path / name)
        assert message == "dataset: found none, expected one of nothing: the file holds no arrays"


@pytest.mark.parametrize("name", ["x.npy", "x.mtx", "x.idx"])
def test_dataset_of_a_single_matrix(tmp_path, name):
    WRITERS[name](tmp_path / name, REAL)
    message = refused_header(tmp_path / name, dataset="x")
    assert message == 'dataset: found "x", expected none: it holds one matrix'


def test_missing_files_and_folders(tmp_path):
    expected = "expected a file with a matrix"
    assert refused_header(tmp_path / "none.npy") == f"found no such file, {expected}"
    assert refused_header(tmp_path) == f"found a folder, {expected}"


def test_unknown_suffix(tmp_path):
    (tmp_path / "x.csv").write_text("1,2\n3,4\n")
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"1,2\n"))
    known = ".npy, .npz, .h5, .hdf5, .mtx, .mtx.gz, .idx, .idx.gz, -ubyte, -ubyte.gz"
    message = refused_header(tmp_path / "x.csv")
    assert message == f"found suffix .csv, expected one of {known}"
    assert refused_header(tmp_path / "x.csv.gz").startswith("found suffix .gz, expected one of ")


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_npy_versions(tmp_path, version):
    with (tmp_path / "x.npy").open("wb") as stream:
        np.lib.format.write_array(stream, REAL, version=version)
    if version == (3, 0):
        assert "found .npy version (3, 0), expected" in refused_header(tmp_path / "x.npy")
    else:
        np.testing.assert_array_equal(both(tmp_path / "x.npy"), REAL)


def test_truncated_npy_is_seen_in_the_header(tmp_path):
    np.save(tmp_path / "x.npy", REAL)
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-8])
    message = refused_header(tmp_path / "x.npy")
    assert message == "cannot be read: found 272 bytes of data, expected 280: truncated"


class TestIdx:
    def test_images_are_flattened(self, tmp_path):
        write_idx_gz(tmp_path / "i.idx.gz", IMAGES)
        np.testing.assert_array_equal(both(tmp_path / "i.idx.gz"), IMAGES.reshape(6, 12))
        np.testing.assert_array_equal(
            both(tmp_path / "i.idx.gz", rows=slice(1, 3)), IMAGES[1:3].reshape(2, 12)
        )

    def test_labels(self, tmp_path):
        write_idx(tmp_path / "l-ubyte", IMAGES[0, 0])
        assert header(tmp_path / "l-ubyte") == ((4,), np.uint8)
        np.testing.assert_array_equal(read_idx(tmp_path / "l-ubyte"), IMAGES[0, 0])

    @pytest.mark.parametrize("zipped", [False, True])
    @pytest.mark.parametrize(("change", "found"), [(-1, "71 bytes"), (1, "more bytes")])
    def test_data_that_differ_from_the_header(self, tmp_path, zipped, change, found):
        path = tmp_path / "i.idx"
        data = (idx_bytes(IMAGES) + b"x")[: 16 + 72 + change]
        path.write_bytes(gzip.compress(data) if zipped else data)
        message = refusal(read_idx, path)
        assert message == f"{path}: cannot be read: found {found} of data, expected 72"
        assert "cannot be read" in refusal(load, path, None, slice(6), IMAGES.dtype)
        if not zipped:
            assert refused_header(path).endswith("expected 88")

    @pytest.mark.parametrize("length", [1, 3, 4, 9])
    def test_short_headers(self, tmp_path, length):
        (tmp_path / "i.idx").write_bytes(idx_bytes(IMAGES)[:length])
        assert "cannot be read: found " in refusal(read_idx, tmp_path / "i.idx")

    def test_absurd_lengths(self, tmp_path):
        lengths = struct.pack(">4I", *[2**32 - 1] * 4)
        (tmp_path / "i.idx.gz").write_bytes(gzip.compress(b"\0\0\x08\x04" + lengths))
        assert "cannot be read" in refusal(read_idx, tmp_path / "i.idx.gz")

    def test_damaged_gzip(self, tmp_path):
        data = bytearray(gzip.compress(idx_bytes(IMAGES)))
        data[-6] ^= 0xFF  # in the checksum
        (tmp_path / "i.idx.gz").write_bytes(data)
        assert "CRC" in refusal(read_idx, tmp_path / "i.idx.gz")

    def test_missing(self, tmp_path):
        assert "found no such file" in refusal(read_idx, tmp_path / "none")

    def test_fashion_mnist(self):
        images = read_idx(DATA / "fashion-mnist-test-images.idx.gz")
        labels = read_idx(str(DATA / "fashion-mnist-test-labels.idx.gz"))
        assert images.shape == (10000, 28, 28)
        np.testing.assert_array_equal(np.bincount(labels), [1000] * 10)


ARRAYS = hnp.arrays(
    st.sampled_from(["u1", "i1", "i2", "i4", "f4", "f8"]),
    hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5),
)


@given(array=ARRAYS, zipped=st.booleans())
def test_idx_round_trip(tmp_path_factory, array, zipped):
    path = tmp_path_factory.mktemp("idx") / "x.idx"
    (write_idx_gz if zipped else write_idx)(path, array)
    back = read_idx(path)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    if array.ndim > 1 and array.size:
        np.testing.assert_array_equal(
            both(path), array.reshape(len(array), int(np.prod(array.shape[1:])))
        )


@given(array=hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1)))
def test_npy_round_trip(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("npy") / "x.npy"
    for order in "CF":
        np.save(path, np.array(array, order=order))
        np.testing.assert_array_equal(both(path), array)
