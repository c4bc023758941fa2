"""What the workers of a run meet: faults on purpose, and how they are looked after."""

from typing import TYPE_CHECKING

from hpcrefine.errors import InputError
from hpcrefine.experiment.rows import Row, event_rows
from hpcrefine.faults import Faults
from hpcrefine.job import AnyJob, CodeSection

if TYPE_CHECKING:
    from hpcrefine.cluster.pool import Pool


class Conditions:
    """Sees to the conditions of each job.

    Parameters
    ----------
    job : Job or InferenceJob
        What is run.
    pool : Pool
        On rank 0, its kernel loaded.

    Raises
    ------
    InputError
        If the job asks for faults of more workers than there are.
    """

    def __init__(self, job: AnyJob, pool: "Pool") -> None:
        self._job, self._pool, self._told = job, pool, 0
        try:
            self._faults = {
                count: _assigned(job.faults.assign(pool.workers, job.job.seed, count))
                for count in job.stragglers
            }
        except InputError as error:
            raise InputError(f"{job.path}: {error}") from None
        # With any faults at all their time runs from the first job on, whoever is spared there.
        self._injected: dict[int, Faults] | None = None if any(self._faults.values()) else {}

    def guard(self, code: CodeSection | None = None) -> None:
        """Have the pool hold against workers what the job says, or another code than its own."""
        lies = (code or self._job.code).lies
        self._pool.guard(timeout=self._job.workers.timeout, lies=lies)

    def inject(self, stragglers: int) -> None:
        """Let workers fail as they are to with so many stragglers."""
        faults = self._faults[stragglers]
        if faults != self._injected:
            self._pool.inject(faults, self._job.job.seed)
            self._injected = faults

    def news(self, number: int, origin: float) -> list[Row]:
        """Return what befell the workers since it was asked last, as rows of a job.

        Times count from ``origin`` on the pool's clock.
        """
        news = self._pool.roster.events[self._told :]
        self._told += len(news)
        return event_rows(number, news, origin)


def _assigned(faults: dict[int, Faults]) -> dict[int, Faults]:
    return {rank: each for rank, each in faults.items() if not each.empty}
