"""Products on real ranks, bit for bit: shapes, types, layerings, codes, kernels."""

import numpy as np
import pytest

import hpcrefine.cluster.messages
from hpcrefine import Pool
from hpcrefine.cluster.protocol import MOST_DONE
from hpcrefine.errors import InputError

pytestmark = pytest.mark.mpi(min_size=2)

SHAPE = (13, 11, 9)


@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1), (7, 1, 5), (31, 37, 29), (2, 5, 3), (9, 6, 1), (1, 40, 1), (1, 3, 17), (50, 2, 2)],
    ids=str,
)
def test_shapes(comm, check, shape):
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands(shape)
            check(pool, a, b)
            check(pool, a, b, tasks=1)
            check(pool, a, b, tasks=shape[0])
            check(pool, a, b, code="mds", tasks=min(3, shape[0]), redundancy=2)


@pytest.mark.parametrize("shape", [(257, 131, 190), (60, 1500, 40)], ids=str)
@pytest.mark.parametrize("code", ["uncoded", "mds"])
def test_messages_beyond_the_eager_limit(comm, check, shape, code):
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands(shape)
            redundancy = 1.0 if code == "uncoded" else 1.5
            check(pool, a, b, digits=3, code=code, tasks=4, redundancy=redundancy)


@pytest.mark.parametrize("code", ["uncoded", "mds"])
def test_messages_beyond_the_largest_count(comm, check, monkeypatch, code):
    """As beyond 2 GiB, where a message is counted in rows."""
    monkeypatch.setattr(hpcrefine.cluster.messages, "_LARGEST_COUNT", 100)
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands((31, 37, 29))
            redundancy = 1.0 if code == "uncoded" else 2.0
            check(pool, a, b, digits=3, code=code, tasks=4, redundancy=redundancy)
            (r,) = pool.oneshot(a, b)
            assert _near(r.value, a, b)
            with pool.matmul(a, b, digits=7, code=code, tasks=4, redundancy=redundancy) as product:
                next(product)
            check(pool, a, b)


INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", *INTEGERS, ">f8", ">i2"])
def test_types(comm, check, dtype):
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands(SHAPE, np.dtype(dtype).newbyteorder("="))
            a, b = a.astype(dtype), b.astype(dtype)
            assert a.dtype == np.dtype(dtype)
            check(pool, a, b)
            check(pool, a, b, digits=4, digit_bits=5, code="mds", tasks=3, redundancy=1.5)


def test_types_mixed(comm, check):
    with Pool(comm) as pool:
        if pool:
            a, _ = check.operands(SHAPE, np.uint8)
            _, b = check.operands(SHAPE, np.float32)
            check(pool, a, b, digits=3)


MEMORY = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "every other": lambda m: np.repeat(np.repeat(m, 2, axis=0), 3, axis=1)[::2, ::3],
    "backwards": lambda m: m[::-1, ::-1],
    "columns of a wider one": lambda m: np.hstack([m, m])[:, m.shape[1] - 2 : -2],
    "read-only": lambda m: _read_only(m.copy()),
    "unaligned": lambda m: _unaligned(m),
    "np.matrix": lambda m: m.view(np.matrix),
    "one row repeated": lambda m: np.broadcast_to(m[:1], m.shape),
}


def _read_only(matrix):
    matrix.flags.writeable = False
    return matrix


def _unaligned(matrix):
    raw = bytearray(matrix.nbytes + 1)
    view = np.frombuffer(raw, matrix.dtype, matrix.size, offset=1).reshape(matrix.shape)
    view[...] = matrix
    return view


@pytest.mark.parametrize("memory", MEMORY)
def test_memory_layouts(comm, check, memory):
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands(SHAPE)
            laid = MEMORY[memory]
            check(pool, laid(a), b, code="mds", tasks=4, redundancy=1.5)
            check(pool, a, laid(b))
            check(pool, laid(a), laid(b), digits=3)


@pytest.mark.parametrize("memory", MEMORY)
def test_memory_layouts_oneshot(comm, check, memory):
    with Pool(comm) as pool:
        if pool:
            a, b = map(MEMORY[memory], check.operands(SHAPE))
            (r,) = pool.oneshot(a, b)
            assert _near(r.value, a, b)


def _near(value, a, b):
    return (np.abs(value - a @ b) <= 1e-14 * (np.abs(a) @ np.abs(b))).all()


@pytest.mark.parametrize("order", "CF")
def test_product_with_the_own_transpose(comm, check, order):
    with Pool(comm) as pool:
        if pool:
            a = np.asarray(check.operands((17, 12, 1))[0], order=order)
            _, resolutions = check(pool, a, a.T, digits=3)
            for r in resolutions:  # whole layers are symmetric
                assert np.array_equal(r.value, r.value.T)


