"""Who was given what: needed once something goes wrong, or is done twice."""

from collections import defaultdict
from collections.abc import Iterable

from hpcrefine.cluster.rounds import Round


class Ledger:
    """All rounds of a product, found by task; the index is made when it is first asked for.

    Attributes
    ----------
    rounds : list of Round
        In the order in which they were handed out.
    """

    def __init__(self) -> None:
        self.rounds: list[Round] = []
        self._index: dict[tuple[int, int], list[tuple[Round, int]]] | None = None

    def add(self, rounds: Iterable[Round]) -> None:
        """Note what was handed out."""
        for each in rounds:
            self.rounds.append(each)
            if self._index is not None:
                self._enter(each)

    def attempts(self, unit: int, task: int) -> int:
        """Return how often a task was given to a worker."""
        return len(self._given().get((unit, task), ()))

    def tried(self, rank: int, unit: int, task: int) -> bool:
        """Say whether a worker was given a task."""
        return any(each.rank == rank for each, _ in self._given().get((unit, task), ()))

    def awaited(self, unit: int, task: int) -> list[Round]:
        """Return the rounds in which a task was not answered yet."""
        given = self._given().get((unit, task), ())
        return [each for each, at in given if not each.status[at]]

    def outstanding(self, unit: int) -> dict[int, list[Round]]:
        """Return the tasks of a unit that are not answered yet, with the rounds they are in."""
        found: dict[int, list[Round]] = defaultdict(list)
        for each in self.rounds:
            if each.owed:
                for given, status in zip(each.assignments, each.status, strict=True):
                    if given.unit == unit and not status:
                        found[given.task].append(each)
        return found

    def _given(self) -> dict[tuple[int, int], list[tuple[Round, int]]]:
        if self._index is None:
            self._index = defaultdict(list)
            for each in self.rounds:
                self._enter(each)
        return self._index

    def _enter(self, each: Round) -> None:
        if self._index is not None:
            for at, given in enumerate(each.assignments):
                self._index[given.unit, given.task].append((each, at))
