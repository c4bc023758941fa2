"""How a run gets its ranks: threads, the right ``mpiexec``, and whether we really are n ranks.

Imports neither NumPy nor mpi4py: thread counts must stand before NumPy loads its BLAS.
"""

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from hpcrefine.errors import InputError

RANKS_VARIABLE = "HPCREFINE_RANKS"
MPIEXEC_VARIABLE = "HPCREFINE_MPIEXEC"
TERMINAL_VARIABLE = "HPCREFINE_TERMINAL"
TOLERANCE_VARIABLE = "HPCREFINE_FAULT_TOLERANCE"
DEFAULT_RANKS = 4
ENDED_EARLY = 3  # exit code of a run that was told to end itself, and did
TOLERANCE_HINT = "Open MPI 5 started with --with-ft ulfm lets a run outlive its workers"

_STARTING_VARIABLE = "HPCREFINE_STARTING"
_STARTING = 30.0  # seconds, far more than ranks take to come up

_DEADLY = (signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL)
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_TOLERANCE_VARIABLE = "OMPI_MCA_mpi_ft_enable"
_SIZE_VARIABLES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
_RANK_VARIABLES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK", "MPI_LOCALNRANKS")


def prepare_process(threads: int | None = None) -> int:
    """Fix the threads of BLAS and oneDNN for this process and its children.

    Parameters
    ----------
    threads : int, optional
        As the job file says; default ``OMP_NUM_THREADS``, else ``SLURM_CPUS_PER_TASK``, else 1.

    Returns
    -------
    int
        The number of threads set.
    """
    count = (
        threads or _leading_integer("OMP_NUM_THREADS") or _leading_integer("SLURM_CPUS_PER_TASK")
    )
    for variable in _THREAD_VARIABLES:
        os.environ[variable] = str(count or 1)
    if _has_avx512():  # OpenBLAS does not choose its AVX-512 kernels on every CPU that has it
        os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")
    return count or 1


def _leading_integer(variable: str) -> int:
    text = os.environ.get(variable, "").split(",")[0]
    return int(text) if text.isdecimal() else 0


