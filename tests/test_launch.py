"""Threads, ranks and the launcher, before any rank is started."""

import os
import subprocess
import sys

import pytest

from hpcrefine import launch
from hpcrefine.errors import InputError
from hpcrefine.launch import (
    Launcher,
    check_count,
    check_ranks,
    default_ranks,
    find_launcher,
    prepare_process,
)

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
BINDING = ("PRTE_MCA_hwloc_default_binding_policy", "OMPI_MCA_mpi_yield_when_idle")
TRANSPORT = "OMPI_MCA_btl"
ROOT = ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM")
RANK = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK", "MPI_LOCALNRANKS")
SLURM = ("SLURM_NTASKS", "SLURM_STEP_NUM_TASKS", "SLURM_CPUS_PER_TASK", "SRUN_CPUS_PER_TASK")
SLURM += ("SLURM_JOB_NUM_NODES",)


@pytest.fixture(autouse=True)
def shell(monkeypatch):
    """An environment without any variable that counts here; restored afterwards."""
    names = (*SLURM, "OPENBLAS_CORETYPE", launch.RANKS_VARIABLE)
    names += (launch.MPIEXEC_VARIABLE, launch.TOLERANCE_VARIABLE)
    for name in (*THREADS, *BINDING, TRANSPORT, *ROOT, *RANK, *names):
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
    with pytest.raises(InputError, match=rf"rank 0 of 1, expected 3 ranks \({variable}\), started"):
        check_ranks(1)
    check_ranks(3)


@pytest.mark.parametrize(
    ("variables", "size", "said"),
    [
        # Open MPI's mpiexec starts a process on each node by srun: that step says nothing.
        ({"SLURM_STEP_NUM_TASKS": "2", "OMPI_COMM_WORLD_SIZE": "4", "SLURM_NTASKS": "2"}, 4, ""),
        ({"SLURM_STEP_NUM_TASKS": "4", "PMI_SIZE": "4", "SLURM_NTASKS": "4"}, 4, ""),
        ({"HPCREFINE_RANKS": "3", "SLURM_NTASKS": "8"}, 3, ""),
        ({"SLURM_NTASKS": "1", "OMPI_COMM_WORLD_SIZE": "4"}, 4, ""),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, 4, ""),
        (
            {"OMPI_COMM_WORLD_SIZE": "3", "SLURM_NTASKS": "8"},
            3,
            "ranks: found 3, expected 8 ranks (SLURM_NTASKS), started by Open MPI's mpiexec: "
            "HPCREFINE_RANKS=3 says that 3 are meant",
        ),
        (
            {"MPI_LOCALNRANKS": "2", "SLURM_STEP_NUM_TASKS": "2", "PMI_SIZE": "4"},
            1,
            "ranks: found every process to be rank 0 of 1, expected 4 ranks (PMI_SIZE), started by "
            "MPICH's mpiexec: that launcher does not belong to the MPI library",
        ),
        (
            {"SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS": "4"},
            1,
            "expected 4 ranks (SLURM_NTASKS), started by srun: that launcher",
        ),
    ],
)
def test_ranks_that_are_not_those_started(shell, variables, size, said):
    for name, value in variables.items():
        shell.setenv(name, value)
    if said:
        with pytest.raises(InputError) as caught:
            check_ranks(size)
        assert said in str(caught.value)
    else:
        check_ranks(size)


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
        check_count(ranks)


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


def test_ranks_that_slurm_has_room_for_are_spread_over_its_nodes(shell):
    launcher = Launcher("mpiexec", "mpiexec (Open MPI) 4.1.6", openmpi=True)
    shell.setenv("SLURM_NTASKS", "5")
    assert "--oversubscribe" in launcher.command(5, PROGRAM)
    shell.setenv("SLURM_JOB_NUM_NODES", "2")
    assert "--oversubscribe" not in launcher.command(5, PROGRAM)
    assert "--oversubscribe" in launcher.command(6, PROGRAM)


@pytest.mark.parametrize(("value", "tolerant"), [("0", False), ("1", True), ("", True)])
def test_fault_tolerance_can_be_forgone(shell, value, tolerant):
    shell.setenv(launch.TOLERANCE_VARIABLE, value)
    launcher = Launcher("mpiexec", "mpiexec (Open MPI) 5.0.11", openmpi=True)
    assert launcher.tolerant == tolerant
    assert ("--with-ft" in launcher.command(3, PROGRAM)) == tolerant


@pytest.mark.parametrize(
    ("script", "code", "killed"),
    [
        *(("exit 0", 0, False), ("exit 2", 2, False), ("exit 1", 1, False), ("exit 3", 3, False)),
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


def test_on_one_node_no_fabric_is_looked_for(shell):
    launcher = Launcher("mpiexec", "", openmpi=True)
    assert launcher.environment(4)[TRANSPORT] == "^ofi"
    shell.setenv("SLURM_JOB_NUM_NODES", "2")
    assert TRANSPORT not in launcher.environment(4)
    shell.setenv("SLURM_JOB_NUM_NODES", "1")
    shell.setenv(TRANSPORT, "self,tcp")
    assert launcher.environment(4)[TRANSPORT] == "self,tcp"


def test_environment_of_others():
    environment = Launcher("mpiexec", "", openmpi=False).environment(1000)
    assert environment[launch.RANKS_VARIABLE] == "1000"
    assert not environment.keys() & {*ROOT, *BINDING, TRANSPORT}


def test_the_launcher_of_this_environment(shell):
    found = find_launcher()
    assert os.access(found.path, os.X_OK)
    assert any(character.isdigit() for character in found.version)
    assert "\n" not in found.version
    assert found.openmpi == ("Open MPI" in found.version)
    shell.setenv(launch.MPIEXEC_VARIABLE, found.path)
    assert find_launcher() == found


def test_a_launcher_of_several_words(shell, tmp_path):
    path = tmp_path / "srun"
    path.write_text("#!/bin/sh\necho slurm 22.05.8\n")
    path.chmod(0o755)
    shell.setenv(launch.MPIEXEC_VARIABLE, f"{path} --mpi=pmi2 --distribution='block:block'")
    shell.setenv("SLURM_CPUS_PER_TASK", "3")
    found = find_launcher()
    options = ["--mpi=pmi2", "--distribution=block:block"]
    assert found.command(4, PROGRAM) == [str(path), *options, "-n", "4", *PROGRAM]
    assert found.environment(4)["SRUN_CPUS_PER_TASK"] == "3"
    assert "SRUN_CPUS_PER_TASK" not in Launcher("mpiexec", "", openmpi=True).environment(4)
    shell.setenv("SRUN_CPUS_PER_TASK", "2")
    assert found.environment(4)["SRUN_CPUS_PER_TASK"] == "2"
    shell.setenv(launch.MPIEXEC_VARIABLE, "srun '--mpi")
    with pytest.raises(InputError, match="HPCREFINE_MPIEXEC: found No closing quotation"):
        find_launcher()


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