@pytest.mark.parametrize("layers", ["antidiagonal", "product", "square"])
@pytest.mark.parametrize("unit", ["layer", "minijob"])
def test_layerings_and_digits(comm, check, layers, unit):
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands((7, 6, 5))
            for digits in range(1, 8):
                _, resolutions = check(pool, a, b, digits=digits, layers=layers, unit=unit, tasks=3)
                count = {"antidiagonal": 2 * digits - 1, "product": digits**2, "square": digits}
                assert len(resolutions) == count[layers]
                assert resolutions[-1].share == 1


@pytest.mark.parametrize("digit_bits", [1, 2, 4, 7, 8])
@pytest.mark.parametrize("code", ["uncoded", "mds"])
def test_digit_bits(comm, check, digit_bits, code):
    with Pool(comm) as pool:
        if pool:
            redundancy = 1.0 if code == "uncoded" else 1.6
            for digits in (1, 3, 7):
                check(
                    pool,
                    *check.operands(SHAPE),
                    digits=digits,
                    digit_bits=digit_bits,
                    code=code,
                    tasks=5,
                    redundancy=redundancy,
                )


@pytest.mark.parametrize("scale", ["row", "matrix"])
@pytest.mark.parametrize("dtype", [np.float64, np.int16])
def test_scales(comm, check, scale, dtype):
    with Pool(comm) as pool:
        if pool:
            check(pool, *check.operands(SHAPE, dtype), digits=3, scale=scale)


@pytest.mark.parametrize("layers", ["antidiagonal", "product", "square"])
def test_zero_rows_and_operands(comm, check, layers):
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands(SHAPE)
            a[3:7], b[:, 2] = 0, -0.0
            check(pool, a, b, digits=3, layers=layers, code="mds", tasks=4, redundancy=2)
            _, resolutions = check(pool, np.zeros_like(a), b, layers=layers)
            assert [r.error_bound for r in resolutions] == [0.0] * len(resolutions)


@pytest.mark.parametrize(
    ("tasks", "redundancy"),
    [(1, 1), (1, 3), (2, 1.5), (3, 4 / 3), (4, 2), (5, 1.4), (7, 2), (12, 1.25), (13, 1.2)],
)
@pytest.mark.parametrize("unit", ["layer", "minijob"])
def test_mds(comm, check, tasks, redundancy, unit):
    with Pool(comm) as pool:
        if pool:
            for dtype in (np.float64, np.uint8):
                product, _ = check(
                    pool,
                    *check.operands(SHAPE, dtype),
                    digits=3,
                    code="mds",
                    tasks=tasks,
                    redundancy=redundancy,
                    unit=unit,
                )
                assert product.plan.code.coded == round(tasks * redundancy + 0.4999)


@pytest.mark.parametrize("tasks", [1, 2, 5, 12, 13])
def test_uncoded(comm, check, tasks):
    with Pool(comm) as pool:
        if pool:
            product, _ = check(pool, *check.operands(SHAPE), digits=3, tasks=tasks)
            assert {entry.status for entry in product.log.values()} == {"used"}


def test_default_tasks(comm, check):
    with Pool(comm) as pool:
        if pool:
            for rows in (1, 3, 40):
                product, _ = check(pool, *check.operands((rows, 3, 4)))
                assert product.plan.code.tasks == min(rows, pool.workers)
                product, _ = check(pool, *check.operands((rows, 3, 4)), code="mds")
                assert product.plan.code.tasks == min(rows, 4 * pool.workers)
            for share, each in ((2047, 1), (4096, 2), (8192, 4), (16384, 4)):  # rows per worker
                product = pool.matmul(np.ones((share * pool.workers, 1)), np.ones((1, 1)))
                assert product.plan.code.tasks == each * pool.workers


@pytest.mark.parametrize("layers", ["antidiagonal", "product", "square"])
@pytest.mark.parametrize("unit", ["layer", "minijob"])
def test_tasks_of_a_row(comm, check, layers, unit):
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands((201, 7, 5))
            options = {"tasks": 201, "layers": layers, "unit": unit}
            check(pool, a, b, digits=3, **options)
            check(pool, a, b, code="mds", redundancy=1.02, **options)


def test_more_tasks_than_a_message_reports(comm, check):
    with Pool(comm) as pool:
        if pool:
            count = 2 * MOST_DONE * pool.workers + 3
            product, _ = check(pool, *check.operands((count, 2, 1)), digits=1, tasks=count)
            assert {entry.status for entry in product.log.values()} == {"used"}


