"""Faults: their distributions, that they can be replayed, and who has them."""

import dataclasses
import math

import numpy as np
import pytest

from hpcrefine.errors import InputError
from hpcrefine.faults import CORRUPTIONS, DISTRIBUTIONS, Draws, Entry, Faults, Service, assign

SERVICES = {
    "exponential": Service("exponential", 3.0),
    "shifted-exponential": Service("shifted-exponential", 3.0, shift=1.0),
    "pareto": Service("pareto", 3.0, shape=6.0),
    "deterministic": Service("deterministic", 3.0),
}
VARIANCES = {
    "exponential": 9,
    "shifted-exponential": 4,
    "pareto": 9 / (6 * 4),
    "deterministic": 0,
}
DRAWN = 400_000


def test_every_distribution_is_tested():
    assert tuple(SERVICES) == DISTRIBUTIONS


@pytest.mark.parametrize("name", SERVICES)
def test_moments(name):
    service = SERVICES[name]
    times = service.draw(np.random.default_rng(1), DRAWN)
    assert times.shape == (DRAWN,)
    assert service.variance == pytest.approx(VARIANCES[name])
    assert times.mean() == pytest.approx(3, abs=5 * math.sqrt(service.variance / DRAWN))
    assert times.var() == pytest.approx(service.variance, rel=0.05)