def _has_avx512() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    except OSError:
        return False
    return {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"} <= set(flags)


def available_cores() -> int:
    """Return the cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def host() -> str:
    """Return the node's name; virtual Slurm nodes share a host name but not SLURMD_NODENAME."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def under_mpi() -> bool:
    """Say whether this process was started by an MPI launcher, or as one of many by srun."""
    started = any(variable in os.environ for variable in _RANK_VARIABLES)
    return started or _leading_integer("SLURM_STEP_NUM_TASKS") > 1


def outlives_ranks() -> bool:
    """Say whether this run goes on when a rank dies (ULFM: ``mpiexec --with-ft ulfm``)."""
    return os.environ.get(_TOLERANCE_VARIABLE, "").lower() in ("1", "true")


def default_ranks() -> int:
    """Return the ranks to start: those of the Slurm job, else 4."""
    return _leading_integer("SLURM_NTASKS") or DEFAULT_RANKS


def check_count(ranks: int) -> None:
    """Refuse to start less than a master and a worker.

    Raises
    ------
    InputError
        If it is less.
    """
    if ranks < 2:
        raise InputError(f"ranks: found {ranks}, expected at least 2 (a master and a worker)")


def check_ranks(size: int) -> None:
    """Refuse a communicator of other ranks than were started; for rank 0 to call.

    Other ranks may be told less: on other nodes than the launcher's, variables are lost.

    Raises
    ------
    InputError
        If the launcher started another number of processes (it may be that each is rank 0 of 1), or
        if there is no worker.
    """
    launcher, (expected, source) = _started_by(), _expected()
    if size != expected and expected > 1:
        found, hint = str(size), f"{RANKS_VARIABLE}={size} says that {size} are meant"
        if size == 1:
            found = "every process to be rank 0 of 1"
            hint = (
                "that launcher does not belong to the MPI library that mpi4py loads (with the Open "
                "MPI wheel use its mpiexec, not srun; with MPICH's srun --mpi=pmi2 or its mpiexec)"
            )
        raise InputError(
            f"ranks: found {found}, expected {expected} ranks ({source}), started by {launcher}: "
            f"{hint}"
        )
    check_count(size)


def _started_by() -> str:
    if "OMPI_COMM_WORLD_SIZE" in os.environ:
        return "Open MPI's mpiexec"
    if "MPI_LOCALNRANKS" in os.environ:
        return "MPICH's mpiexec"
    return "srun" if "SLURM_STEP_NUM_TASKS" in os.environ else "no launcher known"


def _expected() -> tuple[int, str]:
    """Return how many ranks there are to be, 0 where nobody says, and the variable that says so."""
    variables = [RANKS_VARIABLE, "SLURM_NTASKS", *_SIZE_VARIABLES]
    if "SLURM_STEP_NUM_TASKS" in os.environ and _started_by() != "srun":
        variables.remove("SLURM_NTASKS")  # mpiexec's own processes, one on each node
    return next(((n, name) for name in variables if (n := _leading_integer(name))), (0, ""))


@dataclass(frozen=True)
class Launcher:
    """An ``mpiexec`` and whose it is.

    Attributes
    ----------
    path : str
        The program.
    version : str
        First line of what it says of itself.
    openmpi : bool
        Whether it is Open MPI's.
    options : tuple of str
        What it is always given.
    """

    path: str
    version: str
    openmpi: bool
    options: tuple[str, ...] = ()

    @property
    def tolerant(self) -> bool:
        """Whether ranks are started so that the others outlive one that dies.

        Open MPI 5 can (ULFM); ``HPCREFINE_FAULT_TOLERANCE=0`` forgoes it.
        """
        numbers = re.search(r"(\d+)\.\d+", self.version)
        able = self.openmpi and numbers is not None and int(numbers[1]) >= 5
        return able and os.environ.get(TOLERANCE_VARIABLE) != "0"

    def command(self, ranks: int, program: Sequence[str]) -> list[str]:
        """Return the command that starts a program on some ranks."""
        options = list(self.options)
        if self.openmpi and (_one_node() or ranks > _leading_integer("SLURM_NTASKS")):
            options.append("--oversubscribe")  # it may put all ranks on the first of several nodes
        options += ["--with-ft", "ulfm"] if self.tolerant else []
        return [self.path, *options, "-n", str(ranks), *program]

    def environment(self, ranks: int) -> dict[str, str]:
        """Return the environment of that command."""
        environment = dict(os.environ, **{RANKS_VARIABLE: str(ranks)})
        if sys.stderr.isatty():
            environment[TERMINAL_VARIABLE] = str(shutil.get_terminal_size().columns)
        if self.version.startswith("slurm ") and "SLURM_CPUS_PER_TASK" in environment:
            # Since Slurm 22.05 srun does not take it over from the job.
            environment.setdefault("SRUN_CPUS_PER_TASK", environment["SLURM_CPUS_PER_TASK"])
        if self.openmpi:
            if os.geteuid() == 0:
                environment["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
                environment["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
            if _one_node():  # libfabric serves others; finding that out, Open MPI sleeps a second
                environment.setdefault("OMPI_MCA_btl", "^ofi")
            if ranks > available_cores():  # else all ranks may be bound to one core
                environment.setdefault("PRTE_MCA_hwloc_default_binding_policy", "none")
                environment.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")
        return environment


def _one_node() -> bool:
    return _leading_integer("SLURM_JOB_NUM_NODES") < 2


def find_launcher() -> Launcher:
    """Find the ``mpiexec`` that belongs to this environment.

    ``HPCREFINE_MPIEXEC`` may name another, with options: such as ``srun --mpi=pmi2``.

    Raises
    ------
    InputError
        If there is none.
    """
    beside = Path(sys.prefix) / "bin" / "mpiexec"
    own = str(beside) if beside.exists() else shutil.which("mpiexec") or ""
    path, *options = _words_of(MPIEXEC_VARIABLE) or [own]
    if shutil.which(path) is None:
        raise InputError(
            f"mpiexec: found {path or 'none on PATH'}, expected an MPI launcher "
            f"(pip install 'hpcrefine[local]', or set {MPIEXEC_VARIABLE})"
        )
    try:
        said = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=60, check=False
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"mpiexec: found {path}: {error}, expected an MPI launcher") from None
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    version = next((line for line in lines if "version" in line.lower()), (*lines, "")[0])
    openmpi = "Open MPI" in said or "prte" in said
    return Launcher(path, version or "unknown", openmpi, tuple(options))


def _words_of(variable: str) -> list[str]:
    try:
        return shlex.split(os.environ.get(variable, ""))
    except ValueError as error:
        raise InputError(f"{variable}: found {error}, expected a command") from None


@dataclass(frozen=True)
class Exit:
    """How ranks ended.

    Attributes
    ----------
    code : int
        The exit code: 0 well, 1 something failed, 2 a mistake in what was given, 3 ended early as
        asked by SIGUSR1.
    killed : bool
        Whether a rank was killed that nobody had asked to end.
    tolerant : bool
        Whether the others could have outlived it.
    """

    code: int
    killed: bool
    tolerant: bool


def start(ranks: int, arguments: Sequence[str], told: Callable[[], bool] = lambda: False) -> Exit:
    """Run ``hpcrefine`` with these arguments on some ranks; say how they ended.

    Signals that ask this process to end are passed on; SIGUSR1 not before all ranks listen, since
    it would end those that do not.

    Parameters
    ----------
    ranks : int
        How many, the master included.
    arguments : sequence of str
        Of each of them.
    told : callable, optional
        Says whether this process has had SIGUSR1 before it listened here.

    Raises
    ------
    InputError
        If there is no launcher.
    """
    launcher = find_launcher()
    command = launcher.command(ranks, [sys.executable, "-m", "hpcrefine", *arguments])
    with tempfile.NamedTemporaryFile(prefix="hpcrefine-", delete=False) as starting:
        environment = launcher.environment(ranks) | {_STARTING_VARIABLE: starting.name}
    child = subprocess.Popen(command, env=environment)
    asked: list[int] = []
    deaf = {signal.SIGUSR1}

    def pass_on(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        if number not in deaf:
            child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, pass_on)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the child as well
    _wait_for_ranks(child, Path(starting.name))
    deaf.clear()
    if signal.SIGUSR1 in asked or told():
        child.send_signal(signal.SIGUSR1)
    code = child.wait()
    killed = not asked and _signal_in(code) in _DEADLY
    return Exit(code if code in (0, 2, ENDED_EARLY) else 1, killed, launcher.tolerant)


def _wait_for_ranks(child: subprocess.Popen[bytes], starting: Path) -> None:
    """Wait until the ranks have come up, as :func:`has_started` says, or have ended."""
    until = time.monotonic() + _STARTING  # rank 0 may be where it does not see the file
    while child.poll() is None and starting.exists() and time.monotonic() < until:
        time.sleep(_STARTING / 1000)
    starting.unlink(missing_ok=True)


def has_started() -> None:
    """Tell :func:`start`, on rank 0, that all ranks are there and listen to signals."""
    name = os.environ.get(_STARTING_VARIABLE)
    if name:
        with contextlib.suppress(OSError):
            Path(name).unlink()


def _signal_in(code: int) -> int:
    """Return the signal that a launcher's exit code tells of, as shells do, or MPICH's."""
    return code - 128 if code > 128 else code
