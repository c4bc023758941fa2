"""What the user gets wrong is told on the master, and the pool goes on."""

import numpy as np
import pytest

from hpcrefine import InputError, Pool

pytestmark = pytest.mark.mpi(min_size=2)

A, B = np.arange(12.0).reshape(4, 3), np.arange(15.0).reshape(3, 5)


def _with(matrix, index, value):
    changed = matrix.copy()
    changed[index] = value
    return changed


CASES = {
    "shapes": (A, A, {}, r"\(4, 3\).*\(4, 3\).*columns of a"),
    "one dimension": (A, B[:, 0], {}, r"b: found \(3,\), expected a two-dimensional"),
    "three dimensions": (A[None], B, {}, r"a: found \(1, 4, 3\), expected a two-dimensional"),
    "a list": (A.tolist(), B, {}, "a: found list"),
    "no rows": (A[:0], B, {}, r"a: found shape \(0, 3\)"),
    "no inner": (A[:, :0], B[:0], {}, r"a: found shape \(4, 0\)"),
    "no columns": (A, B[:, :0], {}, r"b: found shape \(3, 0\)"),
    "NaN in a": (_with(A, (2, 1), np.nan), B, {}, r"a\[2, 1\]: found nan"),
    "NaN in b": (A, _with(B, (1, 4), np.nan), {}, r"b\[1, 4\]: found nan"),
    "inf": (A, _with(B, (0, 3), -np.inf), {}, r"b\[0, 3\]: found -inf"),
    "NaN in F order": (A, np.asfortranarray(_with(B, (1, 4), np.nan)), {}, r"b\[1, 4\]"),
    "complex": (A + 0j, B, {}, "a: found dtype complex128"),
    "boolean": (A, B > 1, {}, "b: found dtype bool"),
    "objects": (A, B.astype(object), {}, "b: found dtype object"),
    "K beyond rows": (A, B, {"tasks": 5}, "K = 5 tasks for 4 rows"),
    "K beyond rows, mds": (A, B, {"tasks": 5, "code": "mds", "redundancy": 2}, "K = 5"),
    "K negative": (A, B, {"tasks": -1}, "found -1, expected K of 1 or more"),
    "K zero": (A, B, {"tasks": 0}, "found 0, expected K of 1 or more"),
    "Omega below 1": (A, B, {"code": "mds", "redundancy": 0.9}, "redundancy: found 0.9"),
    "Omega NaN": (A, B, {"code": "mds", "redundancy": np.nan}, "redundancy: found nan"),
    "redundancy uncoded": (A, B, {"redundancy": 1.5}, "redundancy: found 1.5"),
    "survive uncoded": (A, B, {"survive": 1}, "survive: found 1"),
    "survive": (A, B, {"survive": 9, "code": "mds", "redundancy": 2, "tasks": 2}, "survive|ranks"),
    "survive negative": (A, B, {"survive": -1}, "survive: found -1"),
    "code": (A, B, {"code": "msd"}, "scheme: found 'msd', expected one of uncoded"),
    "layering": (A, B, {"layers": "diagonal"}, "layering: found 'diagonal'"),
    "scale": (A, B, {"scale": "rows"}, "scale: found 'rows'"),
    "unit": (A, B, {"unit": "layers"}, "unit: found 'layers'"),
    "split": (A, B, {"split": "even"}, "split: found 'even'"),
    "no digits": (A, B, {"digits": 0}, r"digits: found 0, expected 1\.\.7"),
    "many digits": (A, B, {"digits": 8}, r"digits: found 8, expected 1\.\.7"),
    "no bits": (A, B, {"digit_bits": 0}, r"digit_bits: found 0, expected 1\.\.8"),
    "many bits": (A, B, {"digit_bits": 9}, r"digit_bits: found 9, expected 1\.\.8"),
    "truncate": (A, B, {"truncate": -1}, "truncate: found -1"),
}
ONESHOT = {
    "shapes": (A, A, {}, "columns of a"),
    "one dimension": (A[0], B, {}, r"a: found \(3,\)"),
    "no columns": (A, B[:, :0], {}, r"b: found shape \(3, 0\)"),
    "no inner": (A[:, :0], B[:0], {}, r"a: found shape \(4, 0\)"),
    "no rows": (A[:0], B, {}, r"a: found shape \(0, 3\)"),
    "complex": (A + 0j, B, {}, "a: found dtype complex128"),
    "objects": (A, B.astype(object), {}, "b: found dtype object"),
    "texts": (A, B.astype(str).astype("U9"), {}, "b: found dtype <U9"),
    "K zero": (A, B, {"tasks": 0}, "found 0, expected K of 1 or more"),
    "K negative": (A, B, {"tasks": -1}, "found -1, expected K of 1 or more"),
}


@pytest.mark.parametrize("case", CASES)
def test_matmul(comm, check, case):
    a, b, options, message = CASES[case]
    with Pool(comm) as pool:
        if pool:
            check(pool, A, B)
            with pytest.raises(InputError, match=message):
                pool.matmul(a, b, **options)
            check(pool, A, B)


@pytest.mark.parametrize("case", ONESHOT)
def test_oneshot(comm, check, case):
    a, b, options, message = ONESHOT[case]
    with Pool(comm) as pool:
        if pool:
            with pytest.raises(InputError, match=message):
                pool.oneshot(a, b, **options)
            check(pool, A, B)


def test_an_error_while_a_product_is_in_flight(comm, check):
    with Pool(comm) as pool:
        if pool:
            product = pool.matmul(A, B, digits=5)
            next(product)
            with pytest.raises(InputError):
                pool.matmul(A, A)
            assert next(product, None) is None  # it was given up for the next
            check(pool, A, B)


def test_an_input_error_leaves_in_order(comm, check):
    def multiply():
        with Pool(comm) as pool:
            if pool:
                next(pool.matmul(A, B, digits=5))
                pool.matmul(A, A)

    if comm.rank == 0:
        with pytest.raises(InputError, match="columns of a"):
            multiply()
    else:
        multiply()
    with Pool(comm) as pool:
        if pool:
            check(pool, A, B)


def test_an_unknown_kernel(comm, check):
    with Pool(comm, kernel="int9") as pool:
        if pool:
            for _ in range(2):
                with pytest.raises(InputError, match=r"rank 1 on .*name: found 'int9'"):
                    pool.matmul(A, B)
            pool.configure("float64")
            check(pool, A, B)


def test_a_library_that_is_none(comm, check, tmp_path):
    with Pool(comm) as pool:
        if pool:
            missing = str(tmp_path / "libdnnl.so.3")
            with pytest.raises(InputError, match="oneDNN library: found no file"):
                pool.configure("int8", missing)
            with pytest.raises(InputError, match="oneDNN library: found no file"):
                pool.configure("auto", missing)
            check(pool, A, B)
