"""Runs under mpiexec: all of tests/mpi on several ranks, and runs that must end by themselves."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SUITE_SECONDS = 400


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_suite(mpiexec, ranks):
    pytest_ = ["-m", "pytest", "--capture=no", "-p", "no:cacheprovider", "--color=no", "-q"]
    result = mpiexec(ranks, [*pytest_, "--with-mpi", str(TESTS / "mpi")], SUITE_SECONDS)
    if result.code != 0:
        pytest.fail(
            f"exit code {result.code} on {ranks} ranks\n{result.stdout}\n{result.stderr}",
            pytrace=False,
        )
    assert " passed" in result.stdout
    assert result.stdout.count(" passed") == 1  # rank 0 alone reports
    assert result.left == []


def test_a_worker_that_raises(script):
    result = script(
        3,
        """
        import hpcrefine.cluster.serving as serving

        def broken(*arguments):
            raise ValueError("boom")

        with Pool() as pool:
            if pool:
                list(pool.matmul(A, B))
                print("not reached")
        """.replace(
            "        with Pool()",
            "        from mpi4py import MPI\n"
            "        if MPI.COMM_WORLD.rank == 1:\n"
            "            serving.compute_task = broken\n"
            "        with Pool()",
        ),
    )
    assert result.code != 0
    assert "rank 1 on " in result.stderr
    assert "Traceback (most recent call last)" in result.stderr
    assert "in broken" in result.stderr
    assert "ValueError: boom" in result.stderr
    assert "not reached" not in result.stdout
    assert result.left == []


@pytest.mark.parametrize("when", ["idle", "in flight"])
def test_the_users_code_raises(script, when):
    begin = "product = pool.matmul(A, B, digits=7); next(product)" if when == "in flight" else ""
    result = script(
        3,
        f"""
        def analyse():
            raise ZeroDivisionError("the user's")

        with Pool() as pool:
            if pool:
                {begin or "pass"}
                analyse()
        print("not reached")
        """,
    )
    assert result.code != 0
    assert "rank 0 on " in result.stderr
    assert "Traceback (most recent call last)" in result.stderr
    assert "in analyse" in result.stderr
    assert "ZeroDivisionError: the user's" in result.stderr
    assert "not reached" not in result.stdout
    assert result.left == []


def test_an_input_error_ends_the_run_in_order(script):
    result = script(
        3,
        """
        with Pool() as pool:
            if pool:
                next(pool.matmul(A, B, digits=7))
                pool.matmul(A, A)
        print("a worker goes on")
        """,
    )
    assert result.code != 0
    assert "InputError: operands: found a of shape (4, 3)" in result.stderr
    assert "failed:" not in result.stderr
    assert result.left == []


def test_leaving_by_exit(script):
    result = script(
        3,
        """
        with Pool() as pool:
            if pool:
                next(pool.matmul(A, B, digits=7))
                sys.exit()
        print("a worker goes on")
        """,
    )
    assert result.code == 0
    assert result.stdout.count("a worker goes on") == 2
    assert "Traceback" not in result.stderr
    assert result.left == []


def test_workers_import_little(script):
    """Thousands of ranks may start at once; what the master alone needs is not their business."""
    result = script(
        2,
        """
        with Pool() as pool:
            if pool:
                from hpcrefine.inference.network import Network, Node
                from hpcrefine.inference.precision import Precision
                from hpcrefine.inference.quantise import quantise
                from hpcrefine.inference.rules import undecided

                weights = {"weight": np.float32(B), "bias": np.zeros(3, np.float32)}
                network = Network((5,), (Node("dense", "dense", ("input",), {}, weights),))
                layered, samples = quantise(network, Precision(), B), B
                assert len(list(pool.infer(layered, samples, rule=undecided(2)))) == 2
            else:
                heavy = {"scipy", "h5py", "pydantic", "rich", "hpcrefine.inference.quantise"}
                print("loaded", sorted(heavy & set(sys.modules)), flush=True)
        """,
    )
    assert result.code == 0
    assert "loaded []" in result.stdout


def test_one_rank(script):
    result = script(
        1,
        """
        with Pool() as pool:
            assert pool and pool.size == 1 and pool.workers == 0
            for multiply in (pool.matmul, pool.oneshot):
                try:
                    multiply(A, B)
                except InputError as error:
                    print(error)
        """,
    )
    assert result.code == 0
    assert result.stdout.count("ranks: found 1 rank, expected at least 2") == 2
    assert result.left == []


def test_a_rank_that_is_in_no_pool(script):
    """A null communicator is a mistake of one rank; the others must not wait for it for ever."""
    result = script(
        3,
        """
        from mpi4py import MPI

        part = MPI.COMM_WORLD.Split(0 if MPI.COMM_WORLD.rank < 2 else MPI.UNDEFINED)
        with Pool(part) as pool:
            if pool:
                list(pool.matmul(A, B))
        """,
    )
    assert result.code != 0
    assert "Traceback (most recent call last)" in result.stderr
    assert result.left == []
