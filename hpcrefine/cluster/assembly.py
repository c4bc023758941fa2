"""From results of tasks to resolutions: blocks land, missing ones are decoded, layers refined."""

import time
from collections import defaultdict
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcrefine.cluster.shared import Sharing
from hpcrefine.resolution.refine import Refiner
from hpcrefine.schedule.plan import Plan, Unit

Floats = NDArray[np.float64]

_NOTHING: NDArray[np.int64] = np.empty(0, np.int64)


class Assembly:
    """The results of a product as far as they are known.

    Parameters
    ----------
    plan : Plan
        What is computed.
    refiner : Refiner or None
        Turns integers into resolutions; None for a one-shot product in float64.
    sharing : Sharing
        What lies in memory shared with workers.
    refined_there : collection of int
        Blocks that their workers refine, writing resolutions to shared memory.

    Attributes
    ----------
    finished : list of set of int
        For each unit, the coded tasks whose results are used.
    recovered : list of bool
        For each unit, whether all its blocks are known.
    decoding : dict of int to float
        For each layer, seconds of solving for missing blocks.
    """

    def __init__(
        self,
        plan: Plan,
        refiner: Refiner | None,
        sharing: Sharing,
        refined_there: Collection[int],
    ) -> None:
        self._plan, self._refiner, self._sharing = plan, refiner, sharing
        self.refined_there = set(refined_there)
        self.finished: list[set[int]] = [set() for _ in plan.units]
        self.recovered = [False] * len(plan.units)
        self.decoding: defaultdict[int, float] = defaultdict(float)
        self._units_of: dict[int, list[Unit]] = defaultdict(list)
        for unit in plan.units:
            self._units_of[unit.layer].append(unit)
        outputs = plan.code.outputs
        self._blocks: list[list[NDArray[Any] | None]] = [[None] * outputs for _ in plan.units]
        self._combined: list[dict[int, NDArray[Any]]] = [{} for _ in plan.units]
        self._landed: list[set[int]] = [set() for _ in plan.units]
        self._values = dict(enumerate(sharing.values))
        self._depth = [0] * outputs
        self._refined = [0] * len(plan.layers)
        self._refiners: dict[int, Refiner] = {}

    def place(self, unit: int, task: int, *, fresh: bool) -> NDArray[Any]:
        """Return memory for a task's result: shared in its place if it has one, or fresh."""
        plan, each = self._plan, self._plan.units[unit]
        if plan.code.block(task) == task and not fresh:
            there = self._shared(unit, task)
            if there is not None:
                return there
        dtype = np.dtype(np.float64) if self._refiner is None else plan.result_dtype(each, task)
        return np.empty(plan.result_shape(each, task), dtype)

    def knows(self, unit: int, task: int) -> bool:
        """Say whether a result would tell nothing new."""
        known = task in self.finished[unit] or self.recovered[unit]
        return known or self._plan.code.block(task) in self._landed[unit]

    def in_place(self, unit: int, task: int) -> NDArray[Any]:
        """Return what a worker wrote to shared memory; empty if it keeps its integers."""
        there = self._shared(unit, task)
        return np.empty(0) if there is None else there

    def take(self, unit: int, task: int, result: NDArray[Any]) -> None:
        """Count a result in; once enough are there, decode the rest."""
        code = self._plan.code
        self.finished[unit].add(task)
        block = code.block(task)
        if block is None:
            self._combined[unit][task] = result
        elif block not in self._landed[unit]:
            self._blocks[unit][block] = result
            self._land(unit, block)
        if code.recoverable(self.finished[unit]):
            self._decode(unit)

    def repeat(self, block: int) -> list[int]:
        """Return the units to compute again when the worker that refined a block is gone.

        Integers were not kept, so a layer that it had not finished is begun anew, here.
        """
        self.refined_there.discard(block)
        units = [unit.index for unit in self._plan.units if unit.layer >= self._depth[block]]
        for unit in units:
            self._landed[unit].discard(block)
            self.finished[unit].discard(block)
            self.recovered[unit] = False
        return units

    def complete(self, layer: int) -> bool:
        """Say whether all blocks of a resolution are there."""
        return self._refined[layer] == self._plan.code.outputs

    def hand_out(self, layer: int, *, last: bool) -> Floats:
        """Return a resolution and let go of the one before; the last becomes the caller's."""
        value = self._values.pop(layer) if last else self._values[layer].view()
        value.flags.writeable = last
        self._values.pop(layer - 1, None)
        return value

    def integers(self, layer: int) -> dict[int, NDArray[np.int64]]:
        """Return the integers of a layer, shape (n, p) for each significance.

        Raises
        ------
        RuntimeError
            If they were not kept.
        """
        plan = self._plan
        sums: dict[int, NDArray[np.int64]] = {}
        for unit in self._units_of[layer]:
            for number, block in enumerate(self._blocks[unit.index]):
                if block is None or not block.size:
                    raise RuntimeError(
                        "the integers were not kept: multiply with keep_integers=True"
                    )
                for group, significance in enumerate(unit.significances):
                    whole = (plan.shape[0], plan.shape[2])
                    total = sums.setdefault(significance, np.zeros(whole, np.int64))
                    total[plan.output(number)] += block[group]
        return sums

    def release(self) -> None:
        """Let go of resolutions that were not handed out."""
        self._values.clear()

    def _shared(self, unit: int, block: int) -> NDArray[Any] | None:
        """Return the place of a block's integers in shared memory, if they are kept there."""
        store = self._sharing.store(unit)
        if store is None:
            return None
        rows, _ = self._plan.output(block)
        each, columns = self._plan.units[unit], self._plan.shape[2]
        groups = len(each.significances)
        part = store[groups * rows.start * columns : groups * rows.stop * columns]
        return part.reshape(groups, rows.stop - rows.start, columns)

    def _decode(self, unit: int) -> None:
        plan, code = self._plan, self._plan.code
        self.recovered[unit] = True
        each = plan.units[unit]
        missing = [b for b in range(code.outputs) if b not in self._landed[unit]]
        if not missing:
            return
        start = time.perf_counter()
        for b in missing:  # a late result may still land in its own place: decode elsewhere
            rows, columns = plan.output(b)
            shape = (len(each.significances), rows.stop - rows.start, columns.stop - columns.start)
            self._blocks[unit][b] = np.empty(shape, plan.block_dtype(each))
        known = [_NOTHING if block is None else block for block in self._blocks[unit]]
        code.decode(known, missing, self._combined[unit])
        self._combined[unit] = {}
        self.decoding[each.layer] += time.perf_counter() - start
        for b in missing:
            self._land(unit, b)

    def _land(self, unit: int, block: int) -> None:
        """Note that a block of a unit is known; refine it as far as that goes."""
        self._landed[unit].add(block)
        while self._depth[block] < len(self._plan.layers):
            layer = self._depth[block]
            if not all(block in self._landed[u.index] for u in self._units_of[layer]):
                return
            if block not in self.refined_there:
                self._refine(layer, block)
            self._depth[block] += 1
            self._refined[layer] += 1

    def _refine(self, layer: int, block: int) -> None:
        rows, columns = self._plan.output(block)
        if layer not in self._values:
            shape = self._plan.shape[0], self._plan.shape[2]
            self._values[layer] = self._sharing.empty(shape, np.float64)
        out = self._values[layer][:, columns]
        previous = self._values[layer - 1][:, columns] if layer else None
        for unit in self._units_of[layer]:
            integers = self._blocks[unit.index][block]
            if integers is None:
                raise RuntimeError(f"block {block} of unit {unit.index} landed without a result")
            if self._refiner is None:
                out[rows] = integers[0]
            else:
                self._refiner_of(columns).add(rows, integers, unit.significances, previous, out)
            previous = out

    def _refiner_of(self, columns: slice) -> Refiner:
        whole = self._refiner
        if whole is None:
            raise RuntimeError("a one-shot product is not refined")
        if columns.start not in self._refiners:
            every = columns == slice(0, self._plan.shape[2])
            self._refiners[columns.start] = whole if every else whole.restricted(columns)
        return self._refiners[columns.start]
