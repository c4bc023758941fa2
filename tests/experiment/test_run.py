"""The order of a run's jobs, and where its record goes."""

import re
from pathlib import Path

import numpy as np
import pytest

from hpcrefine.errors import InputError
from hpcrefine.experiment.run import default_output
from hpcrefine.experiment.turns import Turn, arrivals, turns
from hpcrefine.inputs.operands import load_pair
from hpcrefine.jobfile import load

STREAM = {"stream_jobs": 6, "stream_rate": 2.0}


@pytest.fixture
def job(tmp_path):
    path = tmp_path / "cosine.toml"
    path.write_text(
        '[operands]\na = {random = "normal", shape = [8, 4]}\nb = "a.T"\n[baseline]\noneshot = true'
    )
    return lambda **keys: load(path, [f"{k.replace('_', '.', 1)}={v}" for k, v in keys.items()])


def variants(job):
    return [turn.variant for turn in turns(job)]


def test_warmups_first_then_every_variant_of_every_repeat(job):
    given = job(job_warmups=3, job_repeats=40)
    plan, variants = turns(given), (("layered", given.code), ("oneshot", None))
    kept = ("uniform", None, 0)  # split, deadline, stragglers
    assert plan[:6] == [Turn(*v, *kept, r, True) for r in range(3) for v in variants]
    assert len(plan) == (3 + 40) * 2
    for repeat in range(40):
        pair = plan[6 + 2 * repeat : 8 + 2 * repeat]
        assert {turn.variant for turn in pair} == {"layered", "oneshot"}
        assert {(turn.repeat, turn.warmup) for turn in pair} == {(repeat, False)}


def test_order_is_random_and_the_seed_s(job):
    def order(seed):
        return variants(job(job_seed=seed, job_repeats=100))

    first = order(1)[2::2]
    assert 30 <= first.count("layered") <= 70
    assert order(1) == order(1)
    assert order(1) != order(2)


def test_longer_runs_begin_like_shorter_ones(job):
    short, long = (variants(job(job_repeats=repeats)) for repeats in (5, 50))
    assert long[: len(short)] == short


def test_the_order_draws_nothing_from_the_operands(job):
    given = job(job_seed=5)
    before = load_pair(given)[0]
    turns(given)
    assert np.array_equal(load_pair(given)[0], before)
    shared = np.random.default_rng(5).spawn(3)[2].permutation(["layered", "oneshot"])
    assert variants(given)[2:4] == list(shared)


def test_without_baseline(job):
    given = job(baseline_oneshot="false", job_warmups=0, job_repeats=3)
    expected = [Turn("layered", given.code, "uniform", None, 0, r, False) for r in range(3)]
    assert turns(given) == expected


def test_every_code_that_is_compared_meets_every_number_of_stragglers(job):
    codes = '[{scheme = "mds", redundancy = 1.5}, {name = "plain"}]'
    given = job(compare_codes=codes, compare_stragglers="[0, 2]", job_repeats=30)
    plan = turns(given)
    labels = dict(given.codes) | {"oneshot": None}
    every = [(label, code, slow) for label, code in labels.items() for slow in (0, 2)]
    assert [label for label, _, _ in every[::2]] == ["mds", "plain", "oneshot"]
    assert [(t.variant, t.code, t.stragglers) for t in plan[:6]] == every
    for repeat in range(30):
        part = plan[6 * (repeat + 1) : 6 * (repeat + 2)]
        assert {turn.repeat for turn in part} == {repeat}
        found = {(t.variant, t.stragglers): t.code for t in part}
        assert found == {(label, slow): code for label, code, slow in every}
    orders = {tuple(t.variant for t in plan[6 * r : 6 * (r + 1)]) for r in range(1, 31)}
    assert len(orders) > 5


def test_a_plain_job_meets_the_stragglers_of_its_faults(job):
    plan = turns(job(faults_stragglers=1))
    assert {(turn.variant, turn.stragglers) for turn in plan} == {("layered", 1), ("oneshot", 1)}


def met(turns):
    """What turns meet, apart from the number of the repeat."""
    return [(t.variant, t.code, t.split, t.deadline, t.stragglers) for t in turns]


def check_every_repeat(plan, every, warmups, repeats):
    """Warm-ups in order, then each repeat's in any; all of them meet everything once."""
    size = len(every)
    assert plan[:size] == [Turn(*kind, 0, True) for kind in every]
    assert len(plan) == size * (warmups + repeats)
    orders = set()
    for number in range(warmups + repeats):
        part = plan[size * number : size * (number + 1)]
        assert sorted(met(part), key=str) == sorted(every, key=str)
        of_repeats = number >= warmups
        repeat = number - warmups * of_repeats
        assert {(turn.repeat, turn.warmup) for turn in part} == {(repeat, not of_repeats)}
        orders.add(str(met(part)) if of_repeats else "")
    assert len(orders) > 2  # that of the warm-ups is ""


def test_split_and_deadline_are_those_of_the_job(job):
    given = job(schedule_split='"dynamic"', stream_deadline=0.5, **STREAM)
    found = {(turn.variant, turn.split, turn.deadline) for turn in turns(given)}
    assert found == {("layered", "dynamic", 0.5), ("oneshot", "dynamic", 0.5)}


