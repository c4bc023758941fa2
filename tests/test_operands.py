"""Operands: every format as it really lies on disk, and every way in which it can be wrong."""

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

from hpcrefine import operands
from hpcrefine.errors import InputError
from hpcrefine.job import FileOperand, RandomOperand, load
from hpcrefine.operands import check, describe, load_pair, memory_needed, read, read_idx

RNG = np.random.default_rng(0)
REAL = RNG.standard_normal((7, 5)) * 10.0 ** RNG.uniform(-8, 8, (7, 1))
IMAGES = RNG.integers(0, 256, (6, 3, 4), dtype=np.uint8)
DATA = Path(__file__).parents[1] / "jobs" / "data"
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


def both(path, **keys):
    """Describe and read a file; check that the two agree."""
    spec = FileOperand(file=str(path), **keys)
    shape, dtype = describe(spec, Path())
    M = read(spec, Path(), RNG)
    assert M.shape == shape
    assert M.dtype == dtype
    assert M.dtype.isnative
    return M


def refusal(call, *args, **keys):
    with pytest.raises(InputError) as caught:
        call(*args, **keys)
    message = str(caught.value)
    assert "\n" not in message
    return message


def refused_header(path, **keys):
    """Return the message of describe, which read gives too."""
    spec = FileOperand(file=str(path), **keys)
    message = refusal(describe, spec, Path())
    assert refusal(read, spec, Path(), RNG) == message
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("name", WRITERS)
class TestEveryFormat:
    def test_round_trip(self, tmp_path, name):
        WRITERS[name](tmp_path / name, REAL)
        np.testing.assert_array_equal(both(tmp_path / name), REAL)

    def test_rows_then_transpose(self, tmp_path, name):
        WRITERS[name](tmp_path / name, REAL)
        M = both(tmp_path / name, rows=(2, 6), transpose=True)
        np.testing.assert_array_equal(M, REAL[2:6].T)

    def test_normalised_before_transposed(self, tmp_path, name):
        WRITERS[name](tmp_path / name, REAL)
        M = both(tmp_path / name, normalise="rows", transpose=True)
        np.testing.assert_allclose(M.T, REAL / np.linalg.norm(REAL, axis=1, keepdims=True))

    def test_integers_stay_integers(self, tmp_path, name):
        integers = np.array([[1, -2, 3], [-(2**31), 0, 2**31 - 1]], np.int32)
        WRITERS[name](tmp_path / name, integers)
        M = both(tmp_path / name)
        assert M.dtype.kind == "i"
        np.testing.assert_array_equal(M, integers)

    def test_too_many_rows(self, tmp_path, name):
        WRITERS[name](tmp_path / name, REAL)
        message = refused_header(tmp_path / name, rows=(2, 8))
        assert message == "rows: found [2, 8], expected at most 7 rows"

    def test_truncated(self, tmp_path, name):
        path = tmp_path / name
        WRITERS[name](path, REAL)
        path.write_bytes(path.read_bytes()[:-60])
        message = refusal(read, FileOperand(file=str(path)), Path(), RNG)
        assert message.startswith(f"{path}: cannot be read: ")

    def test_garbage(self, tmp_path, name):
        path = tmp_path / name
        path.write_bytes(b"\x93garbage, not a matrix" * 9)
        assert refusal(describe, FileOperand(file=str(path)), Path()).startswith(f"{path}: ")

    def test_empty_file(self, tmp_path, name):
        path = tmp_path / name
        path.touch()
        assert refusal(describe, FileOperand(file=str(path)), Path()).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (np.float64, np.float64),
        (np.float32, np.float32),
        (np.float16, np.float32),
        (np.dtype(">f8"), np.float64),
        (np.dtype(">i2"), np.int16),
        (np.uint64, np.uint64),
        (np.bool_, np.uint8),
    ],
)
@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.h5"])
def test_element_types(tmp_path, name, stored, expected):
    array = (np.arange(6).reshape(2, 3) % 2).astype(stored)
    WRITERS[name](tmp_path / name, array)
    M = both(tmp_path / name)
    assert M.dtype == expected
    np.testing.assert_array_equal(M, array)


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.h5"])
@pytest.mark.parametrize("dtype", ["complex128", "S3", "longdouble"])
def test_other_types_are_refused(tmp_path, name, dtype):
    WRITERS[name](tmp_path / name, np.ones((2, 2)).astype(dtype))
    message = refused_header(tmp_path / name)
    assert message.startswith(f"dtype: found {np.dtype(dtype)}")
    assert message.endswith("expected real numbers of up to 64 bits")


