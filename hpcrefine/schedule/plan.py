"""The plan of a product: layers, the units that are cut into tasks, and who computes what."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from hpcrefine.codes.base import Blocks, Code, Combination, growth, is_plain, limbs
from hpcrefine.errors import InputError
from hpcrefine.kernels import result_dtype
from hpcrefine.resolution.layers import Layer, MiniJob, significances
from hpcrefine.schedule.loads import Moments
from hpcrefine.schedule.split import Split, deal, together, uniform, worst_loss

UNITS = ("layer", "minijob")
_MOST_CHOICES = 5_000


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
class Operand:
    """One operand as a code cuts it.

    Attributes
    ----------
    rows, columns : Blocks
        Parts of its rows and of its columns.
    """

    rows: Blocks
    columns: Blocks

    def place(self, combination: Combination) -> tuple[slice, slice] | None:
        """Return where a plain block stands; None if it must be made: combined, or padded."""
        if not is_plain(combination):
            return None
        row, column = divmod(combination[0][0], self.columns.count)
        return self.rows.slices[row], self.columns.slices[column]

    def shape(self, combination: Combination) -> tuple[int, int, int]:
        """Return limbs, rows and columns of a digit plane of a combination."""
        place = self.place(combination)
        if place is None:
            return limbs(combination), self.rows.height, self.columns.height
        rows, columns = place
        return 1, rows.stop - rows.start, columns.stop - columns.start


@dataclass(frozen=True)
class PaddedOperand(Operand):
    """One whose inner dimension is cut: all its blocks are as large as the largest."""

    def place(self, combination: Combination) -> tuple[slice, slice] | None:
        """No block stands as it is."""
        return None


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
        Blocks of operands into N tasks.
    owners : tuple of int
        Worker (from 0) of each of the N coded tasks, the same in every unit; with a dynamic split
        only those that would be if all workers were alike.
    split : Split
        How tasks are shared out.
    """

    shape: tuple[int, int, int]
    digit_bits: int
    layers: tuple[Layer, ...]
    units: tuple[Unit, ...]
    code: Code
    owners: tuple[int, ...]
    split: Split

    @property
    def certain(self) -> bool:
        """Whether each block of the product comes from one worker known beforehand."""
        return self.code.certain and not self.split.dynamic

    def counts(self, workers: int) -> tuple[int, ...]:
        """Return how many tasks of a unit each of the workers gets."""
        return tuple(np.bincount(self.owners, minlength=workers).tolist())

    def held_by(self, worker: int) -> list[int]:
        """Return the tasks whose blocks of A a worker has of a resident operand.

        Only a uniform split stays as it is from product to product; with others a worker has all.
        """
        if self.split.name != "uniform":
            return list(range(self.code.coded))
        return [task for task, owner in enumerate(self.owners) if owner == worker]

    def with_owners(self, workers: int, moments: Moments | None) -> "Plan":
        """Return the plan with tasks dealt anew, as its split has it."""
        owners = _owners(self.code, self.split.counts(self.code.coded, workers, moments))
        return replace(self, owners=owners)

    def with_layers(
        self, shape: tuple[int, int, int], layers: tuple[Layer, ...], unit: str
    ) -> "Plan":
        """Return the plan of another product, coded and dealt in the same way."""
        _check_unit(unit)
        return replace(self, shape=shape, layers=layers, units=_units(layers, unit))

    @cached_property
    def left(self) -> Operand:
        """A as the code cuts it."""
        return self._operand(self.shape[0], self.code.grid.rows, left=True)

    @cached_property
    def right(self) -> Operand:
        """B as the code cuts it."""
        return self._operand(self.shape[2], self.code.grid.columns, left=False)

    def _operand(self, length: int, count: int, *, left: bool) -> Operand:
        inner = Blocks(self.shape[1], self.code.grid.inner)
        outer = Blocks(length, count)
        kind = Operand if inner.count == 1 else PaddedOperand
        return kind(outer, inner) if left else kind(inner, outer)

    @property
    def rows(self) -> Blocks:
        """Rows of the product in blocks."""
        return self.left.rows

    @property
    def columns(self) -> Blocks:
        """Columns of the product in blocks."""
        return self.right.columns

    def output(self, block: int) -> tuple[slice, slice]:
        """Return rows and columns of a block of the product."""
        row, column = divmod(block, self.columns.count)
        return self.rows.slices[row], self.columns.slices[column]

    @property
    def digits(self) -> int:
        """Digit planes that are needed of each operand."""
        return 1 + max(max(cell) for unit in self.units for cell in unit.minijobs)

    @property
    def digit_peak(self) -> int:
        """Largest magnitude of a digit."""
        return 1 << (self.digit_bits - 1)

    def result_shape(self, unit: Unit, task: int) -> tuple[int, int, int]:
        """Return significances, rows and columns of a task's result."""
        _, rows, _ = self.left.shape(self.code.left(task))
        _, _, columns = self.right.shape(self.code.right(task))
        return len(unit.significances), rows, columns

    def result_dtype(self, unit: Unit, task: int) -> np.dtype[np.signedinteger]:
        """Integer type that holds every sum in a task's result."""
        return self.dtype(unit, growth(self.code.left(task)) * growth(self.code.right(task)))

    def dtype(self, unit: Unit, grown: int) -> np.dtype[np.signedinteger]:
        """Integer type of a result whose combinations are so many times as large as digits."""
        return self._dtype(unit, self.left.columns.height, grown)

    def block_dtype(self, unit: Unit) -> np.dtype[np.signedinteger]:
        """Integer type that holds every sum in a block of the product."""
        return self._dtype(unit, self.shape[1], 1)

    def _dtype(self, unit: Unit, inner: int, grown: int) -> np.dtype[np.signedinteger]:
        together = max(
            sum(i + j == significance for i, j in unit.minijobs)
            for significance in unit.significances
        )
        return result_dtype(inner, together, grown * self.digit_peak**2)

    @property
    def task_size(self) -> float:
        """Mean digit products of full size in a task of a unit."""
        cells = sum(len(unit.minijobs) for unit in self.units) / len(self.units)
        return cells * self.code.cost / self.code.coded

    def task_cost(self, task: int) -> float:
        """Digit products of full size that a task costs for each mini-job, limbs included."""
        made = limbs(self.code.left(task)) * limbs(self.code.right(task))
        return made / math.prod(self.code.grid)

    def digit_products(self, layer: int) -> float:
        """Digit products of full size that a layer costs, redundancy and limbs included."""
        return len(self.layers[layer].minijobs) * self.code.cost


