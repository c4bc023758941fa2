"""Threads, ranks and the launcher, before any rank is started."""

import os
import subprocess
import sys

import pytest

from hpcrefine import launch
from hpcrefine.errors import InputError
from hpcrefine.launch import Launcher, check_ranks, default_ranks, find_launcher, prepare_process

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
BINDING = ("PRTE_MCA_hwloc_default_binding_policy", "OMPI_MCA_mpi_yield_when_idle")
ROOT = ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM")
RANK = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK", "MPI_LOCALNRANKS")


@pytest.fixture(autouse=True)
def shell(monkeypatch):
    """An environment without any variable that counts here; restored afterwards."""
    names = ("SLURM_NTASKS", "SLURM_CPUS_PER_TASK", "OPENBLAS_CORETYPE", launch.RANKS_VARIABLE)
    names += (launch.MPIEXEC_VARIABLE, launch.TOLERANCE_VARIABLE)
    for name in (*THREADS, *BINDING, *ROOT, *RANK, *names):
        monkeypatch.setenv(name, "")  # so that what the package sets is taken away again
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(
    ("argument", "omp", "slurm", "expected"),
    [
        (None, None, None, 1),
        (None, None, "6", 6),
        (None, "3", "6", 3),
        (None, "4,2", "6", 4),
        (2, "4,2", "6", 2),
        (2, None, None, 2),
        (None, "0", "6", 6),
        (None, "many", "6", 6),
        (None, "", "", 1),
        (None, "-2", None, 1),
    ],
)
def test_threads(shell, argument, omp, slurm, expected):
    for name, value in (("OMP_NUM_THREADS", omp), ("SLURM_CPUS_PER_TASK", slurm)):
        if value is not None:
            shell.setenv(name, value)
    assert prepare_process(argument) == expected
    assert [os.environ[name] for name in THREADS] == [str(expected)] * 3


def test_a_core_type_the_user_chose_stays(shell):
    shell.setenv("OPENBLAS_CORETYPE", "Haswell")
    prepare_process()
    assert os.environ["OPENBLAS_CORETYPE"] == "Haswell"


@pytest.mark.parametrize("variable", RANK)
def test_under_mpi(shell, variable):
    assert not launch.under_mpi()
    shell.setenv(variable, "0")
    assert launch.under_mpi()


def test_default_ranks(shell):
    assert default_ranks() == 4
    shell.setenv("SLURM_NTASKS", "65")
    assert default_ranks() == 65


@pytest.mark.parametrize("variable", [launch.RANKS_VARIABLE, "SLURM_NTASKS"])
def test_every_process_rank_0_of_1(shell, variable):
    shell.setenv(variable, "3")
    with pytest.raises(InputError, match=r"rank 0 of 1, expected 3 ranks: the launcher"):
        check_ranks(1)
    check_ranks(3)


def test_a_master_alone(shell):
    with pytest.raises(InputError, match=r"found 1, expected at least 2 \(a master and a worker"):
        check_ranks(1)
    shell.setenv("SLURM_NTASKS", "1")
    with pytest.raises(InputError, match="at least 2"):
        check_ranks(1)
    check_ranks(2)


@pytest.mark.parametrize("ranks", [0, -3])
def test_impossible_numbers_of_ranks_are_named(ranks):
    with pytest.raises(InputError, match=f"found {ranks}, expected at least 2"):
        check_ranks(ranks)


PROGRAM = ["python", "-m", "hpcrefine", "run"]


@pytest.mark.parametrize(
    ("version", "openmpi", "options"),
    [
        ("mpiexec (Open MPI) 5.0.11", True, ["--oversubscribe", "--with-ft", "ulfm"]),
        ("mpiexec (Open MPI) 10.1.0", True, ["--oversubscribe", "--with-ft", "ulfm"]),
        ("mpirun (Open MPI) 4.1.6", True, ["--oversubscribe"]),
        ("unknown", True, ["--oversubscribe"]),
        ("Version: 5.0.2", False, []),
    ],
)
def test_commands(version, openmpi, options):
    launcher = Launcher("/opt/mpiexec", version, openmpi=openmpi)
    assert launcher.command(5, PROGRAM) == ["/opt/mpiexec", *options, "-n", "5", *PROGRAM]


