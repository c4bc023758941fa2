"""The order of a run's jobs, and where its record goes."""

import re
from pathlib import Path

import numpy as np
import pytest

from hpcrefine.experiment import default_output
from hpcrefine.jobfile import load
from hpcrefine.operands import load_pair
from hpcrefine.turns import Turn, turns


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
    assert plan[:6] == [Turn(*v, 0, r, True) for r in range(3) for v in variants]
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
    assert turns(given) == [Turn("layered", given.code, 0, r, False) for r in range(3)]


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


def test_default_output(job):
    first, second = default_output(job()), default_output(job())
    assert re.fullmatch(r"results/cosine-\d{8}T\d{12}\.h5", str(first))
    assert first != second
    assert default_output(job(job_name="of pictures")).name.startswith("of pictures-")


def test_the_output_that_a_job_names(job):
    assert default_output(job(record_file="deep/run.h5")) == Path("deep/run.h5")
