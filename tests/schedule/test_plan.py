"""Plans: what is cut, who computes it, what it costs, and what cannot be planned."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcrefine.codes import make_code
from hpcrefine.codes.base import limbs as count_limbs
from hpcrefine.errors import InputError
from hpcrefine.resolution.layers import layering
from hpcrefine.schedule.plan import make_plan
from hpcrefine.schedule.split import deal, uniform


def plan_of(name="antidiagonal", digits=2, code=None, workers=3, shape=(50, 40, 30), **options):
    code = code or make_code("uncoded", 6)
    return make_plan(shape, layering(name, digits), code, workers, **options)


@pytest.mark.parametrize("unit", ["layer", "minijob"])
@pytest.mark.parametrize("name", ["antidiagonal", "product", "square"])
@pytest.mark.parametrize("truncate", [None, 2])
def test_units_cut_the_layers_in_order(name, unit, truncate):
    layers = layering(name, 3, truncate)
    plan = make_plan((50, 40, 30), layers, make_code("uncoded", 6), 4, unit=unit)
    assert [u.index for u in plan.units] == list(range(len(plan.units)))
    for layer in layers:
        mine = [u for u in plan.units if u.layer == layer.index]
        assert tuple(cell for u in mine for cell in u.minijobs) == layer.minijobs
        assert len(mine) == (1 if unit == "layer" else len(layer.minijobs))
    assert [u.layer for u in plan.units] == sorted(u.layer for u in plan.units)
    for u in plan.units:
        assert list(u.significances) == sorted({i + j for i, j in u.minijobs})
    assert plan.digits == 3


def test_digits_are_those_that_the_layers_use():
    plan = make_plan((9, 9, 9), layering("antidiagonal", 5, 1), make_code("uncoded", 2), 2)
    assert plan.digits == 2


def test_every_task_has_an_owner_and_its_rows():
    plan = plan_of(code=make_code("mds", 7, 1.4), workers=3)
    assert plan.owners == deal(uniform(10, 3))
    rows = [plan.result_shape(plan.units[0], task)[1] for task in range(10)]
    assert sum(rows[:7]) == 50
    assert max(rows) - min(rows) == 1
    assert rows[7:] == [8, 8, 8]


def test_digit_products_count_redundancy_and_limbs():
    plan = plan_of()
    assert [plan.digit_products(layer) for layer in range(3)] == [1, 2, 1]
    code = make_code("mds", 16, 1.25)
    plan = plan_of(code=code)
    limbs = [count_limbs(code.left(task)) for task in range(20)]
    assert limbs[:16] == [1] * 16
    assert min(limbs[16:]) >= 2
    expected = [count * sum(limbs) / 16 for count in (1, 2, 1)]
    assert [plan.digit_products(layer) for layer in range(3)] == pytest.approx(expected)


@settings(deadline=None)
@given(
    digits=st.integers(1, 7),
    bits=st.integers(1, 8),
    name=st.sampled_from(["antidiagonal", "product", "square"]),
    unit=st.sampled_from(["layer", "minijob"]),
    inner=st.integers(1, 2**18),
    redundancy=st.sampled_from([1.0, 1.25, 1.5]),
)
def test_results_fit_the_worst_case(digits, bits, name, unit, inner, redundancy):
    code = make_code("mds", 8, redundancy)
    plan = plan_of(name, digits, code, shape=(20, inner, 5), digit_bits=bits, unit=unit)
    peak = 1 << (bits - 1)
    for cut in plan.units:
        together = max(Counter(i + j for i, j in cut.minijobs).values())
        for task in range(code.coded):
            weights = [1] if task < 8 else np.abs(code.generator[task - 8]).tolist()
            worst = inner * together * sum(weights) * peak * peak
            dtype = plan.result_dtype(cut, task)
            assert worst <= np.iinfo(dtype).max
            assert dtype == (np.int32 if worst < 2**31 else np.int64)


@pytest.mark.parametrize(("inner", "dtype"), [(131071, np.int32), (131072, np.int64)])
def test_the_last_inner_dimension_that_fits_int32(inner, dtype):
    lowest = np.full(inner, -128, np.int64)
    assert (lowest @ lowest <= 2**31 - 1) == (dtype == np.int32)
    plan = plan_of(digits=1, shape=(6, inner, 5))
    assert plan.result_dtype(plan.units[0], 0) == dtype


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": "row"}, r"^\[code\] unit: found 'row', expected one of layer, minijob"),
        ({"split": "best"}, r"^\[schedule\] split: found 'best', expected one of uniform"),
        ({"shape": (5, 9, 9)}, r"^\[code\] tasks: found K = 6 tasks for 5 rows of a"),
        ({"survive": -1}, r"^\[code\] survive: found -1, expected 0 or more"),
        ({"workers": 0}, r"^ranks: found 0 workers, expected at least 1"),
    ],
)
def test_errors_name_key_and_remedy(options, message):
    with pytest.raises(InputError, match=message):
        plan_of(**options)


@pytest.mark.parametrize(
    ("tasks", "redundancy", "survive"), [(4, 1.0, 1), (4, 1.25, 2), (10, 1.1, 2)]
)
@pytest.mark.parametrize("workers", [1, 2, 30])
def test_impossible_survival_asks_for_redundancy(tasks, redundancy, survive, workers):
    code = make_code("mds", tasks, redundancy)
    with pytest.raises(InputError, match=rf"survive: found {survive}, but .* higher redundancy"):
        plan_of(code=code, workers=workers, survive=survive)


@pytest.mark.parametrize("survive", [1, 2, 3])
@pytest.mark.parametrize(
    ("scheme", "tasks", "redundancy"),
    [
        ("mds", 8, 1.5),
        ("mds", 16, 1.25),
        ("mds", 6, 2.0),
        ("replication", 4, 4.0),
        ("blockdiagonal", 8, 1.5),
        ("polynomial", 4, 2.0),
        ("matdot", 5, 2.0),
    ],
)
def test_survival_holds_for_any_loss_or_names_the_ranks_needed(scheme, tasks, redundancy, survive):
    code = make_code(scheme, tasks, redundancy)

    def survives(workers):
        owners = deal(uniform(code.coded, workers), [code.group(t) for t in range(code.coded)])
        return all(
            code.recoverable({t for t, owner in enumerate(owners) if owner not in lost})
            for lost in combinations(range(workers), min(survive, workers))
        )

    smallest = next(workers for workers in range(1, 40) if survives(workers))
    for workers in range(1, smallest):
        message = rf"^ranks: found {workers + 1}, expected at least {smallest + 1} for the loss of"
        with pytest.raises(InputError, match=message):
            plan_of(code=code, workers=workers, survive=survive)
    for workers in (smallest, smallest + 1, smallest + 5):
        assert survives(workers)
        assert plan_of(code=code, workers=workers, survive=survive).code is code