def test_resident(comm, check):
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands(SHAPE)
            for code, redundancy in (("uncoded", 1), ("mds", 1.5)):
                held = pool.resident(a, digits=3, code=code, tasks=4, redundancy=redundancy)
                assert held.shape == a.shape
                for truncate, factor in ((None, 1.0), (1, 2.0**30), (None, -1.0)):
                    product = held.matmul(factor * b, truncate=truncate, keep_integers=True)
                    resolutions = list(product)
                    pool.settle()
                    options = {"digits": 3, "truncate": truncate, "kept": True}
                    check.resolutions(product, resolutions, a, factor * b, **options)
                    check.log(product)
                    check(pool, b.T, a.T, digits=2)  # another product in between
                held.release()
                held.release()
                with pytest.raises(InputError, match="released"):
                    held.matmul(b)


def test_resident_under_another_kernel(comm, check):
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands(SHAPE)
            with pool.resident(a, digits=2) as held:
                for kernel in ("float32", "int8", "float64", "int8"):
                    pool.configure(kernel)
                    resolutions = list(product := held.matmul(b))
                    pool.settle()
                    check.resolutions(product, resolutions, a, b)


def test_what_cannot_be_placed_is_refused_by_the_product(comm):
    with Pool(comm) as pool:
        if pool:
            for matrix in (np.empty((0, 3)), np.ones((3, 3), object), np.ones((3, 3), complex)):
                assert pool.place(matrix) is matrix
                with pytest.raises(InputError):
                    pool.matmul(pool.place(matrix), np.ones((3, 3)))


def test_a_path_that_no_message_holds(comm):
    with Pool(comm) as pool:
        if pool:
            with pytest.raises(InputError, match="path of 2000 characters"):
                pool.configure("auto", "x" * 2000)


def test_resident_left_early(comm, check):
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands(SHAPE)
            with pool.resident(a, digits=2) as held:
                for _ in range(5):
                    for _ in held.matmul(b):
                        break
                resolutions = list(product := held.matmul(b))
                check.resolutions(product, resolutions, a, b)
                with pytest.raises(InputError, match="as many columns of a as rows of b"):
                    held.matmul(b[1:])


def test_operands_in_shared_memory(comm, check, memory):
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands(SHAPE)
            placed = [pool.place(a), pool.place(b.T)]
            assert all(np.array_equal(x, y) for x, y in zip(placed, (a, b.T), strict=True))
            assert (placed[0] is a) == (memory == "messages")
            assert placed[1].base is b  # nothing would be gained
            check(pool, placed[0], placed[1].T)
            for dtype in (np.float64, np.float32, np.int16):
                a, b = check.operands(SHAPE, dtype)
                there = [pool.empty(x.shape, dtype) for x in (a, b)]
                for mine, other in zip(there, (a, b), strict=True):
                    mine[...] = other
                check(pool, *there, digits=3)
                check(pool, there[0], b, digits=3)
                check(pool, there[0][1:], b, digits=3)


def test_results_outlive_later_products_and_the_pool(comm, check):
    found = []
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands(SHAPE)
            for factor in (1.0, 2.0, 4.0):
                found.append([r.value for r in pool.matmul(factor * a, b)])
                part = found[0][0][1:3, 2:]
            views = [[value[1:3, 2:] for value in values] for values in found]
            expected = [[view.copy() for view in each] for each in views]
    if found:
        assert np.array_equal(part, expected[0][0])
        for factor, values in zip((1.0, 2.0, 4.0), found, strict=True):
            assert all(
                np.array_equal(value, factor * first)
                for value, first in zip(values, found[0], strict=True)
            )


@pytest.mark.parametrize("layers", ["antidiagonal", "product", "square"])
@pytest.mark.parametrize("truncate", [0, 1, 2, 3, 9])
def test_truncation(comm, check, layers, truncate):
    with Pool(comm) as pool:
        if pool:
            operands = check.operands(SHAPE)
            product, resolutions = check(
                pool, *operands, digits=3, layers=layers, truncate=truncate
            )
            cells = [cell for layer in product.plan.layers for cell in layer.minijobs]
            assert max(map(sum, cells)) == min(truncate, 4)
            assert (resolutions[-1].share == 1) == (truncate >= 4)


@pytest.mark.parametrize("layers", ["antidiagonal", "product", "square"])
@pytest.mark.parametrize("kind", ["tolerance", "relative_tolerance"])
def test_tolerances(comm, check, layers, kind):
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands(SHAPE)
            _, full = check(pool, a, b, digits=4, layers=layers)
            bounds = [r.error_bound if kind == "tolerance" else r.relative_bound for r in full]
            for wanted in (bounds[1], 0.999 * bounds[1], 1e3 * bounds[0], bounds[-1] / 2):
                needed = next((i for i, x in enumerate(bounds) if x <= wanted), len(full) - 1)
                product, found = check(
                    pool, a, b, digits=4, layers=layers, code="mds", tasks=3, redundancy=2,
                    **{kind: wanted},
                )  # fmt: skip
                assert len(found) == needed + 1
                for r, other in zip(found, full, strict=False):
                    assert (r.error_bound, r.relative_bound) == (
                        other.error_bound,
                        other.relative_bound,
                    )
                    assert np.array_equal(r.value, other.value)
                digits_sent = 1 + max(
                    max(cell) for layer in product.plan.layers for cell in layer.minijobs
                )
                assert product.plan.digits == digits_sent


