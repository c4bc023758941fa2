"""A real Slurm of four virtual nodes on this machine, for as long as its tests run."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged")
REQUIRED = os.environ.get("HPCREFINE_REQUIRE_SLURM") == "1"
OVER = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}
SECONDS = 90
# What virtual nodes need: they have one address, one host name and root for a user.
VIRTUAL = {
    "UCX_NET_DEVICES": "lo",
    "OMPI_MCA_btl_tcp_if_include": "lo",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    "OMPI_MCA_mpi_yield_when_idle": "1",
}


class Cluster:
    """Submits scripts and waits for jobs."""

    def __init__(self, folder):
        self.folder = folder
        self.control = {"LAB": str(folder), "PORT": str(free_ports(5))}

    def environment(self, prefix=sys.prefix):
        """The environment to submit from: of a shell whose virtual environment is that."""
        prefixes = ("OMPI_", "PMI", "PRTE_", "SLURM_", "HPCREFINE_", "OMP_")
        own = {name: v for name, v in os.environ.items() if not name.startswith(prefixes)}
        path = f"{prefix}/bin:{os.environ['PATH']}"
        return own | VIRTUAL | {"PATH": path, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def do(self, word):
        subprocess.run(
            ["bash", HERE / "cluster.sh", word],
            env=os.environ | self.control,
            stdin=subprocess.DEVNULL,
            timeout=SECONDS,
            check=True,
        )

    def client(self, *command, cwd="/", env=None):
        env = self.environment() if env is None else env
        pipes = {"capture_output": True, "text": True}
        done = subprocess.run(command, cwd=cwd, env=env, timeout=SECONDS, check=False, **pipes)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def submit(self, *words, cwd, env=None):
        return self.client("sbatch", "--parsable", *words, cwd=cwd, env=env).strip()

    def look(self, job):
        """What the controller says of a job, or of each task of an array, as dictionaries."""
        said = self.client("scontrol", "show", "job", "--oneliner", job)
        return [dict(re.findall(r"(\w+)=(\S*)", line)) for line in said.splitlines() if line]

    def wait(self, job):
        """Wait for the end of a job, or of all tasks; return what is said of each."""
        end = time.monotonic() + SECONDS
        found = self.look(job)
        while not {each["JobState"] for each in found} <= OVER:
            assert time.monotonic() < end, found
            time.sleep(0.1)
            found = self.look(job)
        return found

    def announce_limit(self, job, seconds):
        """Have the time limit come in so many seconds."""
        self.client("scontrol", "update", f"JobId={job}", f"EndTime=now+{seconds}")


def free_ports(count):
    """Return the first of so many ports in a row that nobody has."""
    for first in range(20000 + os.getpid() % 1000 * 10, 32000, count):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError("no free ports")


def refuse(reason):
    """Skip; where Slurm is required, fail."""
    (pytest.fail if REQUIRED else pytest.skip)(f"no Slurm: {reason}")


@pytest.fixture(scope="session")
def cluster():
    if os.geteuid() != 0:
        refuse("its daemons are started as root only")
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        refuse(f"found no {', '.join(missing)} (bash tests/slurm/cluster.sh install)")
    with tempfile.TemporaryDirectory(prefix="hpcrefine-slurm-") as folder:  # sockets' paths: short
        cluster = Cluster(Path(folder))
        try:
            cluster.do("up")
            yield cluster
        finally:
            cluster.do("down")


@pytest.fixture(scope="session")
def mpich():
    """The virtual environment that has MPICH in place of Open MPI."""
    prefix = os.environ.get("HPCREFINE_MPICH_VENV")
    if not prefix:
        pytest.skip("no HPCREFINE_MPICH_VENV")
    return prefix
