"""The operands of a stream's jobs, drawn and prepared in a thread while others are computed."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from hpcrefine.cluster.master import Product
from hpcrefine.errors import InputError

Launch = Callable[[int], Product]
"""Makes the gated product of a job at a position of the stream."""
Preparation = Callable[[], Launch]
_NOTHING = object()


class Supply:
    """Operands of the jobs to come: drawn ahead in a thread, prepared there once a job is there.

    Parameters
    ----------
    operands : iterable
        What each job brings with it, in their order.
    prepare : callable
        Takes a job's operands and returns what a thread is to do with them, which returns how the
        product is launched.
    """

    def __init__(self, operands: Iterable[Any], prepare: Callable[[Any], Preparation]) -> None:
        self._operands, self._prepare = iter(operands), prepare
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="operands")
        self._drawn = self._draw()
        self._prepared: Future[Launch] | None = None

    def ready(self) -> Launch | None:
        """Have the next job's operands prepared; return how it is launched once that is done."""
        if self._prepared is None:
            if self._drawn.done():
                self._prepared = self._thread.submit(self._prepare(self._take()))
            return None
        if not self._prepared.done():
            return None
        launch, self._prepared = self._prepared.result(), None
        return launch

    def skip(self) -> None:
        """Pass over the next job's operands."""
        if self._prepared is None:
            self._take()
        self._prepared = None

    def close(self) -> None:
        """Draw no more."""
        self._thread.shutdown(cancel_futures=True)

    def _draw(self) -> "Future[Any]":
        return self._thread.submit(next, self._operands, _NOTHING)

    def _take(self) -> Any:
        drawn = self._drawn.result()
        if drawn is _NOTHING:
            raise InputError("operands: found fewer than arrivals, expected those of each job")
        self._drawn = self._draw()
        return drawn
