"""Blocks and counts: every row in one block, every task counted once."""

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcrefine.codes import Blocks, coded_tasks


@given(rows=st.integers(1, 5000), share=st.floats(0, 1))
def test_blocks_cover_the_rows_in_order_and_evenly(rows, share):
    count = max(1, round(rows * share))
    blocks = Blocks(rows, count)
    covered = [row for part in blocks.slices for row in range(part.start, part.stop)]
    assert covered == list(range(rows))
    sizes = [part.stop - part.start for part in blocks.slices]
    assert len(sizes) == count
    assert max(sizes) - min(sizes) <= 1
    assert blocks.height == max(sizes)


@pytest.mark.parametrize(
    ("tasks", "redundancy", "coded"),
    [(16, 1.25, 20), (10, 1.1, 11), (1000, 1.02, 1020), (3, 1.1, 4), (7, 1.0, 7), (4, 2.5, 10)],
)
def test_coded_tasks(tasks, redundancy, coded):
    assert coded_tasks(tasks, redundancy) == coded


@given(tasks=st.integers(1, 20000), thousandths=st.integers(1000, 4000))
def test_coded_tasks_is_the_ceiling_of_the_decimal_number(tasks, thousandths):
    exact = ceil(Fraction(tasks * thousandths, 1000))
    assert coded_tasks(tasks, thousandths / 1000) == exact