def test_every_split_that_is_compared_is_met_instead_of_the_schedule_s(job):
    given = job(compare_splits='["optimal", "dynamic"]', schedule_split='"uniform"', job_repeats=20)
    every = [
        (label, code, split, None, 0)
        for label, code in (("layered", given.code), ("oneshot", None))
        for split in ("optimal", "dynamic")
    ]
    check_every_repeat(turns(given), every, warmups=1, repeats=20)


def test_every_code_meets_every_redundancy_that_is_compared(job):
    given = job(
        code_scheme='"mds"',
        code_tasks=4,
        compare_redundancies="[1.25, 1.5, 2.0]",
        job_repeats=20,
    )
    assert [code.redundancy for _, code in given.codes] == [1.25, 1.5, 2.0]
    assert {label for label, _ in given.codes} == {"layered"}
    every = [("layered", code, "uniform", None, 0) for _, code in given.codes]
    every.append(("oneshot", None, "uniform", None, 0))  # once: it has no redundancy
    check_every_repeat(turns(given), every, warmups=1, repeats=20)


def test_every_deadline_that_is_compared_is_met_instead_of_the_stream_s(job):
    given = job(compare_deadlines="[0.1, 0.4]", stream_deadline=9.0, job_repeats=20, **STREAM)
    every = [
        (label, code, "uniform", deadline, 0)
        for label, code in (("layered", given.code), ("oneshot", None))
        for deadline in (0.1, 0.4)
    ]
    check_every_repeat(turns(given), every, warmups=1, repeats=20)


def test_deadlines_are_compared_in_streams_only(job):
    with pytest.raises(InputError, match=r"\[compare\] deadlines.*without \[stream\]"):
        job(compare_deadlines="[0.1, 0.4]")


def test_all_that_is_compared_at_once(job):
    given = job(
        compare_codes='[{scheme = "mds"}, {scheme = "polynomial"}]',
        compare_redundancies="[1.5, 2.0]",
        compare_splits='["uniform", "dynamic"]',
        compare_deadlines="[0.1, 0.4]",
        compare_stragglers="[0, 1]",
        code_scheme='"mds"',
        code_tasks=4,
        job_repeats=3,
        **STREAM,
    )
    kinds = [*given.codes, ("oneshot", None)]
    assert [(label, code and code.redundancy) for label, code in kinds] == [
        *(("mds", 1.5), ("mds", 2.0), ("polynomial", 1.5), ("polynomial", 2.0)),
        ("oneshot", None),
    ]
    every = [
        (label, code, split, deadline, slow)
        for label, code in kinds
        for split in ("uniform", "dynamic")
        for deadline in (0.1, 0.4)
        for slow in (0, 1)
    ]
    check_every_repeat(turns(given), every, warmups=1, repeats=3)


def test_a_coded_baseline_is_each_code_in_one_piece(job):
    given = job(
        baseline_coded="true",
        code_scheme='"mds"',
        code_tasks=4,
        compare_redundancies="[1.5, 2.0]",
        job_repeats=20,
    )
    every = [
        (label, code, "uniform", None, 0)
        for label in ("layered", "oneshot")
        for _, code in given.codes
    ]
    plan = turns(given)
    check_every_repeat(plan, every, warmups=1, repeats=20)
    assert all(turn.whole == (turn.variant == "oneshot") for turn in plan)


def test_a_coded_baseline_is_one_without_oneshot(job):
    given = job(baseline_coded="true", baseline_oneshot="false")
    assert {turn.variant for turn in turns(given)} == {"layered"}


def test_arrivals_are_the_seed_s_and_the_repeat_s(job):
    given = job(**STREAM)
    first = arrivals(given, 0)
    assert first.shape == (6,)
    assert np.all(np.diff(first) > 0)
    assert np.array_equal(arrivals(job(**STREAM), 0), first)
    assert not np.array_equal(arrivals(given, 1), first)
    assert not np.array_equal(arrivals(job(job_seed=9, **STREAM), 0), first)
    shared = np.random.default_rng(given.job.seed).spawn(5)[3].spawn(3)[2]
    assert np.array_equal(arrivals(given, 2), np.cumsum(shared.exponential(0.5, 6)))


def test_arrivals_do_not_depend_on_variants_nor_on_what_was_drawn_before(job):
    """So all variants of a repeat meet the same ones, in whatever order."""
    plain = job(**STREAM)
    alone = arrivals(plain, 3)
    other = job(
        compare_splits='["optimal", "dynamic"]',
        compare_deadlines="[0.1, 0.4]",
        baseline_oneshot="false",
        **STREAM,
    )
    turns(other)
    load_pair(other)
    arrivals(other, 7)
    assert np.array_equal(arrivals(other, 3), alone)


def test_periodic_arrivals_are_the_same_in_every_repeat(job):
    given = job(stream_arrivals='"periodic"', **STREAM)
    for repeat in range(3):
        assert arrivals(given, repeat).tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]


def test_there_are_no_arrivals_without_a_stream(job):
    with pytest.raises(InputError, match=r"cosine.toml: found no \[stream\]"):
        arrivals(job(), 0)


def test_default_output(job):
    first, second = default_output(job()), default_output(job())
    assert re.fullmatch(r"results/cosine-\d{8}T\d{12}\.h5", str(first))
    assert first != second
    assert default_output(job(job_name="of pictures")).name.startswith("of pictures-")


def test_the_output_that_a_job_names(job):
    assert default_output(job(record_file="deep/run.h5")) == Path("deep/run.h5")
