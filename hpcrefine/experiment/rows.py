"""From products to rows of the record."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcrefine.experiment.turns import Turn
from hpcrefine.record.schema import PHASES

if TYPE_CHECKING:
    from hpcrefine.cluster.inference import Inference
    from hpcrefine.cluster.master import Product, Resolution
    from hpcrefine.cluster.roster import Event
    from hpcrefine.schedule.plan import Plan

Row = dict[str, Any]


def job_row(
    number: int,
    turn: Turn,
    shape: tuple[int, int, int],
    product: "Product | None",
    times: tuple[float, float, float],
    *,
    rate: float = np.nan,
    **how: Any,
) -> Row:
    """Return the row of a job.

    Parameters
    ----------
    number : int
        Its id.
    turn : Turn
        Of which it is.
    shape : (int, int, int)
        n, k, p.
    product : Product or None
        Settled; None if none was begun.
    times : (float, float, float)
        Arrival, start and end.
    rate : float
        Arrivals a second.
    **how
        ``status``, ``verdict``, ``dead``.
    """
    sent, received = (0, 0) if product is None else product.traffic
    return {
        "job": number,
        "variant": turn.variant,
        "repeat": turn.repeat,
        "warmup": turn.warmup,
        **dict(zip(("n", "k", "p"), shape, strict=True)),
        **dict(zip(("arrival", "start", "end"), times, strict=True)),
        "deadline": np.nan if turn.deadline is None else turn.deadline,
        "scheme": turn.code.scheme if turn.code else "",
        "stragglers": turn.stragglers,
        "sent_bytes": sent,
        "received_bytes": received,
        "split": turn.split if turn.code else "uniform",
        "redundancy": turn.code.redundancy if turn.code else 1.0,
        "rate": rate,
        **how,
    }


def layer_row(
    number: int, product: "Product", resolution: "Resolution", error: float, waited: float = 0.0
) -> Row:
    """Return the row of a layer that was released.

    Parameters
    ----------
    number : int
        The job's id.
    product : Product
        Settled.
    resolution : Resolution
        What was released.
    error : float
        Its measured error.
    waited : float
        Seconds from the job's arrival to its start.
    """
    return _layer(number, product, resolution.layer) | {
        "ready": resolution.seconds,
        "delay": waited + resolution.seconds,
        **product.phases(resolution.layer),
        "error_bound": resolution.error_bound,
        "relative_bound": resolution.relative_bound,
        "error_measured": error,
        "met_deadline": True,
    }


def missing_layer_row(number: int, product: "Product", layer: int) -> Row:
    """Return the row of a layer that was not released."""
    bound = product.bounds[layer]
    unknown = dict.fromkeys(("ready", "delay", *PHASES, "error_measured"), np.nan)
    return _layer(number, product, layer) | {
        **unknown,
        "error_bound": bound.absolute,
        "relative_bound": bound.relative,
        "met_deadline": False,
    }


def skipped_layer_rows(number: int, plan: "Plan") -> list[Row]:
    """Return the rows of a job that was never begun, as others like it are planned."""
    unknown = ("digit_products", "ready", "delay", *PHASES, "error_bound", "relative_bound")
    nothing = {f"tasks_{fate}": 0 for fate in ("used", "late", "purged", "lost")}
    return [
        {
            **{"job": number, "layer": layer.index, "share": layer.share},
            "minijobs": len(layer.minijobs),
            **dict.fromkeys((*unknown, "error_measured"), np.nan),
            **nothing,
            **{"met_deadline": False, "computed": 0.0, "decoding": 0.0, "checking": 0.0},
        }
        for layer in plan.layers
    ]


def _layer(number: int, product: "Product", layer: int) -> Row:
    plan, layered = product.plan, product.layered
    return {
        "job": number,
        "layer": layer,
        "minijobs": len(plan.layers[layer].minijobs) if layered else 0,
        "digit_products": plan.digit_products(layer) if layered else np.nan,
        "share": plan.layers[layer].share,
        **{f"tasks_{fate}": count for fate, count in product.fates(layer).items()},
        "computed": product.computed(layer) if layered else np.nan,
        **product.efforts(layer),
    }


def task_rows(number: int, product: "Product | Inference") -> list[Row]:
    """Return a row for each task that was handed out."""
    return [vars(entry) | {"job": number} for entry in product.log.values()]


def event_rows(number: int, events: "Iterable[Event]", origin: float) -> list[Row]:
    """Return a row for each thing that befell a worker; times count from ``origin``."""
    return [vars(event) | {"job": number, "time": event.time - origin} for event in events]


def estimate_rows(number: int, product: "Product") -> list[Row]:
    """Return a row for each worker of a product: what was known of it, and what it was given."""
    known, plan = product.estimates, product.plan
    if known is None:
        return []
    counts = dict(zip(product.ranks, plan.counts(len(product.ranks)), strict=True))
    if plan.split.dynamic:  # how it turned out
        first = Counter(entry.worker for entry in product.log.values() if entry.attempt == 0)
        counts = {rank: round(first[rank] / len(plan.units)) for rank in product.ranks}
    return [
        {
            "job": number,
            "worker": rank,
            "tasks": counts[rank],
            "mean": known.means[rank - 1],
            "deviation": known.deviations[rank - 1],
            "observed": known.observed[rank - 1],
        }
        for rank in product.ranks
    ]
