"""What the model finds in times whose law is known, and how sure it is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcrefine.analysis.model import fit

COUNTS = (1, 2, 4, 8, 16, 32)


def law(terms, p):
    p = np.asarray(p, float)
    serial, parallel, logarithmic, linear = terms
    return serial + parallel / p + logarithmic * np.log2(p) + linear * p


def fitted(terms, noise=0.0, jobs=15, counts=COUNTS, weak=False, seed=0):
    draw = np.random.default_rng(seed)
    times = {p: law(terms, p) * np.exp(noise * draw.standard_normal(jobs)) for p in counts}
    return fit(times, weak=weak, series="", variant="layered", layer=0)


def terms_of(model):
    return [model.serial, model.parallel, model.logarithmic, model.linear]


@pytest.mark.parametrize(
    ("terms", "weak"),
    [
        ([0.1, 2.0, 0.0, 0.0], False),
        ([0.05, 1.0, 0.02, 0.003], False),
        ([0.0, 1.0, 0.0, 0.01], False),
        ([0.5, 0.0, 0.1, 0.0], True),
        ([0.5, 0.0, 0.0, 0.0], True),
    ],
)
def test_a_law_without_noise_is_found_and_foretold(terms, weak):
    model = fitted(terms, weak=weak)
    assert terms_of(model) == pytest.approx(terms, abs=1e-9)
    assert model.error < 1e-9
    assert model.points == 6
    assert model.time([[64, 128]]) == pytest.approx(law(terms, [[64, 128]]))
    low, high = model.band(3)
    assert low == pytest.approx(law(terms, 3))
    assert high == pytest.approx(law(terms, 3))


def test_a_law_under_noise_is_found_roughly():
    found = [terms_of(fitted([0.1, 2.0, 0.0, 0.004], 0.05, 21, seed=s)) for s in range(20)]
    assert np.median(found, axis=0) == pytest.approx([0.1, 2.0, 0.0, 0.004], rel=0.1, abs=0.01)


def test_the_band_covers_the_law_as_often_as_it_says():
    terms, at = [0.1, 1.0, 0.02, 0.002], [1, 3, 8, 32]
    hits = []
    for seed in range(60):
        low, high = fitted(terms, 0.08, 12, seed=seed).band(at)
        hits.append((low <= law(terms, at)) & (law(terms, at) <= high))
    # Four standard deviations of a share of 240 that depend on each other by four.
    assert 0.95 - 4 * np.sqrt(0.05 * 0.95 / 60) < np.mean(hits)
    assert np.mean(hits) < 1


@settings(max_examples=20, deadline=None)
@given(
    st.dictionaries(
        st.integers(1, 4096),
        st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=5),
        min_size=3,
        max_size=6,
    ),
    st.booleans(),
)
def test_no_term_is_negative_whatever_the_times(times, weak):
    model = fit(times, weak=weak, series="", variant="", layer=0)
    assert min(terms_of(model)) >= 0
    assert (model.time([*times]) >= 0).all()
    assert not (weak and model.parallel)


def test_few_times_have_no_band_and_few_worker_counts_no_model():
    model = fitted([0.1, 1.0, 0, 0], jobs=5)
    assert np.isnan(model.band([1, 2])).all()
    assert model.time(2) == pytest.approx(0.6)
    assert fitted([0.1, 1.0, 0, 0], counts=(1, 2)) is None
    nothing = {1: [1.0], 2: [0.5], 4: []}
    assert fit(nothing, weak=False, series="", variant="", layer=0) is None
