"""What is released part by part, and may be left early: products and inferences."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Self, TypeVar

Part = TypeVar("Part")


class Released(Iterator[Part], ABC):
    """Something in flight: an iterator of what is released of it.

    Collection advances while the caller asks for the next part. Leaving a ``for`` loop over it or
    a ``with`` block around it, or closing it, purges what is left; workers finish the task they are
    at.
    """

    @property
    @abstractmethod
    def _to_come(self) -> bool:
        """Whether there is more, and it is still wanted."""

    @abstractmethod
    def _deliver(self) -> Part | None:
        """Collect until the next part is there; None if the time is over before."""

    @abstractmethod
    def close(self) -> None:
        """Give up what has not been delivered; the workers drop its tasks."""

    def __iter__(self) -> Iterator[Part]:
        """Yield the parts; a loop that is left early closes it at once."""
        try:
            while self._to_come and (part := self._deliver()) is not None:
                yield part
        finally:
            self.close()

    def __next__(self) -> Part:
        """Collect until the next part is there.

        Raises
        ------
        StopIteration
            After the last part, or once closed or expired.
        DecodeError
            If decoded results fail their check.
        LostError
            If no worker is left that could compute what is missing.
        """
        part = self._deliver() if self._to_come else None
        if part is None:
            self.close()
            raise StopIteration
        return part

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
