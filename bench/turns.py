"""Ranks that serve one system after another, so that peers take turns within one run."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from mpi4py import MPI

from hpcrefine.cluster.backoff import wait_all
from hpcrefine.cluster.pool import Pool

Service = Callable[[MPI.Intracomm], None]
_STOP = -1


class Turns:
    """What the ranks but 0 do, one announcement at a time; between them they sleep.

    Parameters
    ----------
    services : mapping of str to callable
        What a rank does in each kind of turn; ``"pool"`` is there always.
    """

    def __init__(self, services: Mapping[str, Service]) -> None:
        self.comm = MPI.COMM_WORLD.Dup()
        self._services: dict[str, Service] = {"pool": _serve_pool, **services}

    def serve(self) -> None:
        """Serve until rank 0 stops."""
        names = list(self._services)
        while (index := self._announce(_STOP)) != _STOP:
            self._services[names[index]](self.comm)

    def begin(self, name: str) -> None:
        """Announce a turn, on rank 0."""
        self._announce(list(self._services).index(name))

    def stop(self) -> None:
        """End the ranks' serving, on rank 0."""
        self._announce(_STOP)

    @contextmanager
    def pool(self) -> Iterator[Pool]:
        """Announce a turn of hpcrefine's pool and give it, kernels loaded."""
        self.begin("pool")
        with Pool(self.comm) as pool:
            assert pool is not None
            pool.configure()
            yield pool

    def _announce(self, index: int) -> int:
        order = np.array([index], np.int32)
        wait_all([self.comm.Ibcast(order, 0)])
        return int(order[0])


def lead(turns: Turns, body: Callable[[], None]) -> None:
    """Run `body` on rank 0 while the other ranks serve."""
    if turns.comm.rank == 0:
        body()
        turns.stop()
    else:
        turns.serve()


def _serve_pool(comm: MPI.Comm) -> None:
    with Pool(comm):
        pass
