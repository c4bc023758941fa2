"""What is known of samples between upgrades: the sums of each linear layer and what they are of."""

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]


class Piece:
    """Some samples that went through the layers together.

    Parameters
    ----------
    samples : ndarray, shape (samples, *input_shape)
        As they are in files.

    Attributes
    ----------
    sums : dict of int to ndarray, shape (samples, ...)
        Of each linear layer: the exact product of weights and values as known.
    seen : dict of int to ndarray, shape (samples, ...)
        The values it was made of; none of a layer whose values never change.
    """

    def __init__(self, samples: Values) -> None:
        self.samples = samples
        self.sums: dict[int, Values] = {}
        self.seen: dict[int, Values] = {}

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def nbytes(self) -> int:
        """Memory of it."""
        arrays = [self.samples, *self.sums.values(), *self.seen.values()]
        return sum(array.nbytes for array in arrays)

    def take(self, which: NDArray[np.intp] | slice) -> "Piece":
        """Return some of its samples; it is itself if that is all of them."""
        if not isinstance(which, slice) and len(which) == len(self):
            return self
        piece = Piece(self.samples[which])
        piece.sums = {layer: sums[which] for layer, sums in self.sums.items()}
        piece.seen = {layer: seen[which] for layer, seen in self.seen.items()}
        return piece

    @classmethod
    def join(cls, pieces: Sequence["Piece"]) -> "Piece":
        """Return pieces at the same upgrade as one."""
        if len(pieces) == 1:
            return pieces[0]
        joined = cls(np.concatenate([piece.samples for piece in pieces]))
        for layer in pieces[0].sums:
            joined.sums[layer] = np.concatenate([piece.sums[layer] for piece in pieces])
        for layer in pieces[0].seen:
            joined.seen[layer] = np.concatenate([piece.seen[layer] for piece in pieces])
        return joined


class State:
    """What is known of samples after so many upgrades.

    Parameters
    ----------
    pieces : list of Piece
        The samples, in order.
    upgrades : int
        How many upgrades they have had.
    """

    def __init__(self, pieces: list[Piece], upgrades: int) -> None:
        self._pieces, self.upgrades = pieces, upgrades

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return sum(map(len, self._pieces))

    @property
    def nbytes(self) -> int:
        """Memory of it."""
        return sum(piece.nbytes for piece in self._pieces)

    def take(self, which: NDArray[np.integer]) -> "State":
        """Return the state of some of the samples, ``which`` ascending."""
        pieces, start = [], 0
        for piece in self._pieces:
            inside = which[(which >= start) & (which < start + len(piece))] - start
            if len(inside):
                pieces.append(piece.take(inside.astype(np.intp)))
            start += len(piece)
        return State(pieces, self.upgrades)

    @classmethod
    def join(cls, states: Sequence[Self]) -> "State":
        """Return states after equally many upgrades as one.

        Raises
        ------
        ValueError
            If there are none, or they differ.
        """
        if len({state.upgrades for state in states}) != 1:
            raise ValueError("states after different numbers of upgrades have no common state")
        return cls([piece for state in states for piece in state._pieces], states[0].upgrades)

    def regrouped(self, block: int) -> Iterator[Piece]:
        """Yield the samples in pieces of about ``block``: large ones are cut, small ones joined."""
        waiting: list[Piece] = []
        for piece in self._pieces:
            if waiting and sum(map(len, waiting)) + len(piece) > block:
                yield Piece.join(waiting)
                waiting = []
            if len(piece) <= block:
                waiting.append(piece)
                continue
            for start in range(0, len(piece), block):
                yield piece.take(slice(start, start + block))
        if waiting:
            yield Piece.join(waiting)

    def replace(self, pieces: list[Piece]) -> None:
        """Go on with these samples, after one upgrade more."""
        self._pieces, self.upgrades = pieces, self.upgrades + 1
