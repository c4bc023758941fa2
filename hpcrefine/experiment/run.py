"""Run a job file on a pool: variants interleaved, every result verified, all of it recorded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from hpcrefine.ending import Ending
from hpcrefine.errors import InputError
from hpcrefine.experiment.inferring import Inferring
from hpcrefine.experiment.measuring import Measured, Measuring
from hpcrefine.experiment.progress import Progress
from hpcrefine.experiment.streaming import Streaming
from hpcrefine.experiment.turns import InferenceTurn, Turn, inference_turns, turns
from hpcrefine.inference.precision import LIMB_PEAK
from hpcrefine.inputs import operands, samples
from hpcrefine.job import AnyJob, InferenceJob, Job
from hpcrefine.jobfile import without_sweep
from hpcrefine.kernels import Peaks
from hpcrefine.record import environment
from hpcrefine.record.reader import read
from hpcrefine.record.writer import RecordWriter, load_interrupted

if TYPE_CHECKING:
    from hpcrefine.cluster.pool import Pool

T = TypeVar("T")
_RunAll = Callable[[RecordWriter, Progress], tuple[str, bool]]


@dataclass(frozen=True)
class Output:
    """Where a run leaves its record.

    Attributes
    ----------
    path : Path
        The file.
    force : bool
        Whether an existing record is replaced.
    resume : bool
        Whether the run goes on from the record that is there.
    """

    path: Path
    force: bool = False
    resume: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a run left.

    Attributes
    ----------
    path : Path
        The record.
    jobs, wrong, lost : int
        Jobs in it, and how many of them gave a wrong result or were lost.
    loss : str
        Why the last one was lost; empty where none was.
    ended : bool
        Whether it ended early, as it was asked to.
    cut : bool
        Whether its last job did too.
    """

    path: Path
    jobs: int
    wrong: int
    lost: int
    loss: str
    ended: bool
    cut: bool


def check(job: AnyJob) -> None:
    """Check what a job computes with, as far as headers tell.

    Raises
    ------
    InputError
        If it cannot be run.
    """
    if isinstance(job, InferenceJob):
        samples.check(job)
    else:
        operands.check(job)


def default_output(job: AnyJob) -> Path:
    """Return ``results/NAME-TIME.h5``, or the file that the job names."""
    if job.record.file is not None:
        return Path(job.record.file)
    return Path("results") / f"{job.job.name}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.h5"


def check_resumable(job: AnyJob, path: Path) -> None:
    """Refuse a record that a run of this job cannot go on with.

    Raises
    ------
    InputError
        If there is no such record, its run has not been interrupted, or it was of another job.
    """
    text = load_interrupted(path).attributes["job"]
    if text != job.text and without_sweep(text) != without_sweep(job.text):
        raise InputError(
            f"{path}: found the record of another job, expected one of {job.path} as it is now, "
            "with the same --set"
        )


def run(
    job: AnyJob,
    pool: "Pool",
    output: Output,
    progress: Progress,
    ending: Ending | None = None,
) -> Outcome:
    """Run a job file.

    A job that is lost is recorded as such, and the run goes on with the next. Where the run is
    asked to end, the record stays incomplete.

    Parameters
    ----------
    job : Job or InferenceJob
        What to run.
    pool : Pool
        On rank 0.
    output : Output
        The record to write.
    progress : Progress
        Where people see how far it is.
    ending : Ending, optional
        What it is asked; default: nothing.

    Raises
    ------
    InputError
        If operands, networks, samples, options or the output are wrong.
    """
    library = str(job.kernel.library) if job.kernel.library else None
    workers = pool.configure(job.kernel.name, library, _peaks(job))
    for warning in sorted({row["warning"] for row in workers if row["warning"]}):
        progress.note(f"warning: not the fastest kernel: {warning}")
    elapsed = float(read(output.path).jobs["end"].max(initial=0.0)) if output.resume else 0.0
    pool.roster.ending = ending = ending or Ending()
    run_all = _made_ready(job, pool, elapsed, progress, ending)
    with _writer(job, pool, output, workers) as writer, progress:
        loss, ended = run_all(writer, progress)
        writer.close(complete=not ended)
    jobs = read(output.path).jobs
    wrong, lost = (jobs["verdict"] == "wrong").sum(), (jobs["status"] == "lost").sum()
    return Outcome(output.path, len(jobs), int(wrong), int(lost), loss, ended, ending.cut)


def _peaks(job: AnyJob) -> Peaks | None:
    """Return bounds on what workers multiply; None: any digits."""
    if isinstance(job, InferenceJob):
        ways = {setting.schedule.distribute for _, setting in job.settings}
        return Peaks(255, LIMB_PEAK) if ways == {"samples"} else None
    return None


