"""Networks at the workers: sent once, kept as long as the master's program has them."""

import itertools
import math
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcrefine.cluster.blocks import Batch, Blocks
from hpcrefine.cluster.commons import Commons
from hpcrefine.cluster.dispatch import Outbox
from hpcrefine.cluster.inference import BySamples, Inference
from hpcrefine.cluster.products import Products
from hpcrefine.cluster.protocol import Command, Tag
from hpcrefine.cluster.remoteproducts import (
    ByProducts,
    Key,
    RemoteMultiplier,
    Weights,
    hold_weights,
)
from hpcrefine.cluster.request import Cut, Wanted
from hpcrefine.cluster.roster import Roster
from hpcrefine.errors import InputError

if TYPE_CHECKING:
    from hpcrefine.inference.layered import LayeredNetwork
    from hpcrefine.inference.rules import Rule

DISTRIBUTIONS = ("samples", "products")
_BLOCKS = 8  # for each worker, as many as leave slow ones fewer
_TOGETHER = 1024  # samples that make the products of a layer worth their messages
_KEPT = 1 << 30  # bytes that a worker keeps of undecided samples, about


@dataclass
class _Guest:
    network: "weakref.ref[LayeredNetwork]"
    number: int | None = None
    weights: dict[Cut, dict[Key, Weights]] = field(default_factory=dict)

    def numbers(self) -> Iterator[int]:
        """Yield what the workers know of it by."""
        if self.number is not None:
            yield self.number
        for held in self.weights.values():
            yield from (each.number for each in held.values())


class Networks:
    """Makes the inferences of a pool.

    Parameters
    ----------
    comm : MPI.Comm
        Communicator of the pool.
    roster : Roster
        Who is there.
    commons : Commons
        The memory that ranks share.
    products : Products
        Makes products.
    outbox : Outbox
        For networks on their way.
    numbers : iterator of int
        Of what the workers keep.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        roster: Roster,
        commons: Commons,
        products: Products,
        outbox: Outbox,
        numbers: "itertools.count[int]",
    ) -> None:
        self._comm, self._roster, self._commons = comm, roster, commons
        self._products, self._outbox, self._numbers = products, outbox, numbers
        self._guests: dict[int, _Guest] = {}

    def by_samples(
        self,
        network: "LayeredNetwork",
        samples: NDArray[Any],
        rule: "Rule",
        block: int | None,
        start: float,
        deadline: float | None,
    ) -> Inference:
        """Begin an inference whose samples are shared out; see :meth:`Pool.infer`."""
        guest = self._guest(network)
        if guest.number is None:
            guest.number = next(self._numbers)
            data = np.frombuffer(network.to_bytes(), np.uint8)
            for rank in self._roster.living:
                self._outbox.command(Command.NETWORK, [rank], held=guest.number, length=len(data))
                self._outbox.send(data, rank, Tag.PLAN)
        batch = Batch(
            *(self._comm, self._roster, self._products.next_job(), guest.number),
            *(network.upgrades, network.classes, np.ascontiguousarray(samples), rule),
            *(block or self._natural_block(network, len(samples)), _KEPT // _bytes_kept(network)),
        )
        return Inference(BySamples(Blocks(batch), start), network, len(samples), start, deadline)

    def by_products(
        self,
        network: "LayeredNetwork",
        samples: NDArray[Any],
        rule: "Rule",
        block: int | None,
        start: float,
        deadline: float | None,
        cut: Cut,
        wanted: Wanted,
    ) -> Inference:
        """Begin an inference whose products are shared out; see :meth:`Pool.infer`."""
        from hpcrefine.inference.evaluator import Evaluator

        weights = self._guest(network).weights
        if cut not in weights:
            weights[cut] = hold_weights(network, cut, self._products, self._commons, self._numbers)
        multiplier = RemoteMultiplier(weights[cut], self._products, self._commons, wanted, start)
        together = block or max(network.natural_block, _TOGETHER)
        evaluator = Evaluator(network, multiplier, together)
        means = ByProducts(evaluator, multiplier, samples, rule)
        return Inference(means, network, len(samples), start, deadline)

    def _guest(self, network: "LayeredNetwork") -> _Guest:
        """Return what the workers have of a network; have them drop those that are garbage."""
        for key, guest in list(self._guests.items()):
            if guest.network() is None:
                del self._guests[key]
                for number in guest.numbers():
                    self._outbox.command(Command.RELEASE, self._roster.living, held=number)
        return self._guests.setdefault(id(network), _Guest(weakref.ref(network)))

    def _natural_block(self, network: "LayeredNetwork", samples: int) -> int:
        workers = len(self._roster.usable)
        even = max(network.natural_block, math.ceil(samples / (_BLOCKS * workers)))
        return min(even, math.ceil(samples / workers))


def _bytes_kept(network: "LayeredNetwork") -> int:
    """Return what a worker keeps of an undecided sample: sums, and about as many values."""
    linear = (layer for layer in network.layers if layer.linear)
    return sum(math.prod(layer.shape) * (layer.sums.itemsize + 1) for layer in linear)


def check_inference(
    network: "LayeredNetwork", samples: NDArray[Any], rule: "Rule", block: int | None, how: str
) -> None:
    """Refuse what cannot be inferred.

    Raises
    ------
    InputError
        The message says what was found.
    """
    if how not in DISTRIBUTIONS:
        raise InputError(f"distribute: found {how!r}, expected one of {', '.join(DISTRIBUTIONS)}")
    if len(samples) == 0 or samples.shape[1:] != network.input_shape:
        shape = ", ".join(map(str, network.input_shape))
        raise InputError(f"samples: found shape {samples.shape}, expected (1 or more, {shape})")
    if samples.dtype.kind not in "iuf":
        raise InputError(f"samples: found type {samples.dtype}, expected numbers")
    if samples.dtype.kind == "f" and not np.isfinite(samples).all():
        raise InputError("samples: found NaN or infinity, expected finite numbers")
    if rule.upgrades != network.upgrades:
        raise InputError(
            f"rule: found thresholds of {rule.upgrades} upgrades, expected {network.upgrades}"
        )
    rule.check(network.classes)
    if block is not None and block < 1:
        raise InputError(f"block: found {block}, expected 1 or more samples")