def make_plan(
    shape: tuple[int, int, int],
    layers: tuple[Layer, ...],
    code: Code,
    workers: int,
    *,
    digit_bits: int = 8,
    unit: str = "layer",
    split: str | Split = "uniform",
    moments: Moments | None = None,
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
    split : str or Split
        Load split.
    moments : Moments, optional
        What is known of the times of the workers' tasks.
    survive : int
        Workers whose loss must leave every unit recoverable.

    Raises
    ------
    InputError
        If a matrix has fewer rows or columns than the code cuts it into, or the loss of so many
        workers cannot be survived.
    """
    _check_unit(unit)
    split = Split.of(split)
    if survive and split.name != "uniform":
        raise InputError(
            f"[code] survive: found {survive} with split {split.name}, expected 0 (or the split "
            "uniform): a share that follows its worker may be more than others can replace"
        )
    if workers < 1:
        raise InputError(f"ranks: found {workers} workers, expected at least 1")
    _check_grid(code, shape)
    owners = _owners(code, split.counts(code.coded, workers, moments))
    _check_survival(code, owners, workers, survive)
    return Plan(shape, digit_bits, layers, _units(layers, unit), code, owners, split)


def _owners(code: Code, counts: Sequence[int]) -> tuple[int, ...]:
    """Deal tasks by count: neighbours to each worker, or what others can replace far apart."""
    if code.certain:
        return together(counts)
    return deal(counts, [code.group(task) for task in range(code.coded)])


def _check_unit(unit: str) -> None:
    if unit not in UNITS:
        raise InputError(f"[code] unit: found {unit!r}, expected one of {', '.join(UNITS)}")


def _units(layers: tuple[Layer, ...], unit: str) -> tuple[Unit, ...]:
    units: list[Unit] = []
    for layer in layers:
        parts = [layer.minijobs] if unit == "layer" else [(cell,) for cell in layer.minijobs]
        for minijobs in parts:
            units.append(Unit(len(units), layer.index, minijobs))
    return tuple(units)


def _check_grid(code: Code, shape: tuple[int, int, int]) -> None:
    names = ("rows of a", "columns of a", "columns of b")
    for parts, length, name in zip(code.grid, shape, names, strict=True):
        if parts > length:
            raise InputError(
                f"[code] tasks: found K = {code.tasks} tasks for {length} {name}, which "
                f"{code.name} would cut into {parts} parts; expected no more parts than that"
            )


def _check_survival(code: Code, owners: tuple[int, ...], workers: int, survive: int) -> None:
    if survive < 0:
        raise InputError(f"[code] survive: found {survive}, expected 0 or more workers")
    if survive == 0 or survives(code, owners, workers, survive):
        return
    for more in range(workers + 1, code.coded + 1):
        if survives(code, _owners(code, uniform(code.coded, more)), more, survive):
            raise InputError(
                f"ranks: found {workers + 1}, expected at least {more + 1} for the loss of "
                f"{survive} worker(s) to leave K = {code.tasks} of {code.coded} tasks"
            )
    raise InputError(
        f"[code] survive: found {survive}, but {code.coded - code.tasks} redundant tasks of the "
        f"scheme {code.name} cannot replace so many workers; expected a higher redundancy"
    )


def survives(code: Code, owners: Sequence[int], workers: int, lost: int) -> bool:
    """Say whether the tasks of any other workers are enough when ``lost`` of them are gone.

    Where the code's threshold does not prove it, every choice of workers is tried, up to a limit;
    beyond it the answer is no.
    """
    if (code.rateless or code.reissues) and lost < workers:
        return True
    if code.coded - worst_loss(owners, workers, lost) >= code.threshold:
        return True
    if lost >= workers or math.comb(workers, lost) > _MOST_CHOICES:
        return False
    return all(
        code.recoverable({task for task, owner in enumerate(owners) if owner not in gone})
        for gone in itertools.combinations(range(workers), lost)
    )
