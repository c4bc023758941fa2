"""One inference on the cluster: upgrade after upgrade, for the samples that are not decided yet."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcrefine.cluster.backoff import Backoff
from hpcrefine.cluster.blocks import Blocks, Gained
from hpcrefine.cluster.crew import collect
from hpcrefine.cluster.master import TaskLog
from hpcrefine.cluster.released import Released

if TYPE_CHECKING:
    from hpcrefine.inference.layered import LayeredNetwork

Log = dict[tuple[int, int, int], TaskLog]


@dataclass(frozen=True)
class Upgraded:
    """The scores as far as they are known.

    Attributes
    ----------
    upgrade : int
        What the samples that entered it have had, from 0.
    scores : ndarray of float32, shape (samples, classes)
        The latest of every sample. They stay as they are.
    decided : ndarray of bool, shape (samples,)
        Who is decided, by this upgrade or before.
    entered : int
        Samples evaluated in this upgrade.
    seconds : float
        Time since the start, on this rank's clock.
    operations : float
        Multiply-adds of this upgrade for all samples that entered it.
    last : bool
        Whether nothing is undecided.
    """

    upgrade: int
    scores: NDArray[np.float32]
    decided: NDArray[np.bool_]
    entered: int
    seconds: float
    operations: float
    last: bool


class Means(Protocol):
    """How an inference is computed."""

    def upgrade(self, number: int, expired: Callable[[], bool]) -> Gained | None:
        """Bring who is undecided to the next upgrade; None if the time is over before."""

    def close(self) -> None:
        """Give up what is not there yet."""

    def settle(self) -> None:
        """Wait until nothing is in flight."""

    @property
    def log(self) -> Log:
        """What became of each task."""

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes sent and received by messages."""


class Inference(Released[Upgraded]):
    """An inference in flight: an iterator of upgrades that may be left early.

    Parameters
    ----------
    means : Means
        How it is computed.
    network : LayeredNetwork
        What is computed.
    samples : int
        Of how many samples.
    start : float
        ``MPI.Wtime()`` at its start.
    deadline : float, optional
        Seconds since then after which what is not there is given up.

    Attributes
    ----------
    delivered : list of float
        When each upgrade was handed out, in seconds since the start.
    cut : callable
        Says whether it is to be given up before its time.
    """

    def __init__(
        self,
        means: Means,
        network: "LayeredNetwork",
        samples: int,
        start: float,
        deadline: float | None,
    ) -> None:
        self._means, self._network, self.start, self.deadline = means, network, start, deadline
        self._scores = np.zeros((samples, network.classes), np.float32)
        self._decided = np.zeros(samples, bool)
        self._open = self._in_flight = True
        self._next = 0
        self._log: Log | None = None
        self.delivered: list[float] = []
        self.cut: Callable[[], bool] = lambda: False

    @property
    def _to_come(self) -> bool:
        return self._open

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed, or it is cut."""
        return (self.deadline is not None and self._clock() > self.deadline) or self.cut()

    def close(self) -> None:
        """Give up what has not been delivered; the workers drop its tasks."""
        self._open = False
        self._means.close()

    def settle(self) -> None:
        """Close, and wait until nothing of it is in flight; complete the log."""
        self.close()
        if self._in_flight:
            self._means.settle()
            self._in_flight = False

    @property
    def log(self) -> Log:
        """What became of each task, by (unit, task, attempt); durations are known once settled.

        Its layer is the upgrade. Of distributed samples that is the unit too, and the task a block;
        of distributed products each is a unit.
        """
        if self._log is not None:
            return self._log
        log = self._means.log
        if not self._in_flight:
            self._log = log
        return log

    def fates(self, upgrade: int) -> dict[str, int]:
        """Count the tasks of an upgrade that were used, late, purged and lost (or found wrong)."""
        count = Counter(entry.status for entry in self.log.values() if entry.layer == upgrade)
        count["lost"] += count["rejected"]
        return {name: count[name] for name in ("used", "late", "purged", "lost")}

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes sent and received by messages, without the network."""
        return self._means.traffic

    def _deliver(self) -> Upgraded | None:
        number = self._next
        try:
            gained = self._means.upgrade(number, lambda: self.expired)
        except BaseException:
            self.close()
            raise
        if gained is None:
            return None
        self._next += 1
        self._scores[gained.samples] = gained.scores
        self._decided[gained.samples] = gained.decided
        last = bool(self._decided.all())
        self._open = not last
        self.delivered.append(self._clock())
        entered = len(gained.samples)
        return Upgraded(
            number,
            self._scores.copy(),
            self._decided.copy(),
            entered,
            self.delivered[number],
            float(entered) * self._network.operations(number),
            last,
        )

    def _clock(self) -> float:
        return MPI.Wtime() - self.start


class BySamples:
    """Blocks of samples go to the workers.

    Parameters
    ----------
    blocks : Blocks
        The samples.
    start : float
        ``MPI.Wtime()`` that the log counts from.
    """

    def __init__(self, blocks: Blocks, start: float) -> None:
        self._blocks, self._start = blocks, start

    def upgrade(self, number: int, expired: Callable[[], bool]) -> Gained | None:
        """Collect until all scores of an upgrade are there."""
        backoff = Backoff()
        while not (over := expired()) and (gained := self._blocks.gained(number)) is None:
            collect([self._blocks], backoff)
        return None if over else gained

    def close(self) -> None:
        """Give up what is not there yet."""
        self._blocks.dismiss()

    def settle(self) -> None:
        """Wait until nothing is in flight."""
        self._blocks.settle()

    @property
    def log(self) -> Log:
        """What became of each block."""
        found, start = {}, self._start
        for each in self._blocks.rounds:
            columns = (each.received - start).tolist(), each.seconds.tolist(), each.status
            for given, received, seconds, status in zip(each.assignments, *columns, strict=True):
                found[given.unit, given.task, given.attempt] = TaskLog(
                    *(given.unit, given.unit, given.task, given.attempt, each.rank),
                    *(each.sent - start, received, *seconds, status),
                )
        return found

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes sent and received by messages."""
        return self._blocks.outbox.nbytes, sum(r.received_bytes for r in self._blocks.rounds)