@pytest.mark.parametrize("kind", ["tolerance", "relative_tolerance"])
def test_tolerance_of_nothing(comm, check, kind):
    """Small integers are exact in their first digit: further layers would only add zeros."""
    with Pool(comm) as pool:
        if pool:
            a = np.arange(12, dtype=np.uint8).reshape(4, 3)
            _, full = check(pool, a, a.T)
            assert [r.error_bound for r in full] == [0, 0, 0]
            _, resolutions = check(pool, a, a.T, **{kind: 0.0})
            assert len(resolutions) == 1
            _, resolutions = check(pool, *check.operands(SHAPE), **{kind: 0.0})
            assert len(resolutions) == 3


@pytest.mark.parametrize("integer", [np.int8, np.uint8, np.int64])
def test_options_as_numpy_numbers(comm, check, integer):
    """Bounds must not suffer from the wrap-around of NumPy's integers."""
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands(SHAPE)
            _, plain = check(pool, a, b, digits=7, digit_bits=8, tasks=3, truncate=9)
            _, found = check(
                pool, a, b, digits=integer(7), digit_bits=integer(8), tasks=integer(3),
                truncate=integer(9), redundancy=np.float32(1),
            )  # fmt: skip
            assert [r.error_bound for r in found] == [r.error_bound for r in plain]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16, np.uint8])
def test_kernels_agree(comm, check, dtype):
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands((31, 600, 17), dtype)  # float32 must cut k = 600 at 2**24
            found = {}
            for kernel in ("int8", "float32", "float64"):
                rows = pool.configure(kernel)  # int8 falls back where the processor lacks VNNI
                assert all(row["kernel"] == kernel or row["warning"] for row in rows)
                for code, redundancy in (("uncoded", 1), ("mds", 1.5)):
                    product, resolutions = check(
                        *(pool, a, b),
                        digits=3,
                        code=code,
                        tasks=4,
                        redundancy=redundancy,
                        keep_integers=True,
                    )
                    found[kernel, code] = (
                        [product.integers(r.layer) for r in resolutions],
                        [r.value for r in resolutions],
                    )
            first = found["float64", "uncoded"]
            for integers, values in found.values():
                for mine, other in zip(integers, first[0], strict=True):
                    assert mine.keys() == other.keys()
                    assert all(np.array_equal(mine[s], other[s]) for s in mine)
                for mine, other in zip(values, first[1], strict=True):
                    assert np.array_equal(mine, other)


def test_sums_beyond_int32(comm, check):
    """Largest digits everywhere: combinations (or long sums) need int64."""
    with Pool(comm) as pool:
        if pool:
            a = np.full((4, 50_000), -(2.0**15))
            b = np.full((50_000, 2), 2.0**15 - 1)
            a[1], b[:, 1] = -a[1], -b[:, 1]
            for kernel in ("int8", "float32", "float64"):
                pool.configure(kernel)
                for layers in ("square", "antidiagonal"):
                    product, _ = check(
                        pool, a, b, digits=3, layers=layers, code="mds", tasks=3, redundancy=2
                    )
                plan = product.plan
                assert plan.result_dtype(plan.units[0], 0) == np.int32
                assert plan.result_dtype(plan.units[0], 5) == np.int64
                assert plan.result_dtype(plan.units[2], 0) == np.int64


@pytest.mark.parametrize("shape", [(1, 1, 1), (31, 37, 29), (300, 40, 200)], ids=str)
@pytest.mark.parametrize("tasks", [None, 1, 7])
def test_oneshot(comm, check, shape, tasks):
    with Pool(comm) as pool:
        if pool:
            for dtype in (np.float64, np.float32, np.int16, np.uint8):
                a, b = check.operands(shape, dtype)
                product = pool.oneshot(a, b, tasks=tasks)
                (r,) = product
                pool.settle()
                assert _near(r.value, a.astype(float), b.astype(float))
                assert (r.layer, r.last, r.share) == (0, True, 1.0)
                assert np.isnan(r.error_bound)
                assert np.isnan(r.relative_bound)
                assert {entry.status for entry in product.log.values()} == {"used"}
                check.log(product)
