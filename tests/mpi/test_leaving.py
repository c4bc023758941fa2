"""Products left early, one after another, and who owns which memory."""

import numpy as np
import pytest

from hpcrefine import Pool

pytestmark = pytest.mark.mpi(min_size=2)

MDS = {"code": "mds", "tasks": 3, "redundancy": 2}


@pytest.mark.parametrize("options", [{}, MDS], ids=["uncoded", "mds"])
def test_break_and_go_on(comm, check, options):
    with Pool(comm) as pool:
        if pool:
            for _ in range(5):
                a, b = check.operands((23, 17, 19))
                left = pool.matmul(a, b, digits=5, **options)
                for r in left:
                    assert (r.layer, r.last) == (0, False)
                    break
                check(pool, *check.operands((14, 9, 11)), digits=3, **options)
                check.log(left, complete=False)
                assert next(left, None) is None


def test_context(comm, check):
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands((23, 17, 19))
            with pool.matmul(a, b, digits=4, **MDS) as product:
                assert next(product).layer == 0
            with pytest.raises(StopIteration):
                next(product)
            with pool.matmul(a, b) as product:
                resolutions = list(product)
            pool.settle()
            check.resolutions(product, resolutions, a, b)
            check.log(product)


def test_closing(comm, check):
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands((23, 17, 19))
            for taken in range(4):
                product = pool.matmul(a, b, digits=2, **MDS)
                for layer in range(taken):
                    assert next(product).layer == layer
                product.close()
                product.close()
                for _ in range(2):
                    with pytest.raises(StopIteration):
                        next(product)
                product.settle()
                product.settle()
                check.log(product, complete=taken == 3)


def test_left_open_at_the_end(comm, check):
    with Pool(comm) as pool:
        if pool:
            next(pool.matmul(*check.operands((23, 17, 19)), digits=7))
    with Pool(comm) as pool:
        if pool:
            pool.matmul(*check.operands((23, 17, 19)), digits=7)
    with Pool(comm) as pool:
        if pool:
            pool.configure()
    with Pool(comm) as pool:
        pass


def test_many_tiny_products(comm, check):
    with Pool(comm) as pool:
        if pool:
            for i in range(50):
                shape = (1 + i % 5, 1 + i % 3, 1 + i % 4)
                tasks = 1 + i % shape[0]
                code = {"code": "mds", "redundancy": 2} if i % 2 else {}
                check(pool, *check.operands(shape), digits=1 + i % 3, tasks=tasks, **code)


def test_oneshot_and_layers_interleaved(comm, check):
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands((30, 20, 10))
            for i in range(6):
                if i % 2:
                    pool.oneshot(a, b).close()  # nothing of it was taken
                (r,) = pool.oneshot(a, b, tasks=1 + i)
                assert (np.abs(r.value - a @ b) <= 1e-14 * (np.abs(a) @ np.abs(b))).all()
                check(pool, a, b, digits=1 + i % 3)
                next(pool.matmul(a, b, digits=3, **MDS))


@pytest.mark.parametrize("layers", ["antidiagonal", "product", "square"])
@pytest.mark.parametrize("unit", ["layer", "minijob"])
def test_resolutions_belong_to_the_caller(comm, check, layers, unit):
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands((19, 17, 13))
            options = {"digits": 3, "layers": layers, "unit": unit, **MDS}
            resolutions, copies = [], []
            product = pool.matmul(a, b, **options)
            for r in product:
                resolutions.append(r)
                copies.append(r.value.copy())
            pool.settle()
            for i, (r, copy) in enumerate(zip(resolutions, copies, strict=True)):
                assert np.array_equal(r.value, copy)
                assert r.value.flags.writeable == r.last
                assert r.value.flags.c_contiguous
                assert not any(np.shares_memory(r.value, s.value) for s in resolutions[:i])
            check.resolutions(product, resolutions, a, b, digits=3)


def test_changing_the_last_resolution_is_safe(comm, check):
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands((19, 17, 13))
            product = pool.matmul(a, b, digits=3, **MDS)
            for r in product:
                if r.last:
                    r.value[...] = np.nan
            pool.settle()
            product, again = check(pool, a, b, digits=3, **MDS)
            assert np.isfinite(again[-1].value).all()


def test_earlier_resolutions_cannot_be_changed(comm, check):
    """The next ones build on them."""
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands((19, 17, 13))
            for r in pool.matmul(a, b, digits=3, layers="product", **MDS):
                assert r.value.flags.writeable == r.last
                if not r.last:
                    with pytest.raises(ValueError, match="read-only"):
                        r.value[...] = np.nan


def test_matmul_copies_its_operands(comm, check):
    with Pool(comm) as pool:
        if pool:
            for shape in ((9, 8, 7), (200, 150, 120)):
                a, b = check.operands(shape)
                kept_a, kept_b = a.copy(), b.copy()
                product = pool.matmul(a, b, digits=3, **MDS)
                a[...], b[...] = np.nan, np.nan
                resolutions = list(product)
                pool.settle()
                check.resolutions(product, resolutions, kept_a, kept_b, digits=3)
                assert np.isnan(a).all()


def test_operands_are_free_after_the_last_resolution(comm, check):
    with Pool(comm) as pool:
        if pool:
            for shape in ((9, 8, 7), (200, 150, 120)):
                a, b = check.operands(shape)
                expected, size = a @ b, np.abs(a) @ np.abs(b)
                (r,) = pool.oneshot(a, b)
                a[...], b[...] = np.nan, np.nan
                assert (np.abs(r.value - expected) <= 1e-14 * size).all()


def test_a_result_as_the_next_operand(comm, check):
    with Pool(comm) as pool:
        if pool:
            a, b = check.operands((19, 17, 13))
            for r in pool.matmul(a, b, digits=3, **MDS):
                value = r.value
            check(pool, value, value.T, digits=2)


def test_leaving_the_loop_closes_the_product(comm, check):
    with Pool(comm) as pool:
        if pool:
            product = pool.matmul(*check.operands((19, 17, 13)), digits=3)
            for r in product:
                assert r.layer == 0
                break
            with pytest.raises(StopIteration):
                next(product)
            pool.settle()
            check.log(product, complete=False)
