"""Running a case: contenders interleaved, every result checked, every run recorded."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from bench.case import Case, Contender, Outcome
from bench.comparison import compare, text
from hpcrefine.cluster.pool import Pool
from hpcrefine.record import environment
from hpcrefine.record.reader import read
from hpcrefine.record.schema import PHASES
from hpcrefine.record.writer import RecordWriter

#: Names of figures in the record's environment start with it.
FIGURE = "bench_"
_REST = 0.15  # seconds before each run: BLAS threads of the one before spin on for a while
_COLUMNS = ("rank", "host", "pid", "cpus", "threads", "kernel")


@dataclass(frozen=True)
class Site:
    """Where a comparison takes place.

    Attributes
    ----------
    workers : list of dict
        What the pool's workers say of themselves.
    mpi : dict
        Versions of MPI and mpi4py.
    """

    workers: list[dict[str, Any]]
    mpi: dict[str, str]

    @classmethod
    def of(cls, pool: Pool) -> Self:
        """Ask a pool, on rank 0."""
        return cls(pool.configure(), pool.mpi)

    def environment(self, figures: Mapping[str, float]) -> dict[str, str | int | float]:
        """Describe it for a record, with figures that are no times."""
        return environment.collect(
            kernel=", ".join(sorted({row["kernel"] for row in self.workers})),
            **self.mpi,
            threads=self.workers[0]["threads"],
            extra={FIGURE + name: float(value) for name, value in figures.items()},
        )


def measure(
    case: Case, site: Site, directory: Path, figures: Mapping[str, float] | None = None
) -> Path:
    """Run a case, print its table and return its record.

    Parameters
    ----------
    case : Case
        What to compare.
    site : Site
        Where.
    directory : Path
        Where the record goes, under the case's name.
    figures : mapping, optional
        Numbers that are no times (bytes, shares), for the record's environment.
    """
    directory.mkdir(parents=True, exist_ok=True)
    writer = RecordWriter(
        directory / f"{case.name}.h5",
        job_text=case.toml(),
        kind="measured",
        environment=site.environment(figures or {}),
        workers=[{name: row[name] for name in _COLUMNS} for row in site.workers],
        force=True,
    )
    origin = time.perf_counter()
    with writer:
        for number, (contender, repeat, warmup) in enumerate(case.turns()):
            time.sleep(_REST)
            start = time.perf_counter() - origin
            outcome = contender.run()
            head = {"job": number, "repeat": repeat, "warmup": warmup, "start": start}
            writer.append(*rows(head, contender, outcome))
    print(text(compare(read(writer.path))), flush=True)
    return writer.path


def rows(
    head: Mapping[str, Any], contender: Contender, outcome: Outcome
) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    """Return a run's rows of the tables ``jobs``, ``layers`` and ``tasks``."""
    n, k, p = contender.shape
    job = {
        **head,
        "variant": contender.name,
        **{"n": n, "k": k, "p": p},
        "arrival": head["start"],
        "end": head["start"] + outcome.seconds[-1],
        "deadline": np.nan,
        "status": "done",
        "verdict": outcome.verdict,
        **{"scheme": "", "stragglers": 0, "dead": 0},
        **{"sent_bytes": np.nan, "received_bytes": np.nan},
        **{"split": "", "redundancy": np.nan, "rate": np.nan},
    }
    layers = [
        {
            **{"job": head["job"], "layer": layer, "ready": seconds, "delay": seconds},
            **{"minijobs": 0, "digit_products": np.nan, "share": 1.0},
            **{"error_bound": np.nan, "relative_bound": np.nan, "error_measured": error},
            **{"tasks_used": 0, "tasks_late": 0, "tasks_purged": 0, "tasks_lost": 0},
            "met_deadline": True,
            **dict.fromkeys((*PHASES, "computed", "decoding", "checking"), np.nan),
            **details,
        }
        for layer, seconds, error, details in outcome.layers
    ]
    return job, layers, [{**task, "job": head["job"]} for task in outcome.tasks]
