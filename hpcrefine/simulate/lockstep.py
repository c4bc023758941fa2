"""The published model: all workers begin a unit together, once the one before it is recovered.

Tasks that are not needed any more vanish at once, so that the times of units are independent of
each other, and all jobs of a stream are drawn at a time. Source: Esfahanizadeh, Cohen, Shamai,
Medard, "Successive Refinement in Large-Scale Computation", IEEE TSP 2025.
"""

import numpy as np
from numpy.typing import NDArray

from hpcrefine.schedule.terms import Terms
from hpcrefine.simulate import completion
from hpcrefine.simulate.completion import Order
from hpcrefine.simulate.outcome import Costs, Outcome
from hpcrefine.simulate.queue import release, serve
from hpcrefine.simulate.workers import Slowness, Times
from hpcrefine.simulate.workload import Workload

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_CHUNK_ENTRIES = 1 << 22  # of the arrays of a chunk of jobs: 32 MiB each


class Lockstep:
    """Simulates streams of one product.

    Parameters
    ----------
    workload : Workload
        The product.
    times : Times
        How long tasks take.
    slowness : Slowness
        And how much longer at slow workers.
    costs : Costs
        What takes time besides; tasks are purged at once.
    """

    def __init__(
        self,
        workload: Workload,
        times: Times,
        slowness: Slowness,
        costs: Costs,
    ) -> None:
        self._workload, self._times, self._slowness = workload, times, slowness
        self._delays, self._decode = costs.communication, costs.decode
        self._order = Order(workload.plan.owners)
        self._code = workload.plan.code
        self._counting = completion.is_a_matter_of_counting(self._code)

    def run(self, terms: Terms, overhead: float, rng: np.random.Generator) -> Outcome:
        """Simulate a stream.

        Parameters
        ----------
        terms : Terms
            Arrivals and deadlines.
        overhead : float
            Seconds from a job's end to the next one's start at the earliest.
        rng : Generator
            What times are drawn from.
        """
        workload, jobs = self._workload, len(terms.arrivals)
        units = len(workload.plan.units)
        takes, needed = np.empty((jobs, units)), np.empty((jobs, units), np.int64)
        for begin, end, factors in self._slowness.segments(jobs):
            for unit in range(units):
                for at in self._chunks(begin, end):
                    takes[at, unit], needed[at, unit] = self._unit(
                        unit, at.stop - at.start, factors, rng
                    )
        ready = release(np.cumsum(takes, axis=1), workload.firsts, self._decode)
        served = serve(terms, ready, overhead)
        used = np.add.reduceat(needed, workload.firsts, axis=1)
        worked = np.ones_like(served.released)  # after a layer that fails, none is computed
        worked[:, 0] = served.end > served.start
        worked[:, 1:] = served.released[:, :-1]
        handed = np.diff(workload.firsts, append=units) * self._code.coded
        purged = np.where(worked, handed - used, handed)
        cost = workload.costs.mean() * workload.minijobs / (handed / self._code.coded)
        used = np.where(worked, used, 0)
        return Outcome(
            start=served.start,
            end=served.end,
            ready=ready,
            released=served.released,
            used=used,
            late=np.zeros_like(used),
            purged=purged,
            computed=used * cost,
        )

    def _chunks(self, begin: int, end: int) -> list[slice]:
        width = max(len(self._delays), self._code.coded)
        jobs = max(1, _CHUNK_ENTRIES // width)
        return [slice(at, min(at + jobs, end)) for at in range(begin, end, jobs)]

    def _unit(
        self, unit: int, jobs: int, factors: Floats, rng: np.random.Generator
    ) -> tuple[Floats, Integers | int]:
        """Return how long a unit takes, and how many results it takes, for so many jobs."""
        delays = self._delays if unit == 0 else np.zeros_like(self._delays)
        cells = int(self._workload.cells[unit])
        rates = self._rates(cells)
        busy = self._order.busy
        together = np.ptp(delays[busy]) == 0
        loads = np.zeros(len(delays), np.int64)
        loads[busy] = self._order.loads
        if rates is not None and together and completion.counting_pays(loads, self._code.threshold):
            drawn = completion.exponential(rng, self._code.threshold, loads, rates / factors, jobs)
            return drawn + delays[busy[0]], self._code.threshold
        order = self._order
        sizes = self._workload.costs[order.tasks] * cells
        several = 1 if self._times.steady else jobs
        times = self._times.draw(rng, unit, order.workers, sizes, several)
        times *= factors[order.workers]
        done = order.finishing(times)
        done += delays[order.workers]
        if self._counting:
            place = self._code.threshold - 1
            return np.partition(done, place, axis=1)[:, place], self._code.threshold
        found = [completion.recovery(self._code, order.tasks, each) for each in done]
        return np.array([when for when, _ in found]), np.array([count for _, count in found])

    def _rates(self, cells: int) -> Floats | None:
        """Return tasks a second of each worker where they are all alike and exponential."""
        costs = self._workload.costs
        if not self._counting or np.ptp(costs) > 0:
            return None
        return self._times.exponential(float(costs[0]) * cells)
