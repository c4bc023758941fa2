"""Which workers have died or owe an answer for too long, while their results are collected."""

from collections.abc import Sequence

from mpi4py import MPI

from hpcrefine.cluster.roster import Roster
from hpcrefine.cluster.rounds import Round

_AWAY = 0.5  # seconds without a look: answers may have come that we have not taken


class Watch:
    """Tells silence of the workers from absence of the master.

    Parameters
    ----------
    roster : Roster
        Learns who is gone.
    """

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._looked = self._back = MPI.Wtime()

    def look(self) -> None:
        """Note that results are taken now."""
        now = MPI.Wtime()
        if now - self._looked > _AWAY:
            self._back = now
        self._looked = now

    def check(self, rounds: Sequence[Round], *, patient: bool = False) -> None:
        """Find out who has died; unless patient, give up who owes an answer for too long."""
        self._roster.poll()
        if patient:
            return
        heard: dict[int, float] = {}
        for each in rounds:
            heard[each.rank] = max(each.heard, heard.get(each.rank, 0.0))
        for each in rounds:
            if each.owed:
                self._roster.suspect(each.rank, max(heard[each.rank], self._back))
