"""Which tests run where, and runs under mpiexec.

Those in tests/mpi run on every rank of an MPI run, all others without MPI. A plain
``python -m pytest`` reaches tests/mpi through test_mpi_ranks.py, which starts ``mpiexec``.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from pathlib import Path
from typing import NamedTuple

import pytest

import hpcrefine
from hpcrefine.errors import InputError
from hpcrefine.kernels import KERNELS, check_exactness
from hpcrefine.launch import find_launcher

TESTS = Path(__file__).parent
MPI_TESTS = TESTS / "mpi"
SCRIPT_SECONDS = 60
MARK = "HPCREFINE_TEST_RUN"


def pytest_configure():
    """Let what tests start be interrupted, also where a shell has begun this in its background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path, config):
    """Collect tests/mpi with ``--with-mpi``, and only then."""
    if collection_path.is_dir():
        return None
    of_mpi = MPI_TESTS in collection_path.parents
    return True if of_mpi != bool(config.getoption("--with-mpi", default=False)) else None


@pytest.fixture(scope="session")
def int8_fault():
    """What the self-check says of int8 here: "" where it is exact, as on processors with VNNI."""
    try:
        return check_exactness(KERNELS["int8"](None))
    except InputError:  # no oneDNN, which is another matter
        return ""


@pytest.fixture(scope="session")
def unwarned(int8_fault):
    """Return a function that strips a run's stderr of the warning it begins with for int8's fault.

    Where int8 is exact, nothing is stripped.
    """
    warning = f"warning: not the fastest kernel: {int8_fault}\n" if int8_fault else ""
    return lambda stderr: stderr.removeprefix(warning)


class Run(NamedTuple):
    """How a run ended: exit code, stdout, stderr, processes and temporary files it left behind."""

    code: int
    stdout: str
    stderr: str
    left: list[int]
    files: list[str]


@pytest.fixture
def mpiexec(monkeypatch):
    """Return a function that runs Python on some ranks; nothing of it outlives the test."""
    mark = uuid.uuid4().hex
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # where MPI has its own files
    folder = Path(tempfile.mkdtemp(prefix="hpcrefine-test-", dir=memory))

    def run(ranks, arguments, seconds, **variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        launcher = find_launcher()
        environment = launcher.environment(ranks) | {MARK: mark, "PYTHONFAULTHANDLER": "1"}
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            environment[variable] = "1"
        for variable in ("TMPDIR", "OMPI_MCA_btl_sm_backing_directory"):
            environment[variable] = str(folder)
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
        left = _left(mark, patience=10)
        files = sorted(str(path) for path in folder.rglob("*") if not path.is_dir())
        return Run(process.returncode, out, err, left, files)

    yield run
    _end(mark, patience=0)
    shutil.rmtree(folder)


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

    def run(ranks, text, **variables):
        path = tmp_path / "script.py"
        path.write_text(
            "import sys, numpy as np\nfrom hpcrefine import InputError, Pool\n"
            "A, B = np.arange(12.0).reshape(4, 3), np.arange(15.0).reshape(3, 5)\n"
            + textwrap.dedent(text)
        )
        result = mpiexec(ranks, [str(path)], SCRIPT_SECONDS, **variables)
        print(result.stdout, result.stderr, sep="\n")  # pytest shows it if the test fails
        return result

    return run
