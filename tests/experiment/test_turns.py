"""How many jobs a run will leave."""

from pathlib import Path

import pytest

from hpcrefine.experiment.turns import count_jobs, count_variants, inference_turns, turns
from hpcrefine.job import InferenceJob
from hpcrefine.jobfile import load

JOBS = Path(__file__).parents[2] / "jobs"


@pytest.mark.parametrize("path", sorted(JOBS.glob("*.toml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("repeats", [1, 4])
def test_jobs_are_counted_as_they_are_run(path, repeats):
    job = load(path, [f"job.repeats={repeats}", "job.warmups=2"])
    network = isinstance(job, InferenceJob)
    plan = inference_turns(job) if network else turns(job)
    assert len(plan) == count_variants(job) * (repeats + 2)
    stream = None if network else job.stream
    lengths = [
        1 if stream is None else min(20, stream.length) if turn.warmup else stream.length
        for turn in plan
    ]
    assert count_jobs(job) == sum(lengths)
    counted = [length for length, turn in zip(lengths, plan, strict=True) if not turn.warmup]
    assert count_jobs(job, warmups=False) == sum(counted)
