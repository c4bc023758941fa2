"""Operands: what a job makes of files and random draws, and what it refuses."""

import gzip
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis.extra import numpy as hnp

from hpcrefine.errors import InputError
from hpcrefine.inputs.operands import check, describe, load_pair, read
from hpcrefine.job import FileOperand, RandomOperand
from hpcrefine.jobfile import load

RNG = np.random.default_rng(0)
REAL = RNG.standard_normal((7, 5)) * 10.0 ** RNG.uniform(-8, 8, (7, 1))


def idx_bytes(array):
    header = struct.pack(">BBBB2I", 0, 0, 0x0E, 2, *array.shape)
    return header + array.astype(">f8").tobytes()


def write_h5(path, array):
    with h5py.File(path, "w") as file:
        file["group/x"] = array


WRITERS = {
    "x.npy": np.save,
    "x.npz": lambda path, array: np.savez(path, x=array),
    "x.h5": write_h5,
    "x.mtx": lambda path, array: scipy.io.mmwrite(path, array, precision=17),
    "x.idx": lambda path, array: path.write_bytes(idx_bytes(array)),
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
class TestFromEveryKindOfFile:
    def test_as_stored(self, tmp_path, name):
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

    def test_too_many_rows(self, tmp_path, name):
        WRITERS[name](tmp_path / name, REAL)
        message = refused_header(tmp_path / name, rows=(2, 8))
        assert message == "rows: found [2, 8], expected at most 7 rows"


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


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), ()])
@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.h5"])
def test_two_dimensions_only(tmp_path, name, shape):
    WRITERS[name](tmp_path / name, np.ones(shape))
    text = ", ".join(map(str, shape))
    assert refused_header(tmp_path / name) == f"found shape ({text}), expected 2 dimensions"


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.h5", "x.idx"])
def test_no_rows(tmp_path, name):
    WRITERS[name](tmp_path / name, np.empty((0, 5)))
    assert both(tmp_path / name).shape == (0, 5)
    assert both(tmp_path / name, normalise="rows").shape == (0, 5)


def test_missing_files_and_folders(tmp_path):
    expected = "expected a file with a matrix"
    assert refused_header(tmp_path / "none.npy") == f"found no such file, {expected}"
    assert refused_header(tmp_path) == f"found a folder, {expected}"


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


def test_codes_and_memory_are_checked(job, tmp_path):
    made = job('{file = "a.npy"}', '"a.T"', "code.tasks=8", a=REAL)
    for call in (check, load_pair):
        assert refusal(call, made) == (
            f"{tmp_path}/j.toml: [code] tasks: found 8, which cuts the 7 rows of a into 8 parts, "
            "expected at most 7 parts"
        )
    huge = job('{random = "normal", shape = [2147483647, 2147483647]}')
    for call in (check, load_pair):
        assert "GiB on the master, expected at most the " in refusal(call, huge)


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
    data = gzip.compress(idx_bytes(RNG.standard_normal((99, 99))))
    (tmp_path / "i.idx.gz").write_bytes(data[: len(data) // 2])
    made = job('{file = "i.idx.gz"}')
    check(made)
    assert f"[operands] a: {tmp_path}/i.idx.gz: cannot be read: " in refusal(load_pair, made)