@pytest.mark.parametrize(("value", "tolerant"), [("0", False), ("1", True), ("", True)])
def test_fault_tolerance_can_be_forgone(shell, value, tolerant):
    shell.setenv(launch.TOLERANCE_VARIABLE, value)
    launcher = Launcher("mpiexec", "mpiexec (Open MPI) 5.0.11", openmpi=True)
    assert launcher.tolerant == tolerant
    assert ("--with-ft" in launcher.command(3, PROGRAM)) == tolerant


@pytest.mark.parametrize(
    ("script", "code", "killed"),
    [
        *(("exit 0", 0, False), ("exit 2", 2, False), ("exit 1", 1, False), ("exit 3", 1, False)),
        *(("exit 137", 1, True), ("exit 9", 1, True), ("exit 139", 1, True)),
        *(("exit 143", 1, False), ("kill -KILL $$", 1, False)),
    ],
)
def test_how_ranks_ended(shell, tmp_path, script, code, killed):
    """Open MPI exits as a shell does after a signal, MPICH with the signal's own number."""
    path = tmp_path / "mpiexec"
    path.write_text(f"#!/bin/sh\n[ $1 = --version ] && echo 'mpiexec (Open MPI) 5' || {script}\n")
    path.chmod(0o755)
    shell.setenv(launch.MPIEXEC_VARIABLE, str(path))
    run = "from hpcrefine.launch import start; e = start(2, []); print(e.code, e.killed)"
    done = subprocess.run(
        [sys.executable, "-c", run], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == f"{code} {killed}\n"


def test_environment_of_open_mpi(shell):
    launcher = Launcher("mpiexec", "", openmpi=True)
    cores = len(os.sched_getaffinity(0))
    shell.setenv("HPCREFINE_TEST_KEPT", "kept")
    few, many = launcher.environment(cores), launcher.environment(cores + 1)
    assert few[launch.RANKS_VARIABLE] == str(cores)
    assert many[launch.RANKS_VARIABLE] == str(cores + 1)
    assert few["HPCREFINE_TEST_KEPT"] == "kept"
    for name in ROOT:
        assert few.get(name) == ("1" if os.geteuid() == 0 else None)
    assert not few.keys() & set(BINDING)
    assert [many[name] for name in BINDING] == ["none", "1"]
    assert not os.environ.keys() & {launch.RANKS_VARIABLE, *ROOT, *BINDING}


def test_a_binding_the_user_chose_stays(shell):
    shell.setenv(BINDING[0], "core")
    environment = Launcher("mpiexec", "", openmpi=True).environment(1000)
    assert environment[BINDING[0]] == "core"


def test_environment_of_others():
    environment = Launcher("mpiexec", "", openmpi=False).environment(1000)
    assert environment[launch.RANKS_VARIABLE] == "1000"
    assert not environment.keys() & {*ROOT, *BINDING}


def test_the_launcher_of_this_environment(shell):
    found = find_launcher()
    assert os.access(found.path, os.X_OK)
    assert any(character.isdigit() for character in found.version)
    assert "\n" not in found.version
    assert found.openmpi == ("Open MPI" in found.version)
    shell.setenv(launch.MPIEXEC_VARIABLE, found.path)
    assert find_launcher() == found


@pytest.mark.parametrize("kind", ["missing", "folder", "not executable", "no program"])
def test_a_launcher_that_is_none(shell, tmp_path, kind):
    path = tmp_path / "mpiexec"
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(b"\x00 no program")
        path.chmod(0o755 if kind == "no program" else 0o644)
    shell.setenv(launch.MPIEXEC_VARIABLE, str(path))
    with pytest.raises(InputError, match="expected an MPI launcher") as caught:
        find_launcher()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_launcher_anywhere(shell, tmp_path):
    shell.setattr(sys, "prefix", str(tmp_path))
    shell.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="found none on PATH, expected an MPI launcher"):
        find_launcher()
