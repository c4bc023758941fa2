"""The published model: reference tables, closed forms, all codes and distributions."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from bench import simulation as bench
from hpcrefine.schedule.theory import delay_bound


def delays(stream):
    return stream.outcome.ready + (stream.outcome.start - stream.arrivals)[:, None]


def test_published_delays():
    for cells in bench.delays(repeats=4, jobs=5000).values():
        assert all(abs(cell.deviation) < 3 for cell in cells)


def test_published_success_rates():
    for cells in bench.success(repeats=4, jobs=5000).values():
        assert all(abs(cell.deviation) < 3 for cell in cells)


DETERMINISTIC = 'simulate.service={distribution="deterministic"}'


@pytest.mark.parametrize("digits", [1, 2, 3, 5])
@pytest.mark.parametrize("rate", [0.005, 0.01, 0.02])
def test_steady_workers_come_to_the_bounds(streams, published, digits, rate):
    """M/D/1: with as fine tasks as these workers all pull together."""
    settings = [f"resolution.digits={digits}", f"stream.rate={rate}", "stream.jobs=40_000"]
    (stream,) = streams(published, *settings, DETERMINISTIC, "code.redundancy=1.0")
    speed = sum((628.29, 153.15, 508.13, 443.17, 467.26))
    measured = delays(stream)
    batches = measured.reshape(40, -1, measured.shape[1]).mean(axis=1)
    errors = batches.std(axis=0, ddof=1) / np.sqrt(40)
    for layer, share in enumerate(stream.workload.share):
        bound = delay_bound(rate, 50_000, speed, 50_000 * share)
        assert abs(measured[:, layer].mean() - bound) < 4 * errors[layer] + 0.01 * bound


def test_every_layering_does_the_same_work(streams, published):
    for layering, layers in {"antidiagonal": 5, "product": 9, "square": 3, "whole": 1}.items():
        (stream,) = streams(published, f"resolution.layering={layering}", "resolution.digits=3")
        assert stream.outcome.ready.shape == (2000, layers)
        # Z over all workers, and what the split and randomness cost.
        assert 22.7 < stream.outcome.ready[:, -1].mean() < 24
        assert stream.outcome.used.sum(axis=1).tolist() == [9000] * 2000


@pytest.mark.parametrize(
    "service",
    [
        '{distribution="shifted-exponential", shift=0.5}',
        '{distribution="pareto", shape=2.5}',
        '{distribution="deterministic"}',
    ],
)
def test_other_distributions_have_the_same_mean(streams, published, service):
    settings = ["code.redundancy=1.0", "code.tasks=100", "stream.jobs=500"]
    exponential, other = (
        streams(published, *settings, f"simulate.service={each}")[0].outcome.ready[:, -1].mean()
        for each in ('{distribution="exponential"}', service)
    )
    assert 22 < other < exponential * 1.05


@pytest.mark.parametrize(
    ("scheme", "tasks"), [("polynomial", 12), ("matdot", 11), ("blockdiagonal", 12)]
)
def test_other_codes_wait_longer_or_shorter(streams, published, scheme, tasks):
    settings = [f"code.scheme={scheme}", f"code.tasks={tasks}", "code.redundancy=1.5"]
    settings += ["stream.jobs=200", "schedule.split=uniform"]
    (stream,) = streams(published, *settings)
    used = stream.outcome.used[:, 0]
    least = {"polynomial": 12, "matdot": 6, "blockdiagonal": 12}[scheme]
    assert used.min() >= least
    assert used.max() <= 18
    assert np.all(np.diff(stream.outcome.ready, axis=1) > 0)


def test_chunks_do_not_change_what_is_drawn(streams, published, monkeypatch):
    settings = ["code.tasks=20", "stream.jobs=50", "stream.rate=0.02"]
    (one,) = streams(published, *settings)
    monkeypatch.setattr("hpcrefine.simulate.lockstep._CHUNK_ENTRIES", 100)
    (other,) = streams(published, *settings)
    assert np.array_equal(one.outcome.ready, other.outcome.ready)


def test_injected_services_in_place_of_rates(streams, published):
    """Seconds per digit product that the rates come to, injected instead."""
    rates = (628.29, 153.15, 508.13, 443.17, 467.26)
    entries = ", ".join(
        f'{{rank={rank}, service={{distribution="exponential", mean={12_500 / rate}, '
        'per="product"}}'
        for rank, rate in enumerate(rates, start=1)
    )
    text = published[: published.index("[workers]")] + "[simulate]\nmodel = 'published'"
    (one,) = streams(published)
    (other,) = streams(text, f"faults.worker=[{entries}]")
    assert one.workload.plan.owners == other.workload.plan.owners
    assert ks_2samp(one.outcome.ready[:, -1], other.outcome.ready[:, -1]).pvalue > 1e-3


def test_the_larger_one_of_two_times_counts(streams, published):
    injected = 'faults.service={distribution="deterministic", mean=0.05}'
    (stream,) = streams(published, DETERMINISTIC, injected, "schedule.split=uniform")
    # The four fast workers do their 210 tasks of 0.05 s in 10.5 s; the slowest one, whose tasks
    # take 12.5 / 153.15 s, comes later to the 160 that are needed of it.
    assert stream.outcome.ready[:, 0] == pytest.approx(np.full(2000, 160 * 12.5 / 153.15))


def test_slowness_and_communication(streams, published):
    settings = [DETERMINISTIC, "code.redundancy=1.0"]
    (plain,) = streams(published, *settings)
    slow = "[" + ", ".join(f"{{rank={rank}, slows=[[1000, 3.0]]}}" for rank in range(1, 6)) + "]"
    (slowing,) = streams(published, *settings, f"faults.worker={slow}")
    ready = slowing.outcome.ready[:, -1]
    assert ready[999] == pytest.approx(plain.outcome.ready[0, -1])
    assert ready[1000] == pytest.approx(3 * ready[999])
    (late,) = streams(published, *settings, "simulate.communication=2.0", "simulate.decode=0.5")
    assert late.outcome.ready[0] == pytest.approx(plain.outcome.ready[0] + 2.5, rel=1e-3)


def test_coded_one_shot_against_float_one_shot(streams, published):
    settings = ["baseline.oneshot=true", "stream.jobs=300"]
    found = {}
    for coded in ("true", "false"):
        several = streams(published, *settings, f"baseline.coded={coded}")
        (found[coded],) = [stream for stream in several if stream.turn.whole]
    assert found["true"].outcome.used.tolist() == [[1000]] * 300
    assert found["true"].workload.plan.code.coded == 1050
    assert found["false"].workload.plan.code.coded == 1000
    # In float64 it is split evenly: the slowest worker has 200 tasks of 50 operations.
    assert found["false"].outcome.ready.mean() == pytest.approx(200 * 50 / 153.15, rel=0.02)