@pytest.mark.parametrize(
    ("name", "least", "survival"),
    [  # P(time > 4)
        ("exponential", 0, math.exp(-4 / 3)),
        ("shifted-exponential", 1, math.exp(-3 / 2)),
        ("pareto", 2.5, (2.5 / 4) ** 6),
        ("deterministic", 3, 0),
    ],
)
def test_tails(name, least, survival):
    times = SERVICES[name].draw(np.random.default_rng(2), (DRAWN // 4, 4))
    assert times.shape == (DRAWN // 4, 4)
    assert least <= times.min() < least + 1e-4
    spread = math.sqrt(survival * (1 - survival) / DRAWN)
    assert (times > 4).mean() == pytest.approx(survival, abs=5 * spread)


def test_a_heavy_tail_has_no_variance():
    assert Service("pareto", 1.0, shape=2.0).variance == math.inf
    assert math.isfinite(Service("pareto", 1.0, shape=2.001).variance)


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_one_draw_is_the_first_of_many(service):
    one = service.draw(np.random.default_rng(3))
    assert isinstance(one, float)
    assert one == service.draw(np.random.default_rng(3), 2)[0]


ALL = Faults(
    slowdown=4.0,
    slows=((3, 2.5), (7, 1.0)),
    service=SERVICES["pareto"],
    pauses=((0.5, 1.0), (2.0, 0.25)),
    silent_at=1.5,
    silent_after=7,
    kill_at=2.5,
    kill_after=9,
    corrupt_rate=0.5,
    corrupt_kind="stale-job",
)


@pytest.mark.parametrize("faults", [Faults(), ALL, dataclasses.replace(ALL, service=None)])
def test_json_and_back(faults):
    assert Faults.from_json(faults.to_json()) == faults


def test_any_fault_is_one():
    assert Faults().empty
    assert Faults(corrupt_kind="bit-flip").empty
    for field in dataclasses.fields(Faults):
        if field.name != "corrupt_kind":
            assert not Faults(**{field.name: getattr(ALL, field.name)}).empty, field.name


def test_slowness_follows_the_jobs_of_a_stream():
    assert [ALL.slowness(job) for job in (0, 2, 3, 6, 7, 100)] == [4, 4, 10, 10, 4, 4]
    assert Faults(slows=((0, 3.0),)).slowness(0) == 3.0


PLACES = [(job, unit, task) for job in range(3) for unit in range(3) for task in range(3)]


def test_service_times_depend_on_the_place_alone():
    faults = Faults(service=SERVICES["exponential"])
    there = Draws(7, 2)
    times = {place: there.service(faults, *place) for place in PLACES}
    back = Draws(7, 2)
    assert {place: back.service(faults, *place) for place in reversed(PLACES)} == times
    others = {
        draws.service(faults, *place) for draws in (Draws(8, 2), Draws(7, 3)) for place in PLACES
    }
    assert len(others | set(times.values())) == 3 * len(PLACES)


def test_service_times_follow_their_distribution():
    faults = Faults(service=SERVICES["exponential"], slowdown=9.0)  # not counted here
    times = [
        Draws(1, r).service(faults, j, 0, t) for r in (1, 2) for j in (0, 1) for t in range(900)
    ]
    assert np.mean(times) == pytest.approx(3, abs=4 * 3 / math.sqrt(len(times)))
    assert Draws(1, 1).service(Faults(), 0, 0, 0) == 0


def test_corruption_is_as_frequent_as_asked_for_and_can_be_replayed():
    draws, faults = Draws(3, 1), Faults(corrupt_rate=0.25, corrupt_kind="wrong-block")
    found = [draws.corruption(faults, job, 1, task) for job in range(2) for task in range(1000)]
    again = [draws.corruption(faults, job, 1, task) for job in range(2) for task in range(1000)]
    assert [one is None for one in found] == [one is None for one in again]
    details = [one[1].integers(2**62) for one in found if one is not None]
    assert details == [one[1].integers(2**62) for one in again if one is not None]
    assert len(set(details)) == len(details)
    assert {one[0] for one in found if one is not None} == {"wrong-block"}
    assert len(details) == pytest.approx(500, abs=4 * math.sqrt(2000 * 0.25 * 0.75))


def test_any_corruption_is_each_of_the_kinds():
    draws, faults = Draws(3, 1), Faults(corrupt_rate=1.0)
    kinds = [draws.corruption(faults, 0, 0, task)[0] for task in range(900)]
    assert {kind: pytest.approx(300, abs=70) for kind in CORRUPTIONS} == {
        kind: kinds.count(kind) for kind in set(kinds)
    }
    assert all(draws.corruption(Faults(), 0, 0, task) is None for task in range(100))


def slow(assigned):
    return {rank for rank, faults in assigned.items() if faults.slowdown > 1}


def test_nobody_has_faults_unless_asked_for():
    assert assign(3, 0) == {1: Faults(), 2: Faults(), 3: Faults()}


def test_stragglers_are_drawn_from_the_seed():
    drawn = [assign(10, seed, stragglers=3, slowdown=5.0) for seed in range(40)]
    for seed, assigned in enumerate(drawn):
        assert assigned == assign(10, seed, stragglers=3, slowdown=5.0)
        assert sorted(faults.slowdown for faults in assigned.values()) == [1.0] * 7 + [5.0] * 3
    assert set().union(*map(slow, drawn)) == set(range(1, 11))


def test_more_stragglers_are_the_same_and_others():
    entries = [Entry(Faults(kill_at=1.0), count=2)]
    drawn = [assign(10, 5, stragglers=s, slowdown=2.0, entries=entries) for s in range(9)]
    killed = [{r for r, faults in one.items() if faults.kill_at} for one in drawn]
    assert all(ranks == killed[0] for ranks in killed)
    for s in range(1, 9):
        assert len(slow(drawn[s])) == s
        assert slow(drawn[s - 1]) < slow(drawn[s])


def test_entries_do_not_meet():
    own = Service("deterministic", 1.0)
    entries = [
        Entry(Faults(kill_after=3), count=2),
        Entry(Faults(service=own), rank=4),
        Entry(Faults(corrupt_rate=1.0), count=1),
    ]
    for seed in range(50):
        assigned = assign(
            6, seed, service=SERVICES["pareto"], stragglers=2, slowdown=3.0, entries=entries
        )
        assert list(assigned) == [1, 2, 3, 4, 5, 6]
        assert assigned[4] == Faults(service=own)
        rest = [faults for rank, faults in assigned.items() if rank != 4]
        assert all(faults.service == SERVICES["pareto"] for faults in rest)
        kinds = [(f.slowdown, f.kill_after, f.corrupt_rate) for f in rest]
        assert sorted(kinds, key=str) == [
            (1.0, 3, 0.0),
            (1.0, 3, 0.0),
            (1.0, None, 1.0),
            (3.0, None, 0.0),
            (3.0, None, 0.0),
        ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"entries": [Entry(Faults(), rank=1), Entry(Faults(), rank=5)]},
            "[faults] worker[1].rank: found 5, expected 1..4, the ranks of the workers",
        ),
        (
            {"entries": [Entry(Faults(), rank=1), Entry(Faults(), count=4)]},
            "[faults] worker[1].count: found 4, expected at most 3, the number of workers that no "
            "[[faults.worker]] has taken",
        ),
        (
            {"stragglers": 3, "entries": [Entry(Faults(), count=2)]},
            "[faults] stragglers: found 3, expected at most 2, the number of workers that no "
            "[[faults.worker]] has taken",
        ),
    ],
)
def test_more_than_there_are(options, message):
    with pytest.raises(InputError) as caught:
        assign(4, 0, **options)
    assert str(caught.value) == message