def test_pickles_are_refused(tmp_path):
    objects = np.array([[1, "x"]], dtype=object)
    np.save(tmp_path / "o.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "o.npz", objects)
    for name in ("o.npy", "o.npz"):
        assert refused_header(tmp_path / name).startswith("dtype: found object, expected real")


def test_complex_matrix_market_is_refused(tmp_path):
    scipy.io.mmwrite(tmp_path / "c.mtx", np.ones((2, 2), complex))
    assert refused_header(tmp_path / "c.mtx").startswith("dtype: found complex128")


@pytest.mark.parametrize(
    ("header", "body", "expected"),
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
def test_matrix_market_kinds(tmp_path, header, body, expected):
    (tmp_path / "m.mtx").write_text(f"%%MatrixMarket matrix {header}\n{body}")
    M = both(tmp_path / "m.mtx")
    np.testing.assert_array_equal(M, np.array(expected, M.dtype))


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), ()])
@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.h5"])
def test_two_dimensions_only(tmp_path, name, shape):
    WRITERS[name](tmp_path / name, np.ones(shape))
    text = ", ".join(map(str, shape))
    assert refused_header(tmp_path / name) == f"found shape ({text}), expected 2 dimensions"


def test_fortran_order_is_kept(tmp_path):
    np.save(tmp_path / "f.npy", np.asfortranarray(REAL))
    M = both(tmp_path / "f.npy")
    assert M.flags.f_contiguous
    assert M.flags.writeable
    np.testing.assert_array_equal(M, REAL)


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.h5", "x.idx"])
def test_no_rows(tmp_path, name):
    WRITERS[name](tmp_path / name, np.empty((0, 5)))
    assert both(tmp_path / name).shape == (0, 5)
    assert both(tmp_path / name, normalise="rows").shape == (0, 5)


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
    assert "expected 2 dimensions" in refused_header(tmp_path / "two.h5", dataset="nothing")


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
            both(tmp_path / "i.idx.gz", rows=(1, 3)), IMAGES[1:3].reshape(2, 12)
        )

    def test_labels_are_no_operand(self, tmp_path):
        write_idx(tmp_path / "l-ubyte", IMAGES[0, 0])
        assert refused_header(tmp_path / "l-ubyte") == "found shape (4), expected 2 dimensions"
        np.testing.assert_array_equal(read_idx(tmp_path / "l-ubyte"), IMAGES[0, 0])

    @pytest.mark.parametrize("zipped", [False, True])
    @pytest.mark.parametrize(("change", "found"), [(-1, "71 bytes"), (1, "more bytes")])
    def test_data_that_differ_from_the_header(self, tmp_path, zipped, change, found):
        path = tmp_path / "i.idx"
        data = (idx_bytes(IMAGES) + b"x")[: 16 + 72 + change]
        path.write_bytes(gzip.compress(data) if zipped else data)
        message = refusal(read_idx, path)
        assert message == f"{path}: cannot be read: found {found} of data, expected 72"
        assert "cannot be read" in refusal(read, FileOperand(file=str(path)), Path(), RNG)
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
    if array.ndim > 1:
        np.testing.assert_array_equal(
            both(path), array.reshape(len(array), int(np.prod(array.shape[1:])))
        )


