"""Scores found here do not depend on how samples are shared out."""

import os

import numpy as np

from hpcrefine.experiment import localscores
from hpcrefine.experiment.allcores import unbound
from hpcrefine.experiment.localscores import LocalScores
from hpcrefine.inference.network import Network, Node
from hpcrefine.inference.precision import Precision
from hpcrefine.inference.quantise import quantise
from hpcrefine.kernels import KERNELS
from hpcrefine.launch import prepare_process


def test_scores_of_all_samples_in_order(monkeypatch):
    rng = np.random.default_rng(0)
    weights = {"weight": rng.normal(0, 1, (4, 9)), "bias": rng.normal(0, 1, 4)}
    arrays = {key: array.astype(np.float32) for key, array in weights.items()}
    network = Network((9,), (Node("scores", "dense", ("input",), weights=arrays),))
    samples = rng.integers(0, 256, (50, 9), dtype=np.uint8)
    local = LocalScores(quantise(network, Precision(), samples), KERNELS["float64"](None))
    whole = local.layered(samples)
    monkeypatch.setattr(localscores, "_AT_A_TIME", 7)
    assert whole.shape == (2, 50, 4)
    assert np.array_equal(local.layered(samples), whole)
    assert np.array_equal(local.oneshot(samples), whole[-1])
    assert local.layered(samples[:0]).shape == (2, 0, 4)


def test_a_bound_process_is_let_loose_for_a_while():
    own = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(own)})
        with unbound() as threads:
            cores = len(os.sched_getaffinity(0))
            assert cores >= len(own)
            assert threads == max(1, cores // prepare_process())
        assert os.sched_getaffinity(0) == {min(own)}
    finally:
        os.sched_setaffinity(0, own)
