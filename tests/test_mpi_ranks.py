"""Runs under mpiexec: all of tests/mpi on several ranks, and runs that must end by themselves."""

import os
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from pathlib import Path
from typing import NamedTuple

import pytest

import hpcrefine
from hpcrefine.launch import find_launcher

TESTS = Path(__file__).parent
SUITE_SECONDS = 240
SCRIPT_SECONDS = 60
MARK = "HPCREFINE_TEST_RUN"


class Run(NamedTuple):
    """How a run ended: exit code, stdout, stderr, processes it left behind."""

    code: int
    stdout: str
    stderr: str
    left: list[int]


@pytest.fixture
def mpiexec(tmp_path):
    """Return a function that runs Python on some ranks; nothing of it outlives the test."""
    launcher, mark = find_launcher(), uuid.uuid4().hex

    def run(ranks, arguments, seconds):
        environment = launcher.environment(ranks) | {MARK: mark, "PYTHONFAULTHANDLER": "1"}
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            environment[variable] = "1"
        package = Path(hpcrefine.__file__).parents[1]  # the one under test, not another installed
        search = [str(package), os.environ.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, search))
        process = subprocess.Popen(
            launcher.command(ranks, [sys.executable, *arguments]),
            cwd=TESTS.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.terminate()  # asks the launcher to end its ranks
            _end(mark, patience=5)
            out, err = process.communicate()
            pytest.fail(f"no end after {seconds} s on {ranks} ranks\n{out}\n{err}", pytrace=False)
        return Run(process.returncode, out, err, _left(mark, patience=10))

    yield run
    _end(mark, patience=0)


def _left(mark, patience):
    """Wait until no process carries the mark; return those that still do."""
    end = time.monotonic() + patience
    while (found := _marked(mark)) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def _marked(mark):
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:  # not ours, or gone
            continue
    return found


def _end(mark, patience):
    for pid in _left(mark, patience):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


@pytest.fixture
def script(mpiexec, tmp_path):
    """Return a function that runs a script on some ranks."""

    def run(ranks, text):
        path = tmp_path / "script.py"
        path.write_text(
            "import sys, numpy as np\nfrom hpcrefine import InputError, Pool\n"
            "A, B = np.arange(12.0).reshape(4, 3), np.arange(15.0).reshape(3, 5)\n"
            + textwrap.dedent(text)
        )
        result = mpiexec(ranks, [str(path)], SCRIPT_SECONDS)
        print(result.stdout, result.stderr, sep="\n")  # pytest shows it if the test fails
        return result

    return run


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