@given(array=hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, min_side=0)))
def test_npy_round_trip(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("npy") / "x.npy"
    for order in "CF":
        np.save(path, np.array(array, order=order))
        np.testing.assert_array_equal(both(path), array)


def test_normalised_rows(tmp_path):
    rows = np.array([[3, 4], [0, 0], [3e-300, 4e-300], [3e300, -4e300], [5e-324, 0]])
    np.save(tmp_path / "x.npy", rows)
    expected = [[0.6, 0.8], [0, 0], [0.6, 0.8], [0.6, -0.8], [1, 0]]
    np.testing.assert_allclose(both(tmp_path / "x.npy", normalise="rows"), expected, rtol=1e-15)
    np.save(tmp_path / "i.npy", np.array([[3, 4], [-128, 0]], np.int8))
    M = both(tmp_path / "i.npy", normalise="rows")
    np.testing.assert_allclose(M, [[0.6, 0.8], [-1, 0]], rtol=1e-15)


class TestRandom:
    def draw(self, seed=0, **keys):
        spec = RandomOperand(**keys)
        M = read(spec, Path(), np.random.default_rng(seed))
        assert (M.shape, M.dtype) == describe(spec, Path())
        again = read(spec, Path(), np.random.default_rng(seed))
        np.testing.assert_array_equal(M, again)
        return M

    @pytest.mark.parametrize("dtype", ["float64", "float32"])
    def test_normal(self, dtype):
        M = self.draw(random="normal", shape=(200, 100), dtype=dtype)
        assert abs(M.mean()) < 0.05
        assert abs(M.std() - 1) < 0.05

    @pytest.mark.parametrize("dtype", ["float64", "float32"])
    def test_uniform(self, dtype):
        M = self.draw(random="uniform", shape=(200, 100), dtype=dtype, low=-3, high=5)
        assert -3 <= M.min() < -2.9
        assert 4.9 < M.max() <= 5

    @pytest.mark.parametrize("dtype", ["int8", "int64", "float32"])
    def test_integers(self, dtype):
        M = self.draw(random="integers", shape=(99, 99), dtype=dtype, low=-128, high=128)
        assert (M.min(), M.max()) == (-128, 127)
        np.testing.assert_array_equal(M, np.round(M))

    def test_whole_range(self):
        M = self.draw(random="integers", shape=(9, 99), dtype="uint64", low=0, high=2**64)
        assert M.max() > 2**63

    def test_scale_spread(self):
        M = self.draw(random="normal", shape=(50, 400), scale_spread=12)
        plain = self.draw(random="normal", shape=(50, 400))
        decades = np.log10((M / plain)[:, 0])
        np.testing.assert_allclose(np.sort(decades), np.linspace(-6, 6, 50))
        assert not (np.diff(decades) > 0).all()


@pytest.fixture
def job(tmp_path):
    """Write a job file whose operands are arrays or TOML; load it."""

    def loader(a, b='"a.T"', /, *overrides, **arrays):
        for name, array in arrays.items():
            np.save(tmp_path / f"{name}.npy", array)
        path = tmp_path / "j.toml"
        path.write_text(f"[operands]\na = {a}\nb = {b}\n[code]\ntasks = 2\n")
        return load(path, overrides)

    return loader


def test_pair_from_files(job):
    made = job('{file = "a.npy"}', '{file = "b.npy"}', a=REAL, b=REAL.T)
    assert check(made) == (7, 5, 7)
    A, B = load_pair(made)
    np.testing.assert_array_equal(A, REAL)
    np.testing.assert_array_equal(B, REAL.T)


def test_pair_with_itself(job):
    made = job('{file = "a.npy", rows = [0, 4], normalise = "rows"}', a=REAL)
    assert check(made) == (4, 5, 4)
    A, B = load_pair(made)
    assert np.shares_memory(A, B)
    np.testing.assert_array_equal(A.T, B)
    np.testing.assert_allclose(np.diag(A @ B), 1)


def test_random_pairs_follow_the_seed(job):
    square = '{random = "normal", shape = [4, 4]}'
    A, B = load_pair(job(square, square))
    again = load_pair(job(square, square))
    other = load_pair(job(square, square, "job.seed=1"))
    np.testing.assert_array_equal([A, B], again)
    assert not (A == B).any()
    assert not (other[0] == A).any()
    changed = load_pair(job('{random = "uniform", shape = [9, 4]}', square))
    np.testing.assert_array_equal(changed[1], B)  # B does not depend on what A is


def test_shapes_must_fit(job, tmp_path):
    made = job('{file = "a.npy"}', '{file = "a.npy"}', a=REAL)
    for call in (check, load_pair):
        assert refusal(call, made) == (
            f"{tmp_path}/j.toml: [operands] b: found 7 x 5 with a of 7 x 5, expected 5 rows"
        )


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_empty_a(job, tmp_path, shape):
    made = job('{file = "a.npy"}', a=np.empty(shape))
    assert refusal(check, made) == (
        f"{tmp_path}/j.toml: [operands] a: found {shape[0]} x {shape[1]}, expected at least 1 x 1"
    )


def test_empty_b(job):
    made = job('{file = "a.npy"}', '{file = "b.npy"}', a=REAL, b=np.empty((5, 0)))
    assert "[operands] b: found 5 x 0, expected at least 1 x 1" in refusal(check, made)


def test_more_tasks_than_rows(job, tmp_path):
    made = job('{file = "a.npy"}', '"a.T"', "code.tasks=8", a=REAL)
    assert refusal(check, made) == (
        f"{tmp_path}/j.toml: [code] tasks: found 8, expected at most 7: more tasks than rows of a"
    )


def test_too_little_memory(job, monkeypatch):
    made = job('{file = "a.npy"}', a=REAL)
    needed = memory_needed(made, 7, 5, 7)
    monkeypatch.setattr(operands, "memory_available", lambda: needed)
    check(made)
    huge = job('{random = "normal", shape = [2147483647, 2147483647]}')
    monkeypatch.setattr(operands, "memory_available", lambda: 3 * 2**30)
    message = refusal(load_pair, huge)
    assert "[operands] a, b: found 2147483647 x 2147483647 times" in message
    assert "GiB on the master, expected at most the 3.00 GiB available" in message


@pytest.mark.parametrize(
    ("overrides", "buffers"),
    [
        ([], 3),
        (["resolution.layering=square", "resolution.digits=2"], 3),
        (["resolution.truncate=1"], 2),
        (["code.unit=minijob"], 4),
        (["code.scheme=mds", "code.redundancy=2"], 6),
    ],
)
def test_memory_needed(job, overrides, buffers):
    made = job('{file = "a.npy"}', '"a.T"', *overrides, a=REAL)
    planes = (7 * 5 + 5 * 7) * (8 + 2)
    assert memory_needed(made, 7, 5, 7) == planes + buffers * 4 * 49 + 2 * 8 * 49


def test_memory_available_is_plausible(monkeypatch):
    there = operands.memory_available()
    assert 2**20 < there < 2**60

    def unreadable(path):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", unreadable)
    assert operands.memory_available() >= there // 2


@pytest.mark.parametrize("key", ["a", "b"])
def test_broken_files_are_named_with_their_key(job, tmp_path, key):
    made = job('{file = "a.npy"}', '{file = "b.npy"}', a=REAL, b=REAL.T)
    (tmp_path / f"{key}.npy").unlink()
    for call in (check, load_pair):
        assert refusal(call, made) == (
            f"{tmp_path}/j.toml: [operands] {key}: {tmp_path}/{key}.npy: "
            "found no such file, expected a file with a matrix"
        )


def test_data_broken_behind_the_header(job, tmp_path):
    write_idx_gz(tmp_path / "i.idx.gz", RNG.integers(0, 256, (99, 99), dtype=np.uint8))
    data = (tmp_path / "i.idx.gz").read_bytes()
    (tmp_path / "i.idx.gz").write_bytes(data[: len(data) // 2])
    made = job('{file = "i.idx.gz"}')
    check(made)
    assert f"[operands] a: {tmp_path}/i.idx.gz: cannot be read: " in refusal(load_pair, made)
