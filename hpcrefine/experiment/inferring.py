"""One job of a run of a network, measured: its upgrades, their check, its rows."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpcrefine.codes import DecodeError
from hpcrefine.ending import Ending
from hpcrefine.errors import InputError, LostError
from hpcrefine.experiment.allcores import unbound
from hpcrefine.experiment.conditions import Conditions
from hpcrefine.experiment.measuring import Measured
from hpcrefine.experiment.progress import Progress
from hpcrefine.experiment.refinable import Refinable, Workshop
from hpcrefine.experiment.rows import Row, task_rows
from hpcrefine.experiment.turns import InferenceTurn
from hpcrefine.experiment.upgraderows import Step, Truth, Whole, missing_row, no_tasks
from hpcrefine.inference.evaluate import evaluate
from hpcrefine.inputs import samples
from hpcrefine.job import ADAPTIVE, ALL, InferenceJob, Setting

if TYPE_CHECKING:
    from hpcrefine.cluster.inference import Inference, Upgraded
    from hpcrefine.cluster.pool import Pool


class CutError(Exception):
    """An evaluation was cut in its midst."""


class Inferring:
    """A network and its samples, with what is needed to refine and to check scores.

    Parameters
    ----------
    job : InferenceJob
        What is run.
    pool : Pool
        On rank 0, its kernel loaded.
    elapsed : float
        Seconds of the run before its first job here: 0, or the end of what is resumed.
    ending : Ending, optional
        What the run is asked; default: nothing.

    Raises
    ------
    InputError
        If network or samples are wrong, or the job asks for faults of more workers than there are.
    """

    def __init__(
        self,
        job: InferenceJob,
        pool: "Pool",
        elapsed: float = 0.0,
        ending: Ending | None = None,
    ) -> None:
        self._job, self._pool, self._elapsed = job, pool, elapsed
        self._ending = ending or Ending()
        self._origin: float | None = None
        self._conditions = Conditions(job, pool)
        samples.check(job)
        self._network = samples.read_network(job)
        self._samples = samples.read(job, "samples", self._network)
        self._oneshot = float(sum(self._network.operations().values())) * len(self._samples.images)
        self._ready: dict[str, Refinable] = {}

    def dry_run(self, progress: Progress) -> None:
        """Make all settings ready; mistakes in them come up before a record is begun."""
        calibration = samples.read(self._job, "calibration", self._network)
        shop = Workshop(self._job, self._network, self._samples, calibration, progress.note)
        self._ready = {label: shop.make(label, setting) for label, setting in self._job.settings}
        for label, setting in self._job.settings:
            with self._start(setting, self._ready[label]):
                pass
        self._pool.settle()

    def measure(self, number: int, turn: InferenceTurn) -> Measured:
        """Run one job to its end, or until it is lost or cut."""
        self._conditions.inject(self._job.faults.stragglers)
        self._conditions.guard()
        if self._origin is None:
            self._origin = self._pool.clock() - self._elapsed
        ran = self._run_whole() if turn.setting is None else self._run_layered(turn, turn.setting)
        known = self._ready[turn.variant if turn.setting else ADAPTIVE].known
        truth = Truth(self._samples.labels, known.final, self._oneshot)
        inference = ran.inference
        fates = no_tasks if inference is None else inference.fates
        missing = [missing_row(number, upgrade, fates) for upgrade in ran.missing]
        first = turn.repeat == 0 and not turn.warmup  # predictions of others are the same
        return Measured(
            job=self._job_row(number, turn, ran, self._origin),
            upgrades=[*truth.rows(number, ran.steps, fates), *missing],
            tasks=task_rows(number, inference) if inference and self._job.record.tasks else [],
            events=self._conditions.news(number, self._origin),
            predictions=truth.predictions(number, ran.steps) if first and ran.steps else None,
            loss=ran.loss,
        )

    def _run_whole(self) -> "_Ran":
        steps: list[Whole] = []
        with unbound() as threads, contextlib.suppress(CutError):
            start = self._pool.clock()
            images = self._samples.images
            scores = evaluate(self._network, images, look=self._look, threads=threads)
            steps.append(Whole(scores, self._pool.clock() - start, self._oneshot))
        end = start + steps[0].seconds if steps else self._pool.clock()
        return _Ran(start, end, steps)

    def _look(self, name: str, values: NDArray[np.float32]) -> None:
        if self._ending.cuts():
            raise CutError

    def _run_layered(self, turn: InferenceTurn, setting: Setting) -> "_Ran":
        inference: Inference | None = None
        steps: list[Upgraded] = []
        loss, ended, missing = "", False, range(0)
        start = self._pool.clock()
        try:
            inference = self._start(setting, self._ready[turn.variant])
            start, inference.cut = inference.start, self._ending.cuts
            for step in inference:
                steps.append(step)
                if ended := step.last or (turn.variant != ALL and self._is_enough(step)):
                    break
            if not ended:
                missing = range(len(steps), setting.precision.upgrades)
        except (InputError, LostError, DecodeError) as error:
            loss = str(error)
        end = start + steps[-1].seconds if ended else self._pool.clock()
        self._pool.settle()
        return _Ran(start, end, steps, missing, loss, inference)

    def _start(self, setting: Setting, ready: Refinable) -> "Inference":
        code, schedule = self._job.code, setting.schedule
        options: dict[str, Any] = {"block": schedule.block, "deadline": schedule.deadline}
        if schedule.distribute == "products":
            options |= {"code": code.scheme, "tasks": code.tasks, "redundancy": code.redundancy}
            options |= {"survive": code.survive, "verify": code.verify}
        try:
            return self._pool.infer(
                ready.network,
                self._samples.images,
                rule=ready.rule,
                distribute=schedule.distribute,
                **options,
            )
        except InputError as error:
            raise InputError(f"{self._job.path}: {error}") from None

    def _is_enough(self, step: "Upgraded") -> bool:
        stop = self._job.stop
        if stop is None:
            return False
        by_share = stop.decided is not None and np.mean(step.decided) >= stop.decided
        return bool(by_share) or step.upgrade == stop.upgrade

    def _job_row(self, number: int, turn: InferenceTurn, ran: "_Ran", origin: float) -> Row:
        images, setting, code = self._samples.images, turn.setting, self._job.code
        deadline = setting.schedule.deadline if setting else None
        coded = setting is not None and setting.schedule.distribute == "products"
        ready = self._ready.get(turn.variant)
        sent, received = ran.inference.traffic if ran.inference else (0, 0)
        return {
            "job": number,
            **{"variant": turn.variant, "repeat": turn.repeat, "warmup": turn.warmup},
            **{"n": len(images), "k": images[0].size, "p": self._network.classes},
            **dict.fromkeys(("arrival", "start"), ran.start - origin),
            "end": ran.end - origin,
            "deadline": np.nan if deadline is None else deadline,
            "status": ran.status,
            "verdict": ready.known.verdict(ready.rule, ran.steps) if ready else "unchecked",
            "scheme": code.scheme if coded else "",
            "stragglers": self._job.faults.stragglers,
            "dead": self._pool.workers - len(self._pool.roster.usable),
            **{"sent_bytes": sent, "received_bytes": received},
            "split": "uniform",
            "redundancy": code.redundancy if coded else 1.0,
            "rate": np.nan,
        }


@dataclass(frozen=True)
class _Ran:
    """How a job went: its beginning and end on the pool's clock, and what it gave."""

    start: float
    end: float
    steps: Sequence[Step]
    missing: Sequence[int] = ()  # upgrades that the deadline cost, or a cut
    loss: str = ""
    inference: "Inference | None" = None

    @property
    def status(self) -> str:
        if self.loss:
            return "lost"
        return "done" if self.steps and self.steps[-1].decided.all() else "stopped"
