"""The products of a network, coded, by the workers: weights stay there, activations at the master.

A plane of weights (K, out) is the left operand, transposed, of a product whose right operand are
the values, transposed: one digit of 8 bits each, in units of 1, so that the only resolution is the
exact integers. Unsigned values v become signed digits v - 128; what that takes from the product,
128 times the sum of each of the plane's columns, is added here.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcrefine.cluster.backoff import Backoff
from hpcrefine.cluster.blocks import Gained
from hpcrefine.cluster.commons import Commons
from hpcrefine.cluster.crew import collect
from hpcrefine.cluster.master import Product, TaskLog
from hpcrefine.cluster.products import Products
from hpcrefine.cluster.request import Cut, Wanted
from hpcrefine.resolution.bounds import Bound
from hpcrefine.resolution.digits import Quantised
from hpcrefine.resolution.layers import layering
from hpcrefine.schedule.plan import Plan

if TYPE_CHECKING:
    from hpcrefine.inference.evaluator import Evaluator
    from hpcrefine.inference.layered import LayeredNetwork
    from hpcrefine.inference.rules import Rule

Key = tuple[int, int, int]

_LATE = 4  # products that may be under way because of what a slow worker is at
_OFFSET = 128


class ExpiredError(Exception):
    """The time was over before a product was there."""


@dataclass(frozen=True)
class Weights:
    """A plane of weights at the workers.

    Attributes
    ----------
    number : int
        What workers know it by.
    left : Quantised
        The plane, transposed.
    plan : Plan
        How it was coded and dealt.
    ranks : tuple of int
        The plan's workers.
    offsets : ndarray of int64, shape (out, 1)
        What unsigned values add.
    """

    number: int
    left: Quantised
    plan: Plan
    ranks: tuple[int, ...]
    offsets: NDArray[np.int64]


def hold_weights(
    network: "LayeredNetwork",
    cut: Cut,
    products: Products,
    commons: Commons,
    numbers: Iterator[int],
) -> dict[Key, Weights]:
    """Hand the workers all planes of a network.

    Raises
    ------
    InputError
        If the code does not suit such products.
    """
    held = {}
    for key, plane in network.planes():
        inner, out = plane.shape
        planes = commons.empty((1, out, inner), np.int8)
        np.copyto(planes[0], plane.T)
        left = _digits(planes, axis=1)
        tasks = None if cut.tasks is None else min(cut.tasks, out)
        number = next(numbers)
        plan, ranks = products.hold(number, left, replace(cut, tasks=tasks))
        offsets = _OFFSET * plane.sum(axis=0, dtype=np.int64)[:, None]
        held[key] = Weights(number, left, plan, ranks, offsets)
    return held


class _UnderWay(NamedTuple):
    unit: int
    upgrade: int
    product: Product


class RemoteMultiplier:
    """Multiplies by the planes of one network, on the workers.

    A product begins while a slow worker is still at a purged task of the one before.

    Parameters
    ----------
    weights : mapping of key to Weights
        At the workers.
    products : Products
        Makes the products.
    commons : Commons
        Memory for values.
    wanted : Wanted
        How results are checked.
    start : float
        ``MPI.Wtime()`` that the log counts from.

    Attributes
    ----------
    log : dict
        What became of each task of products that have ended; each product is a unit.
    traffic : (int, int)
        Bytes sent and received by messages for them.
    upgrade : int
        What products are computed for, from now on.
    expired : callable
        Says whether the time is over.
    """

    def __init__(
        self,
        weights: Mapping[Key, Weights],
        products: Products,
        commons: Commons,
        wanted: Wanted,
        start: float,
    ) -> None:
        self._weights, self._products, self._commons = weights, products, commons
        self._wanted, self._start = wanted, start
        self._under_way: list[_UnderWay] = []
        self._units = itertools.count()
        self.log: dict[tuple[int, int, int], TaskLog] = {}
        self.traffic = 0, 0
        self.upgrade = 0
        self.expired: Callable[[], bool] = lambda: False

    def multiply(self, key: Key, a: NDArray[Any], out: NDArray[Any], accumulate: bool) -> None:
        """Compute ``out = a @ plane`` or ``out += a @ plane`` exactly.

        Raises
        ------
        ExpiredError
            If the time is over before.
        DecodeError, LostError
            As :meth:`Product.__next__`.
        """
        weights, unsigned = self._weights[key], a.dtype == np.uint8
        product = self._begin(weights, a)
        resolution = next(product, None)
        product.close()
        if resolution is None:
            raise ExpiredError
        value = resolution.value
        if unsigned:
            value = value + weights.offsets
        if accumulate:
            np.add(out, value.T, out=out, casting="unsafe")
        else:
            np.copyto(out, value.T, casting="unsafe")

    def close(self) -> None:
        """Want nothing more."""
        for each in self._under_way:
            each.product.close()

    def settle(self) -> None:
        """Wait until nothing is in flight."""
        while self._under_way:
            self._end(self._under_way[0])

    def _begin(self, weights: Weights, a: NDArray[Any]) -> Product:
        start = MPI.Wtime()
        right = self._commons.empty((1, a.shape[1], a.shape[0]), np.int8)
        if a.dtype == np.uint8:
            np.bitwise_xor(a.T, np.uint8(_OFFSET), out=right[0].view(np.uint8))
        else:
            np.copyto(right[0], a.T)
        while len(self._under_way) >= _LATE:
            self._end(self._under_way[0])
        shape = *weights.left.shape, len(a)
        plan = weights.plan.with_layers(shape, layering("whole", 1), "layer")
        plan, ranks = self._products.deal(plan, weights.ranks)
        product = self._products.multiply(
            *(start, plan, ranks, (weights.left, _digits(right, axis=0))),
            *((Bound(0.0, 0.0),), self._wanted),
            held=weights.number,
        )
        product.attend, product.expired = self._attend, self.expired
        self._under_way.append(_UnderWay(next(self._units), self.upgrade, product))
        return product

    def _attend(self, backoff: Backoff) -> None:
        collect([each.product.crew for each in self._under_way], backoff)
        for each in [each for each in self._under_way if each.product.ended]:
            self._end(each)

    def _end(self, each: _UnderWay) -> None:
        self._under_way.remove(each)
        product, later = each.product, each.product.start - self._start
        product.settle()
        self._products.learn(product)
        for (_, task, attempt), entry in product.log.items():
            self.log[each.unit, task, attempt] = replace(
                entry,
                layer=each.upgrade,
                unit=each.unit,
                sent=entry.sent + later,
                received=entry.received + later,
            )
        (sent, received), (more, back) = self.traffic, product.traffic
        self.traffic = sent + more, received + back


class ByProducts:
    """The master evaluates the network; its products are the workers'.

    Parameters
    ----------
    evaluator : Evaluator
        Of the network.
    multiplier : RemoteMultiplier
        Its multiplier.
    samples : ndarray, shape (n, ...)
        Of what.
    rule : Rule
        Says who is decided.
    """

    def __init__(
        self,
        evaluator: "Evaluator",
        multiplier: RemoteMultiplier,
        samples: NDArray[Any],
        rule: "Rule",
    ) -> None:
        self._evaluator, self._multiplier, self._rule = evaluator, multiplier, rule
        self._state = evaluator.begin(samples)
        self._samples = np.arange(len(samples))

    def upgrade(self, number: int, expired: Callable[[], bool]) -> Gained | None:
        """Evaluate the next upgrade of who is undecided."""
        self._multiplier.upgrade, self._multiplier.expired = number, expired
        try:
            scores = self._evaluator.upgrade(self._state, self._rule.decided)
        except ExpiredError:
            return None
        entered, decided = self._samples, self._rule.decided(scores, number)
        self._samples = entered[~decided]
        return Gained(entered, scores, decided)

    def close(self) -> None:
        """Give up what is not there yet."""
        self._multiplier.close()

    def settle(self) -> None:
        """Wait until nothing is in flight."""
        self._multiplier.settle()

    @property
    def log(self) -> dict[tuple[int, int, int], TaskLog]:
        """What became of each task of each product that has ended."""
        return self._multiplier.log

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes sent and received by messages."""
        return self._multiplier.traffic


def _digits(planes: NDArray[np.int8], axis: int) -> Quantised:
    """Take integers as they are for digits."""
    vectors = planes.shape[1 if axis == 1 else 2]
    nothing = np.zeros(vectors, np.int64)
    return Quantised(planes, 8, axis, nothing, np.zeros((2, vectors)))
