"""Words that run a job file: ``run`` and ``simulate``."""

import argparse
import contextlib
import math
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpcrefine import launch
from hpcrefine.cli.parser import add_overrides
from hpcrefine.ending import GRACE, listen
from hpcrefine.errors import InputError

if TYPE_CHECKING:
    from hpcrefine.cli.parser import Words
    from hpcrefine.experiment.run import Outcome, Output
    from hpcrefine.job import AnyJob

_DYING = 5.0  # seconds by which ranks may outlive their launcher: it does not wait for other nodes'
_THREADS_KEY = "kernel.threads"
_MOST_REPORTED = 300_000  # simulated jobs: tables of more take longer than to simulate them


def add(words: "Words") -> None:
    """Add the words to the command line."""
    run = words.add_parser(
        "run",
        help="run a job file and leave an HDF5 record",
        epilog="SIGUSR1 ends a run early: after the present job, or once that has taken longer "
        "than --grace, or at a second SIGUSR1, in its midst. The record holds what there is, to go "
        "on with by --resume; the exit code is 3.",
    )
    _add_job(run)
    run.add_argument(
        *("-n", "--ranks"),
        type=int,
        help="ranks to start, master included (default: SLURM_NTASKS, else "
        f"{launch.DEFAULT_RANKS}); not used when mpiexec or srun started hpcrefine",
    )
    existing = run.add_mutually_exclusive_group()
    existing.add_argument("--force", action="store_true", help="replace an existing record")
    existing.add_argument(
        "--resume",
        action="store_true",
        help="go on with the record of an interrupted run, named by -o or the job file",
    )
    run.add_argument(
        "--grace",
        type=float,
        default=GRACE,
        metavar="SECONDS",
        help="how long the present job may take after SIGUSR1 (default: %(default)g)",
    )
    run.set_defaults(call=_run)

    simulate = words.add_parser("simulate", help="run a job file with random workers, without MPI")
    _add_job(simulate)
    simulate.add_argument(
        *("-n", "--ranks"),
        type=int,
        help="ranks that there would be, master included (default: as [workers] says, else "
        f"SLURM_NTASKS, else {launch.DEFAULT_RANKS})",
    )
    simulate.add_argument("--force", action="store_true", help="replace an existing record")
    simulate.add_argument(
        "--calibrate",
        type=Path,
        metavar="RECORD",
        help="take the times of tasks from the record of a run of the same job",
    )
    simulate.set_defaults(call=_simulate, resume=False)


def _add_job(word: argparse.ArgumentParser) -> None:
    """Add what says a job and where its record goes."""
    word.add_argument("job", metavar="JOB.toml")
    add_overrides(word)
    word.add_argument("-o", "--output", type=Path, metavar="FILE", help="the record to write")


def _run(options: argparse.Namespace) -> int:
    if not 0 <= options.grace < math.inf:
        raise InputError(f"--grace: found {options.grace:g}, expected 0 or more seconds")
    listen().grace = options.grace
    launch.prepare_process(_threads_asked_for(options.job, options.overrides))
    return _run_as_rank(options) if launch.under_mpi() else _run_from_shell(options)


def _run_from_shell(options: argparse.Namespace) -> int:
    """Check what can be checked without MPI, start the ranks, look after the record."""
    ranks = launch.default_ranks() if options.ranks is None else options.ranks
    launch.check_count(ranks)
    _, output = _load(options)
    there_before = _identity(output.path)
    command = ["run", options.job, "-o", str(output.path), "--grace", str(options.grace)]
    command += [f"--{word}" for word in ("force", "resume") if getattr(options, word)]
    for override in options.overrides:
        command += ["--set", override]
    ending = launch.start(ranks, command, lambda: listen().asked)
    if ending.code == 0 and _left_open(output.path):  # some launchers say so when told to end
        ending = replace(ending, code=1)
    if ending.code == 1 and _identity(output.path) not in (None, there_before):
        _rescue(output.path, ending)
    if options.output is None:
        with contextlib.suppress(OSError):
            output.path.parent.rmdir()  # if the run was refused and we made it for nothing
    return ending.code


def _left_open(path: Path) -> bool:
    from hpcrefine.record.state import left_open

    try:
        return left_open(path)
    except (InputError, OSError):
        return False


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _rescue(output: Path, ending: launch.Exit) -> None:
    """Make what a broken run left openable by any HDF5 reader, and say what it holds."""
    from hpcrefine.record.reader import read, seal
    from hpcrefine.record.state import is_live

    until = time.monotonic() + _DYING
    with contextlib.suppress(InputError):
        while is_live(output) and time.monotonic() < until:
            time.sleep(_DYING / 100)
        if not read(output).complete:
            seal(output)
            finished = len(read(output).jobs)
            why = "a rank died" if ending.killed else "the run ended early"
            print(
                f"hpcrefine: {why}; {output} holds its {finished} finished jobs; "
                "go on with --resume",
                file=sys.stderr,
            )
            if ending.killed and not ending.tolerant:
                print(f"hpcrefine: {launch.TOLERANCE_HINT}", file=sys.stderr)


