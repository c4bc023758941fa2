"""One round of an inference, as a worker sees it: blocks of samples, each brought to an upgrade.

Samples that the rule leaves undecided stay here, with all that was computed of them; the master,
who applies the same rule to the same scores, knows which. Networks are imported only when one
comes: most workers never see one.
"""

import itertools
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from hpcrefine.cluster.backoff import all_complete
from hpcrefine.cluster.faults import Misbehaviour
from hpcrefine.cluster.messages import message, receive_table
from hpcrefine.cluster.protocol import MASTER, SAMPLES, Tag, round_tag
from hpcrefine.cluster.serving import Purged
from hpcrefine.kernels import Peaks, choose_kernel

if TYPE_CHECKING:
    from hpcrefine.inference.evaluator import Evaluator
    from hpcrefine.inference.state import State

_PURGED = np.empty(0, np.uint8)

Remains = dict[tuple[int, int], "State"]
"""States of undecided samples, by upgrade and block."""


def host(data: NDArray[np.uint8], kernel: str, library: str | None) -> "Evaluator":
    """Read a network, and choose the kernel asked for, or the next that is exact for it."""
    from hpcrefine.inference.evaluator import Evaluator, LocalMultiplier
    from hpcrefine.inference.layered import LayeredNetwork

    network = LayeredNetwork.from_bytes(data.tobytes())
    chosen = choose_kernel(kernel, library, Peaks(*network.peaks)).kernel
    return Evaluator(network, LocalMultiplier(network, chosen))


class Inferring:
    """Serves one round of an inference.

    Parameters
    ----------
    comm : MPI.Comm
        Communicator of the pool.
    header : HEADER
        The command that began it.
    evaluator : Evaluator
        Of the network.
    remains : Remains
        Of earlier rounds, for later ones.
    purged : Purged
        What need not be done of the inference.
    faults : Misbehaviour or None
        How this worker is to fail.

    Attributes
    ----------
    job : int
        The inference.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        header: np.void,
        *,
        evaluator: "Evaluator",
        remains: Remains,
        purged: Purged,
        faults: Misbehaviour | None,
    ) -> None:
        from hpcrefine.inference.rules import Rule

        self._comm, self._number, self.job = comm, int(header["round"]), int(header["job"])
        self._evaluator, self._remains, self._purged = evaluator, remains, purged
        self._faults, self._total = faults, int(header["rows"])
        self._blocks = self._table(SAMPLES, header["tasks"])
        sources = iter(self._table(np.dtype(np.int64), header["sources"]).tolist())
        self._sources = [list(itertools.islice(sources, int(b["sources"]))) for b in self._blocks]
        text = self._table(np.dtype(np.uint8), header["length"])
        self._rule = Rule.from_text(text.tobytes().decode())
        self._pending = deque(range(len(self._blocks)))
        self._seconds = np.full((len(self._blocks), 2), np.nan)
        self._reported = False
        self._replies: list[tuple[MPI.Request, NDArray[Any]]] = []
        self._samples: dict[int, NDArray[Any]] = {}
        self._arrivals: dict[int, MPI.Request] = {}
        self._listen(np.dtype(header["text"].decode()))

    @property
    def unit(self) -> int:
        """Upgrade of the next block; beyond all if there is none."""
        return int(self._blocks["upgrade"][self._pending[0]]) if self._pending else 1 << 62

    def may_begin(self, started: int) -> bool:
        """Say whether it may begin when that job was started last: it waits for none."""
        return True

    def progress(self) -> bool:
        """Say whether all samples have arrived."""
        return all_complete(self._arrivals.values())

    def step(self) -> bool:
        """Do the next block, or drop it if it was purged; say whether that was possible."""
        if not self._pending:
            return False
        at = self._pending[0]
        block = int(self._blocks["block"][at])
        if self._purged.holds(self.unit, [block]):
            self._send(_PURGED)
        elif at in self._arrivals and not self._arrivals[at].Test():
            return False
        else:
            self._do(at, self.unit, block)
        self._pending.popleft()
        return True

    def finish(self) -> bool:
        """End the round, and say so, if nothing of it is left."""
        if self._pending or not self.progress():
            return False
        if not self._reported:
            self._reported = True
            self._send(self._seconds, Tag.REPORT)
        return all_complete(request for request, _ in self._replies)

    def _table(self, dtype: np.dtype[Any], rows: int) -> NDArray[Any]:
        return receive_table(self._comm, dtype, rows, self._number)

    def _listen(self, dtype: np.dtype[Any]) -> None:
        tag, shape = round_tag(Tag.PLANE, self._number), self._evaluator.network.input_shape
        for at, sources in enumerate(self._sources):
            if not sources:
                room = np.empty((int(self._blocks["samples"][at]), *shape), dtype)
                self._samples[at] = room
                self._arrivals[at] = self._comm.Irecv(message(room), MASTER, tag)

    def _do(self, at: int, upgrade: int, block: int) -> None:
        start = MPI.Wtime()
        state = self._state(at, upgrade)
        done, decide = state.upgrades, self._rule.decided
        for _ in range(done, upgrade):
            self._evaluator.upgrade(state)
        scores = self._evaluator.upgrade(state, None if self._faults else decide)
        if self._faults is not None:  # a lie decides, too
            size = (upgrade + 1 - done) * len(scores) / self._total
            scores = self._faults.after(self.job, 0, (upgrade, block), size, scores, start)
            state = state.take(np.flatnonzero(~decide(scores, upgrade)))
        self._seconds[at] = MPI.Wtime() - start, 0.0
        self._send(scores)
        if state.samples:
            self._remains[upgrade, block] = state

    def _state(self, at: int, upgrade: int) -> "State":
        """Return the state of a block's samples."""
        if at in self._samples:
            return self._evaluator.begin(self._samples.pop(at))
        from hpcrefine.inference.state import State

        parts = [self._remains.pop((upgrade - 1, source)) for source in self._sources[at]]
        return State.join(parts)

    def _send(self, buffer: NDArray[Any], tag: Tag = Tag.RESULT) -> None:
        buffer = np.ascontiguousarray(buffer)
        request = self._comm.Isend(message(buffer), MASTER, round_tag(tag, self._number))
        self._replies.append((request, buffer))
