"""What the jobs of a stream ask of random workers: units, tasks, and how large these are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcrefine.codes import make_code
from hpcrefine.errors import InputError
from hpcrefine.experiment.turns import Turn
from hpcrefine.inputs import operands
from hpcrefine.job import Job
from hpcrefine.resolution.layers import layering
from hpcrefine.schedule.loads import Moments
from hpcrefine.schedule.plan import Plan, make_plan
from hpcrefine.schedule.split import Split

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Workload:
    """A product in tasks.

    Attributes
    ----------
    plan : Plan
        Layers, units, tasks and who computes what.
    costs : ndarray of float, shape (N,)
        Digit products of full size that each task costs for each mini-job of its unit.
    operations : float
        Operations of a digit product.
    priced : bool
        Whether combinations of blocks cost more than plain ones.
    floating : bool
        Whether it is one-shot in float64: one product of one digit, so to speak.
    """

    plan: Plan
    costs: Floats
    operations: float
    priced: bool
    floating: bool

    def cost(self, task: int) -> float:
        """Return what a task costs, those of rateless codes beyond N included."""
        if task < len(self.costs):
            return float(self.costs[task])
        return _cost(self.plan, task, priced=self.priced)

    @property
    def cells(self) -> Integers:
        """Mini-jobs of each unit, shape (U,)."""
        return np.array([len(unit.minijobs) for unit in self.plan.units])

    @property
    def firsts(self) -> Integers:
        """The first unit of each layer, shape (L,)."""
        layers = [unit.layer for unit in self.plan.units]
        return np.array([layers.index(layer.index) for layer in self.plan.layers])

    @property
    def minijobs(self) -> Integers:
        """Mini-jobs of each layer, shape (L,)."""
        return np.array([len(layer.minijobs) for layer in self.plan.layers])

    @property
    def size(self) -> float:
        """Digit products of a task, on the average."""
        return float(self.cells.mean() * self.costs.mean())

    @property
    def share(self) -> Floats:
        """Operations up to each layer over those of one-shot, shape (L,)."""
        return np.array([layer.share for layer in self.plan.layers])


def shape(job: Job) -> Shape | None:
    """Return n, k, p of each product, None if the job says operations instead.

    Raises
    ------
    InputError
        If the operands do not fit, see :func:`hpcrefine.inputs.operands.shape`.
    """
    if job.operands.operations is not None:
        return None
    n, k, p = operands.shape(job)
    columns = job.stream.columns if job.stream else None
    return n, k, columns or p


def workload(
    job: Job, turn: Turn, workers: int, shape: Shape | None, moments: Moments | None = None
) -> Workload:
    """Cut the product of a turn into tasks.

    With operands each task costs what it costs on real ranks, combinations of blocks more than
    plain ones. With ``operations`` alone it is the published model: a task costs 1/K of its unit,
    combinations no more than others.

    Parameters
    ----------
    job : Job
        The job.
    turn : Turn
        Which code, in which layers.
    workers : int
        Number P of workers.
    shape : tuple of int, optional
        n, k, p, from :func:`shape`.
    moments : Moments, optional
        What is known of the workers' times of a task.

    Raises
    ------
    InputError
        If the code makes more parts of an operand than there are rows or columns.
    """
    resolution, floating = job.resolution, turn.code is None
    code = make_code("uncoded", job.code.tasks) if turn.code is None else turn.code.code()
    digits = 1 if floating else resolution.digits
    layers = layering(
        "whole" if turn.whole else resolution.layering,
        digits,
        None if floating else resolution.truncate,
    )
    try:
        plan = make_plan(
            shape or (code.tasks, code.tasks, code.tasks),
            layers,
            code,
            workers,
            digit_bits=resolution.digit_bits,
            unit="layer" if turn.whole or turn.code is None else turn.code.unit,
            split="uniform"
            if floating
            else Split(turn.split, job.schedule.gamma, job.schedule.prefetch),
            moments=moments,
        )
    except InputError as error:
        raise InputError(f"{job.path}: {error}") from None
    total = float(2 * np.prod(shape, dtype=np.float64)) if shape else job.operands.operations or 0.0
    priced = shape is not None
    costs = np.array([_cost(plan, task, priced=priced) for task in range(code.coded)])
    return Workload(plan, costs, total / digits**2, priced, floating)


def _cost(plan: Plan, task: int, *, priced: bool) -> float:
    return plan.task_cost(task) if priced else 1 / plan.code.tasks
