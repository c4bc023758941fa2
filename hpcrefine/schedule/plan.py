"""The plan of a product: layers, the units that are cut into tasks, and who computes what."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hpcrefine.codes import Blocks, Code
from hpcrefine.errors import InputError
from hpcrefine.kernels import result_dtype
from hpcrefine.resolution.layers import Layer, MiniJob, significances
from hpcrefine.schedule.split import SPLITS, deal, together, worst_loss

UNITS = ("layer", "minijob")


@dataclass(frozen=True)
class Unit:
    """What is cut into K tasks: a whole layer, or one mini-job of it.

    Attributes
    ----------
    index, layer : int
        Place of the unit and of the layer it belongs to.
    minijobs : tuple of (int, int)
        Digit products of the unit.
    significances : tuple of int
        Values of i + j among them; a result has one integer matrix for each.
    """

    index: int
    layer: int
    minijobs: tuple[MiniJob, ...]

    @cached_property
    def significances(self) -> tuple[int, ...]:
        """Distinct values of i + j, ascending."""
        return significances(self.minijobs)


@dataclass(frozen=True)
class Plan:
    """Who computes which coded task of which unit.

    Attributes
    ----------
    shape : (int, int, int)
        Rows n of A, inner dimension k, columns p of B.
    digit_bits : int
        Bits d of a digit.
    layers : tuple of Layer
        What is released together.
    units : tuple of Unit
        What is coded together, in the order of computation.
    code : Code
        K blocks into N tasks.
    owners : tuple of int
        Worker (from 0) of each of the N coded tasks, the same in every unit.
    """

    shape: tuple[int, int, int]
    digit_bits: int
    layers: tuple[Layer, ...]
    units: tuple[Unit, ...]
    code: Code
    owners: tuple[int, ...]

    @cached_property
    def blocks(self) -> Blocks:
        """Rows of A in K blocks."""
        return Blocks(self.shape[0], self.code.tasks)

    @property
    def digits(self) -> int:
        """Digit planes that are needed of each operand."""
        return 1 + max(max(cell) for unit in self.units for cell in unit.minijobs)

    @property
    def digit_peak(self) -> int:
        """Largest magnitude of a digit."""
        return 1 << (self.digit_bits - 1)

    def rows(self, task: int) -> int:
        """Rows of a task's result."""
        block = self.code.block(task)
        if block is None:
            return self.blocks.height
        rows = self.blocks.slices[block]
        return int(rows.stop - rows.start)

    def result_dtype(self, unit: Unit, task: int) -> np.dtype[np.signedinteger]:
        """Integer type that holds every sum in a task's result."""
        together = max(
            sum(i + j == significance for i, j in unit.minijobs)
            for significance in unit.significances
        )
        peak = self.code.peak(task, self.digit_peak) * self.digit_peak
        return result_dtype(self.shape[1], together, peak)

    def digit_products(self, layer: int) -> float:
        """Digit products of full size that a layer costs, redundancy and limbs included."""
        minijobs = len(self.layers[layer].minijobs)
        limbs = sum(self.code.limbs(task) for task in range(self.code.coded))
        return minijobs * limbs / self.code.tasks


def make_plan(
    shape: tuple[int, int, int],
    layers: tuple[Layer, ...],
    code: Code,
    workers: int,
    *,
    digit_bits: int = 8,
    unit: str = "layer",
    split: str = "uniform",
    survive: int = 0,
) -> Plan:
    """Cut layers into units and deal the coded tasks to the workers.

    Parameters
    ----------
    shape : (int, int, int)
        n, k, p.
    layers : tuple of Layer
        From :func:`hpcrefine.resolution.layers.layering`.
    code : Code
        How each unit is coded.
    workers : int
        Number of workers.
    digit_bits : int
        Bits of a digit.
    unit : {"layer", "minijob"}
        What is cut into K tasks.
    split : {"uniform"}
        Load split.
    survive : int
        Workers whose loss must leave every unit recoverable.

    Raises
    ------
    InputError
        If K exceeds the rows of A, or there are fewer workers than the code needs.
    """
    if unit not in UNITS:
        raise InputError(f"[code] unit: found {unit!r}, expected one of {', '.join(UNITS)}")
    if split not in SPLITS:
        raise InputError(f"[schedule] split: found {split!r}, expected one of {', '.join(SPLITS)}")
    if code.tasks > shape[0]:
        raise InputError(
            f"[code] tasks: found K = {code.tasks} tasks for {shape[0]} rows of a, expected at "
            "most one task a row"
        )
    if workers < code.min_workers:
        raise InputError(
            f"ranks: found {workers} workers, expected at least {code.min_workers} for the code "
            f"{code.name}"
        )
    counts = SPLITS[split](code.coded, workers)
    owners = deal(counts) if code.coded > code.tasks else together(counts)
    _check_survival(code, owners, workers, survive)
    return Plan(shape, digit_bits, layers, _units(layers, unit), code, owners)


def _units(layers: tuple[Layer, ...], unit: str) -> tuple[Unit, ...]:
    units: list[Unit] = []
    for layer in layers:
        parts = [layer.minijobs] if unit == "layer" else [(cell,) for cell in layer.minijobs]
        for minijobs in parts:
            units.append(Unit(len(units), layer.index, minijobs))
    return tuple(units)


def _check_survival(code: Code, owners: tuple[int, ...], workers: int, survive: int) -> None:
    if survive < 0:
        raise InputError(f"[code] survive: found {survive}, expected 0 or more workers")
    spare = code.coded - code.tasks
    if survive and worst_loss(owners, workers, survive) > spare:
        needed = workers + 1
        while worst_loss(deal(SPLITS["uniform"](code.coded, needed)), needed, survive) > spare:
            needed += 1
            if needed > code.coded:
                raise InputError(
                    f"[code] survive: found {survive}, but {spare} redundant tasks cannot replace "
                    "so many workers; expected a higher redundancy"
                )
        raise InputError(
            f"ranks: found {workers + 1}, expected at least {needed + 1} for the loss of {survive} "
            f"worker(s) to leave K = {code.tasks} of {code.coded} tasks"
        )
