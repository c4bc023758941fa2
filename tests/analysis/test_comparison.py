"""What is found between two studies, and what is not."""

import math

import numpy as np
import pytest

from hpcrefine.analysis.comparison import compare
from hpcrefine.analysis.study import load
from hpcrefine.errors import InputError
from tests.studies import steady


def test_a_study_has_no_difference_from_itself(make_study):
    points = [(w, {}, {"layered": steady(1 / w), "oneshot": steady(2 / w)}) for w in (1, 2)]
    study = load(make_study(points))
    found = compare(study, study)
    assert len(found) == 4
    for row in found:
        assert row.ratio == 1
        assert row.low <= 1 <= row.high
        assert row.p == pytest.approx(1)
        assert not row.significant
        assert row.verdict == "no difference found"


def test_differences_are_found_and_partners_matched(make_study):
    before = [
        (1, {"code.redundancy": 1.0}, {"layered": np.stack([steady(1.0), steady(2.0)], 1)}),
        (1, {"code.redundancy": 1.5}, {"layered": steady(1.0)}),
        (2, {"code.redundancy": 1.0}, {"oneshot": steady(1.0)}),
    ]
    after = [
        (2, {"code.redundancy": 1.0}, {"oneshot": steady(1.0005)}),
        (1, {"code.redundancy": 1.0}, {"layered": np.stack([steady(0.5), steady(3.0)], 1)}),
        (4, {"code.redundancy": 1.0}, {"oneshot": steady(1.0)}),
    ]
    studies = [load(make_study(points, name=n)) for points, n in [(before, "old"), (after, "new")]]
    rows = compare(*studies)
    assert [
        (row.settings, row.ranks, row.variant, row.layer, row.verdict, row.significant)
        for row in rows
    ] == [
        ("code.redundancy=1.0", 2, "layered", 0, "faster", True),
        ("code.redundancy=1.0", 2, "layered", 1, "slower", True),
        ("code.redundancy=1.0", 3, "oneshot", 0, "no difference found", False),
        ("code.redundancy=1.5", 2, "layered", 0, "only in base", False),
        ("code.redundancy=1.0", 5, "oneshot", 0, "only in new", False),
    ]
    assert [row.ratio for row in rows[:3]] == pytest.approx([0.5, 1.5, 1.0005])
    assert rows[0].low < 0.5 < rows[0].high
    assert all(math.isnan(row.ratio) and math.isnan(row.p) for row in rows[3:])
    assert (rows[3].base.count, rows[3].new.count) == (11, 0)


def test_studies_without_common_points_are_refused(record):
    one = load(record("one.h5", {"layered": [1.0] * 6}, workers=1))
    two = load(record("two.h5", {"layered": [1.0] * 6}, workers=2))
    with pytest.raises(InputError, match=r"two.h5 against .*one.h5: found no two points with the"):
        compare(one, two)