def _made_ready(
    job: AnyJob, pool: "Pool", elapsed: float, progress: Progress, ending: Ending
) -> _RunAll:
    """Return what runs all turns; it says why the last job lost was, and if it ended early.

    Mistakes in what is computed come up here, before a record is begun.
    """
    if isinstance(job, InferenceJob):
        inferring = Inferring(job, pool, elapsed, ending)
        inferring.dry_run(progress)
        plan = inference_turns(job)
        return partial(_run_jobs, plan, inferring.measure, _label_inference, ending)
    a, b = operands.load_pair(job)
    a = pool.place(a)  # one after the other: each is there twice for a moment
    b = pool.place(b)
    if job.stream is not None:
        streaming = Streaming(job, pool, a, b, elapsed, ending)
        streaming.dry_run()
        return partial(_run_streams, job, streaming, ending)
    measuring = Measuring(job, pool, a, b, elapsed, ending)
    measuring.dry_run()
    return partial(_run_jobs, turns(job), measuring.measure, partial(_label, job), ending)


def _run_jobs(
    plan: Sequence[T],
    measure: Callable[[int, T], Measured],
    label: Callable[[T], str],
    ending: Ending,
    writer: RecordWriter,
    progress: Progress,
) -> tuple[str, bool]:
    loss = ""
    for number, turn in enumerate(plan):
        if number in writer.finished:
            continue
        if ending.asked:
            return loss, True
        measured = measure(number, turn)
        measured.write(writer)
        loss = measured.loss or loss
        progress.step(number + 1, len(plan), f"{label(turn)}: {_told(measured)}")
    return loss, ending.cut


def _run_streams(
    job: Job, streaming: Streaming, ending: Ending, writer: RecordWriter, progress: Progress
) -> tuple[str, bool]:
    plan, loss, undone = turns(job), "", False
    total = streaming.length * len(plan)
    for number, turn in enumerate(plan):
        first = number * streaming.length

        def step(over: int, first: int = first, turn: Turn = turn) -> None:
            progress.step(first + over, total, f"{_label(job, turn)}: {over} jobs", often=True)

        loss = streaming.run(first, turn, writer, step) or loss
        undone |= streaming.next_job(first, turn, writer) is not None
    return loss, undone or ending.cut


def _writer(
    job: AnyJob, pool: "Pool", output: Output, workers: Sequence[dict[str, Any]]
) -> RecordWriter:
    columns = ("rank", "host", "pid", "cpus", "threads", "kernel")
    rows = [{name: row[name] for name in columns} for row in workers]
    if output.resume:
        return RecordWriter.resume(output.path, workers=rows, locking=job.record.locking)
    facts = environment.collect(
        kernel=", ".join(sorted({row["kernel"] for row in workers})),
        **pool.mpi,
        threads=workers[0]["threads"],
        extra={"kernel_warning": "; ".join(sorted({row["warning"] for row in workers}))},
    )
    return RecordWriter(
        output.path,
        job_text=job.text,
        kind="measured",
        environment=facts,
        workers=rows,
        force=output.force,
        locking=job.record.locking,
    )


def _told(measured: Measured) -> str:
    upgrades = [row for row in measured.upgrades if row["met_deadline"]]
    times = "  ".join(f"{row['ready']:.3f}" for row in [*measured.layers, *upgrades])
    known = [row["accuracy"] for row in upgrades if not np.isnan(row["accuracy"])]
    right = "  ".join(f"{100 * accuracy:.2f}" for accuracy in known)
    status = measured.job["status"]
    end = "" if status == "done" else status
    return ", ".join(filter(None, (times and f"{times} s", right and f"{right} % right", end)))


def _label(job: Job, turn: Turn) -> str:
    """Say which turn it is: what distinguishes it from others of the run."""
    ratios = {code.redundancy for _, code in job.codes}
    parts = [
        turn.variant,
        f"with {turn.stragglers} stragglers" if len(job.stragglers) > 1 else "",
        f"{turn.split} split" if len(job.splits) > 1 else "",
        f"redundancy {turn.code.redundancy:g}" if len(ratios) > 1 and turn.code else "",
        f"deadline {turn.deadline:g} s" if len(job.deadlines) > 1 else "",
        f"{'warm-up' if turn.warmup else 'repeat'} {turn.repeat}",
    ]
    return " ".join(filter(None, parts))


def _label_inference(turn: InferenceTurn) -> str:
    return f"{turn.variant} {'warm-up' if turn.warmup else 'repeat'} {turn.repeat}"
