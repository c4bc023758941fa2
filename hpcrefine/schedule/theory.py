"""What no scheme can beat: lower bounds on mean delays, and when a queue is stable.

All workers pooled into one server with deterministic service and Poisson arrivals (M/D/1,
Pollaczek-Khinchine), as in Esfahanizadeh, Cohen, Shamai, Medard, "Successive Refinement in
Large-Scale Computation", IEEE TSP 2025, section on streams.
"""

import math


def utilisation(rate: float, operations: float, speed: float) -> float:
    """Return rho, the share of time in which pooled workers are busy; stable below 1.

    Parameters
    ----------
    rate : float
        Arrivals a second, lambda.
    operations : float
        Operations Z of a job.
    speed : float
        Operations a second of all workers together, the sum of mu_p.
    """
    return rate * operations / speed


def delay_bound(rate: float, operations: float, speed: float, until: float | None = None) -> float:
    """Return a lower bound on the mean delay of a job, in seconds; infinite if rho >= 1.

    With S = Z / sum(mu) and rho = lambda S: ``lambda S^2 / (2 (1 - rho)) + Z_l / sum(mu)``.

    Parameters
    ----------
    rate, operations, speed : float
        As for :func:`utilisation`.
    until : float, optional
        Operations Z_l of all layers up to the one that is waited for; all of them unless given.
    """
    busy = utilisation(rate, operations, speed)
    if busy >= 1:
        return math.inf
    service = operations / speed
    waiting = rate * service**2 / (2 * (1 - busy))
    return waiting + (operations if until is None else until) / speed
