"""Load split: even counts, dealt at an even pace, low tasks first."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcrefine.schedule.split import deal, uniform, worst_loss

all_counts = st.lists(st.integers(0, 12), min_size=1, max_size=9)


@given(tasks=st.integers(1, 500), workers=st.integers(1, 60))
def test_uniform_gives_all_and_differs_by_at_most_one(tasks, workers):
    counts = uniform(tasks, workers)
    assert len(counts) == workers
    assert sum(counts) == tasks
    assert max(counts) - min(counts) <= 1
    assert list(counts) == sorted(counts, reverse=True)


@given(all_counts)
def test_deal_respects_counts(counts):
    owners = deal(counts)
    assert [owners.count(w) for w in range(len(counts))] == counts


@given(all_counts)
def test_deal_keeps_every_worker_at_its_pace(counts):
    """After any number of tasks each worker has its share of them, to within one task."""
    owners, dealt = deal(counts), np.zeros(len(counts))
    total = sum(counts)
    for number, worker in enumerate(owners, 1):
        dealt[worker] += 1
        progress = [dealt[w] / c for w, c in enumerate(counts) if c]
        steps = [1 / c for c in counts if c]
        assert max(progress) - min(progress) <= 2 * max(steps)
        if len(set(counts)) == 1:
            assert np.abs(dealt - np.array(counts) * number / total).max() < 1


@pytest.mark.parametrize(
    ("counts", "owners"),
    [
        ((2, 2, 2), (0, 1, 2, 0, 1, 2)),
        ((3, 1), (0, 0, 1, 0)),
        ((4, 2, 0), (0, 1, 0, 0, 1, 0)),
        ((1, 5), (1, 1, 0, 1, 1, 1)),
    ],
)
def test_deal_by_hand(counts, owners):
    assert deal(counts) == owners


@given(owners=st.lists(st.integers(0, 7), min_size=1, max_size=40), lost=st.integers(0, 8))
def test_worst_loss_is_that_of_the_busiest(owners, lost):
    counts = sorted((owners.count(w) for w in range(8)), reverse=True)
    assert worst_loss(owners, 8, lost) == sum(counts[:lost])


@given(st.integers(2, 9), st.integers(1, 40), st.sampled_from([2, 3]))
def test_copies_are_spread(workers, blocks, copies):
    """As replication deals them: no worker has a block twice, and shares stay even."""
    order = list(range(blocks)) * copies
    counts = uniform(len(order), workers)
    owners = deal(counts, order)
    assert [owners.count(w) for w in range(workers)] == list(counts)
    if workers >= copies and blocks >= workers:
        assert len(set(zip(owners, order, strict=True))) == len(order)
