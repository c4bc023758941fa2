"""Rows of the record's tables, whole streams at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcrefine.experiment.turns import Turn
from hpcrefine.record import schema
from hpcrefine.simulate.outcome import Outcome
from hpcrefine.simulate.workload import Shape, Workload

Floats = NDArray[np.float64]
Rows = NDArray[np.void]


@dataclass(frozen=True)
class Stream:
    """A simulated stream of jobs.

    Attributes
    ----------
    first : int
        Id of its first job; the others follow.
    turn : Turn
        Which variant it is.
    shape : tuple of int, optional
        n, k, p of each product, if there are operands.
    arrivals : ndarray of float, shape (J,)
        Seconds since the stream began.
    rate : float
        Mean arrivals a second; NaN for a job by itself.
    workload : Workload
        What each job asks for.
    outcome : Outcome
        What became of the jobs.
    """

    first: int
    turn: Turn
    shape: Shape | None
    arrivals: Floats
    rate: float
    workload: Workload
    outcome: Outcome

    def __len__(self) -> int:
        return len(self.arrivals)

    @property
    def summary(self) -> str:
        """Mean delays of the layers in one line, of jobs that had them."""
        delays = self.delays
        shown = [
            f"{delays[there, layer].mean():.4g}" if there.any() else "-"
            for layer, there in enumerate(self.outcome.released.T)
        ]
        return f"{'  '.join(shown)} s"

    @property
    def delays(self) -> Floats:
        """When layers were released, since the jobs' arrivals, shape (J, L)."""
        return self._since_arrival(self.outcome.ready)

    def jobs(self) -> Rows:
        """Return the rows of the table ``jobs``."""
        turn, outcome = self.turn, self.outcome
        n, k, p = self.shape or (0, 0, 0)
        alike = {
            "variant": turn.variant.encode(),
            "repeat": turn.repeat,
            **{"n": n, "k": k, "p": p},
            "deadline": np.nan if turn.deadline is None else turn.deadline,
            "verdict": b"unchecked",
            "scheme": turn.code.scheme.encode() if turn.code else b"",
            "stragglers": turn.stragglers,
            "split": turn.split.encode(),
            "redundancy": turn.code.redundancy if turn.code else 1.0,
            "rate": self.rate,
        }
        different = {
            "job": self.first + np.arange(len(self)),
            **{"arrival": self.arrivals, "start": outcome.start, "end": outcome.end},
            "status": np.where(outcome.released.all(axis=1), b"done", b"stopped"),
        }
        return _filled("jobs", (len(self),), alike, different)

    def layers(self) -> Rows:
        """Return the rows of the table ``layers``, one for each layer of each job."""
        workload, outcome = self.workload, self.outcome
        ready = np.where(outcome.released, outcome.ready, np.nan)
        products = workload.minijobs * workload.costs.sum()
        errors = ("error_bound", "relative_bound", "error_measured")
        alike = {
            "layer": np.arange(outcome.ready.shape[1]),
            "minijobs": 0 if workload.floating else workload.minijobs,
            "digit_products": np.nan if workload.floating else products,
            "share": workload.share,
            **dict.fromkeys((*errors, *schema.PHASES, "decoding", "checking"), np.nan),
        }
        different = {
            "job": self.first + np.arange(len(self))[:, None],
            **{"ready": ready, "delay": self._since_arrival(ready)},
            **{"tasks_used": outcome.used, "tasks_late": outcome.late},
            "tasks_purged": outcome.purged,
            "met_deadline": outcome.released,
            "computed": np.nan if workload.floating else outcome.computed,
        }
        return _filled("layers", outcome.ready.shape, alike, different).reshape(-1)

    def estimates(self) -> Rows:
        """Return the rows of the table ``estimates``: for each estimate, one a worker."""
        tables = [np.empty(0, schema.dtype("estimates"))]
        for estimate in self.outcome.estimates:
            rows = np.zeros(len(estimate.loads), schema.dtype("estimates"))
            rows["job"], rows["worker"] = self.first + estimate.job, 1 + np.arange(len(rows))
            rows["tasks"], rows["observed"] = estimate.loads, estimate.observed
            rows["mean"], rows["deviation"] = estimate.means, estimate.deviations
            tables.append(rows)
        return np.concatenate(tables)

    def _since_arrival(self, ready: Floats) -> Floats:
        return np.asarray(ready + (self.outcome.start - self.arrivals)[:, None])


def _filled(
    table: str, shape: tuple[int, ...], alike: Mapping[str, Any], different: Mapping[str, Any]
) -> Rows:
    """Return rows of a table: copies of those of one job, then the columns in which jobs differ."""
    one = np.zeros(shape[1:], schema.dtype(table))
    for name, value in alike.items():
        one[name] = value
    rows = np.empty(shape, one.dtype)
    rows[...] = one
    for name, value in different.items():
        rows[name] = value
    return rows


def tables(streams: Sequence[Stream]) -> tuple[Rows, Rows, Rows]:
    """Return the rows of streams: tables ``jobs``, ``layers``, ``estimates``."""
    jobs = np.concatenate([stream.jobs() for stream in streams])
    layers = np.concatenate([stream.layers() for stream in streams])
    return jobs, layers, np.concatenate([stream.estimates() for stream in streams])
