"""Job files for the simulator, from a few lines."""

from dataclasses import dataclass

import numpy as np
import pytest

from hpcrefine.jobfile import load
from hpcrefine.simulate.simulation import Simulation

PUBLISHED = """
[job]
repeats = 1
[operands]
operations = 50_000.0
[code]
scheme = "mds"
tasks = 1000
redundancy = 1.05
unit = "minijob"
[schedule]
split = "optimal"
[stream]
jobs = 2000
rate = 0.01
[workers]
rates = [628.29, 153.15, 508.13, 443.17, 467.26]
[simulate]
model = "published"
"""

STEADY = """
[job]
repeats = 1
warmups = 0
[operands]
operations = {operations}
[resolution]
digits = {digits}
layering = "product"
[code]
unit = "minijob"
{code}
[schedule]
{schedule}
[stream]
arrivals = "arrivals.txt"
{stream}
[workers]
rates = {rates}
[simulate]
service = {{ distribution = "deterministic" }}
{simulate}
"""


@dataclass
class Job:
    """A job of a simulated stream, times as plain numbers."""

    start: float
    end: float
    ready: list
    released: list
    used: list
    late: list
    purged: list


@pytest.fixture
def streams(tmp_path):
    """Simulate a job file; return what its streams left."""

    def simulated(text, *overrides, workers=5):
        path = tmp_path / "job.toml"
        path.write_text(text)
        return [stream for _, stream in Simulation(load(path, overrides), workers).run()]

    return simulated


@pytest.fixture
def steady(tmp_path, streams):
    """Simulate jobs whose tasks always take as long as one operation does; return each job.

    Without a code there are 2 tasks; the time of one is 1 over the worker's rate.
    """

    def simulated(
        arrivals,
        rates,
        *,
        digits=1,
        tasks=2,
        code='scheme = "mds"\ntasks = 2\nredundancy = 1.5',
        schedule="",
        stream="",
        simulate="",
    ):
        (tmp_path / "arrivals.txt").write_text("\n".join(map(str, arrivals)))
        text = STEADY.format(
            operations=float(tasks * digits**2),
            digits=digits,
            code=code,
            schedule=schedule,
            stream=stream,
            rates=rates,
            simulate=simulate,
        )
        (stream,) = streams(text, workers=len(rates))
        outcome = stream.outcome
        columns = ("start", "end", "ready", "released", "used", "late", "purged")
        jobs = zip(*(getattr(outcome, name).tolist() for name in columns), strict=True)
        return [Job(*job) for job in jobs]

    return simulated


@pytest.fixture
def rng():
    return np.random.default_rng(20)


@pytest.fixture
def published():
    return PUBLISHED
