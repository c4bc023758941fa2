"""Streams as real ranks serve them: workers go on by themselves and finish what they have begun.

A worker does its tasks of each unit, then those of the next one. Once a unit is recovered, tasks of
it that have not begun are dropped. Tasks of a job begin when it has started, those of a worker that
is still busy with the job before when it is done with that. Jobs depend on each other through such
tasks, and are simulated one after the other.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hpcrefine.schedule.estimates import Estimator
from hpcrefine.schedule.terms import Terms
from hpcrefine.simulate.handing import Drawn, Handing
from hpcrefine.simulate.outcome import Costs, Course, Estimate, Outcome
from hpcrefine.simulate.queue import release
from hpcrefine.simulate.shares import Shares, suits
from hpcrefine.simulate.workers import Slowness, Times
from hpcrefine.simulate.workload import Workload

Floats = NDArray[np.float64]
Attempt = Callable[[Floats, float], Course]


class Ranks:
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
        What takes time besides.
    forgetting : float, optional
        Of the estimator that tasks are split by; they stay where they are without.
    prior : ndarray of float, shape (P,), optional
        What is thought of the workers at first, in seconds per digit product.
    """

    def __init__(
        self,
        workload: Workload,
        times: Times,
        slowness: Slowness,
        costs: Costs,
        forgetting: float | None = None,
        prior: Floats | None = None,
    ) -> None:
        self._workload, self._times, self._slowness = workload, times, slowness
        self._costs = costs
        self._forgetting, self._prior = forgetting, prior

    def run(self, terms: Terms, overhead: float, rng: np.random.Generator) -> Outcome:
        """Simulate a stream, see :meth:`hpcrefine.simulate.lockstep.Lockstep.run`."""
        workload, jobs = self._workload, len(terms.arrivals)
        firsts = workload.firsts
        units, layers = len(workload.plan.units), len(firsts)
        free = np.zeros(len(self._costs.communication))
        starts, ends, ready = np.empty(jobs), np.empty(jobs), np.full((jobs, layers), np.inf)
        fates = np.zeros((3, jobs, units), np.int64)
        fates[2] = workload.plan.code.coded
        computed = np.zeros((jobs, units))
        estimates: list[Estimate] = []
        attempts = self._attempts(jobs, rng, estimates)
        released = np.zeros((jobs, layers), bool)
        end = -math.inf
        for job, arrival in enumerate(terms.arrivals.tolist()):
            start = max(end + overhead, arrival)
            cut = terms.end(job, start)
            attempt = next(attempts)
            if start >= cut:
                starts[job] = ends[job] = cut
                continue
            course = attempt(np.maximum(start + self._costs.communication, free), cut)
            free = course.free
            when = release(course.recovered, firsts, self._costs.decode)
            end = min(float(when[-1]), cut)
            starts[job], ends[job], ready[job] = start, end, when - start
            released[job] = when <= cut
            fates[:, job] = course.used, course.late, course.purged
            computed[job] = course.computed
        used, late, purged = np.add.reduceat(fates, firsts, axis=2)
        return Outcome(
            start=starts,
            end=ends,
            ready=ready,
            released=released,
            used=used,
            late=late,
            purged=purged,
            computed=np.add.reduceat(computed, firsts, axis=1),
            estimates=estimates,
        )

    def _attempts(
        self, jobs: int, rng: np.random.Generator, estimates: list[Estimate]
    ) -> Iterator[Attempt]:
        """Yield for each job what simulates it; add to the estimates what is told of it."""
        if self._forgetting is not None:
            yield from self._learning(jobs, rng, estimates, self._forgetting)
        elif suits(self._workload.plan):
            shares = Shares(self._workload, self._times, self._costs.purge)
            for begin, end, factors in self._slowness.segments(jobs):
                for drawn in shares.draw(rng, factors, end - begin):
                    yield partial(shares.run, drawn)
        else:
            times = Drawn(self._times, rng)
            for begin, end, factors in self._slowness.segments(jobs):
                for _ in range(begin, end):
                    yield Handing(self._workload, factors, times, self._costs.purge).run

    def _learning(
        self, jobs: int, rng: np.random.Generator, estimates: list[Estimate], forgetting: float
    ) -> Iterator[Attempt]:
        """Yield for each job what simulates it with the split that is best as far as is known."""
        workload, workers = self._workload, len(self._costs.communication)
        estimator = Estimator(workers, forgetting, self._prior)
        times = Drawn(self._times, rng)
        for begin, end, factors in self._slowness.segments(jobs):
            for job in range(begin, end):
                plan = workload.plan.with_owners(workers, estimator.moments(workload.size))
                if job == 0 or plan.owners != workload.plan.owners:
                    workload = replace(workload, plan=plan)
                    shares = Shares(workload, self._times, self._costs.purge)
                    loads = np.array(plan.counts(workers))
                    known = estimator.means.copy(), estimator.deviations, estimator.observed.copy()
                    estimates.append(Estimate(job, loads, *known))
                attempt: Attempt
                if suits(plan):
                    attempt = partial(shares.run, next(shares.draw(rng, factors, 1)))
                else:
                    attempt = Handing(workload, factors, times, self._costs.purge).run
                yield partial(_observed, attempt, estimator)


def _observed(attempt: Attempt, estimator: Estimator, begin: Floats, cut: float) -> Course:
    """Simulate a job and take note of how long its tasks took."""
    course = attempt(begin, cut)
    for worker, seconds in zip(course.workers.tolist(), course.seconds.tolist(), strict=True):
        estimator.observe(worker, seconds)
    return course