def _run_as_rank(options: argparse.Namespace) -> int:
    from hpcrefine.cluster.leaving import leave_last
    from hpcrefine.cluster.pool import Pool

    try:
        with Pool() as master:
            if master is None:
                return 0
            launch.has_started()
            launch.check_ranks(master.size)
            from hpcrefine.experiment.progress import Progress
            from hpcrefine.experiment.run import run

            job, output = _load(options)
            outcome = run(job, master, output, Progress(job.job.name), listen())
    except InputError:
        leave_last(2)
        raise
    if not outcome.ended:
        from hpcrefine.report import report

        print(report([outcome.path]), end="", flush=True)
    if outcome.wrong:
        print(f"hpcrefine: {outcome.wrong} jobs gave wrong results", file=sys.stderr)
    if outcome.lost:
        why = outcome.loss or "before this run went on"
        print(f"hpcrefine: {outcome.lost} of {outcome.jobs} jobs were lost: {why}", file=sys.stderr)
    if outcome.ended:
        print(f"hpcrefine: {_told(outcome)}", file=sys.stderr)
    code = launch.ENDED_EARLY if outcome.ended else int(bool(outcome.wrong or outcome.lost))
    if code:
        leave_last(code)
    return code


def _told(outcome: "Outcome") -> str:
    """Say what there is of a run that ended early."""
    cut = ", the last of them cut short" if outcome.cut else ""
    return (
        f"ended early as asked; {outcome.path} holds {outcome.jobs} jobs{cut}; go on with --resume"
    )


def _load(options: argparse.Namespace) -> "tuple[AnyJob, Output]":
    """Load the job file and check it, what it computes with, and the place of the record."""
    from hpcrefine.experiment.run import check
    from hpcrefine.jobfile import load

    job = load(options.job, options.overrides)
    check(job)
    return job, _output(job, options)


def _output(job: "AnyJob", options: argparse.Namespace) -> "Output":
    """Check the place of the record."""
    from hpcrefine.experiment.run import Output, check_resumable, default_output
    from hpcrefine.record.writer import check_output

    named = options.output is not None or job.record.file is not None
    output = Output(options.output or default_output(job), options.force, options.resume)
    if output.resume:
        if not named:
            raise InputError("--resume: found no record named, expected -o FILE")
        check_resumable(job, output.path)
        return output
    folder = output.path.parent
    if not named:
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{folder}: found {error.strerror}, expected a folder for records"
            ) from None
    check_output(output.path, output.force)
    return output


def _threads_asked_for(path: str, overrides: Sequence[str]) -> int | None:
    """Look up ``[kernel] threads`` without the job model, which worker ranks do not import."""
    found: object = None
    with contextlib.suppress(OSError, ValueError):
        section = tomllib.loads(Path(path).read_text(encoding="utf-8")).get("kernel")
        found = section.get("threads") if isinstance(section, dict) else None
    for override in overrides:
        key, _, value = override.partition("=")
        if key.strip() == _THREADS_KEY and value.strip().isdecimal():
            found = int(value)
    return found if isinstance(found, int) and found > 0 else None


def _simulate(options: argparse.Namespace) -> int:
    if launch.under_mpi():
        raise InputError(
            "simulate: found mpiexec or srun, expected a call without: it has no ranks"
        )
    launch.prepare_process()
    from hpcrefine.experiment.progress import Progress
    from hpcrefine.jobfile import load_product
    from hpcrefine.report import report
    from hpcrefine.simulate.calibration import Calibration
    from hpcrefine.simulate.simulation import Simulation, count_workers, record

    job = load_product(options.job, options.overrides)
    calibration = options.calibrate and Calibration(options.calibrate)
    workers = count_workers(job, options.ranks, launch.default_ranks(), calibration)
    simulation = Simulation(job, workers, calibration)
    output = _output(job, options)
    jobs = record(simulation, output, Progress(job.job.name))
    if jobs > _MOST_REPORTED:
        print(f"{output.path}: {jobs} jobs; hpcrefine report {output.path} makes tables of them")
    else:
        print(report([output.path]), end="", flush=True)
    return 0
