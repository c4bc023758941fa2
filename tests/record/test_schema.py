"""The schema and the packing of rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcrefine.record import schema


@pytest.mark.parametrize("table", schema.TABLES)
def test_every_column_has_a_fixed_size_a_unit_and_a_meaning(table):
    assert not schema.dtype(table).hasobject
    assert len(schema.units(table)) == len(schema.dtype(table).names)
    assert all(c.unit and c.meaning for c in schema.TABLES[table])
    assert len({c.name for c in schema.TABLES[table]}) == len(schema.TABLES[table])


@pytest.mark.parametrize("table", schema.TABLES)
def test_choices_fit_their_column(table):
    for column in schema.TABLES[table]:
        longest = max((len(value.encode()) for value in column.values), default=0)
        assert longest <= np.dtype(column.dtype).itemsize


@given(
    numbers=st.lists(
        st.tuples(
            st.integers(0, 2**63 - 1),
            st.integers(-(2**31), 2**31 - 1),
            st.floats(allow_nan=True, width=64),
            st.sampled_from(["used", "late", "purged", "lost", "rejected"]),
        ),
        max_size=5,
    )
)
def test_packing_keeps_every_value(numbers):
    rest = {"layer": 1, "unit": 2, "task": 3, "sent": 0.25, "received": 0.5, "refine": 2.0}
    rest["attempt"] = 1
    rows = [{"job": j, "worker": w, "compute": c, "status": s} | rest for j, w, c, s in numbers]
    packed = schema.pack("tasks", rows)
    assert packed.dtype == schema.dtype("tasks")
    for row, kept in zip(rows, packed, strict=True):
        for name, value in row.items():
            found = kept[name].decode() if name == "status" else kept[name]
            assert found == value or (np.isnan(value) and np.isnan(found))


def test_missing_and_unknown_columns_are_named(row):
    short = row("tasks")
    del short["compute"]
    with pytest.raises(KeyError, match="compute"):
        schema.pack("tasks", [row("tasks"), short])
    with pytest.raises(KeyError, match="colour"):
        schema.pack("tasks", [row("tasks", colour=1)])


@pytest.mark.parametrize(
    ("column", "value"),
    [("status", "gone"), ("layer", 1.5), ("layer", 2**40), ("layer", "x"), ("sent", "soon")],
)
def test_values_that_do_not_fit_are_refused_with_the_column(row, column, value):
    with pytest.raises(ValueError, match=f"column {column}"):
        schema.pack("tasks", [row("tasks", **{column: value})])


def test_long_names_are_cut(row):
    packed = schema.pack("workers", [row("workers", host="h" * 100)])
    assert packed["host"][0] == b"h" * 64


def make_columns(**changes):
    columns = {"job": 3, "upgrade": [0, 0, 1], "sample": np.arange(3), "label": -1}
    columns |= {"prediction": np.array([1, 0, 1]), "score": 0.25, "error": np.nan, "decided": True}
    return columns | changes


def test_arrays_are_packed_as_rows_are():
    packed = schema.pack_arrays("predictions", make_columns())
    single = {name: np.broadcast_to(values, 3) for name, values in make_columns().items()}
    rows = [{name: values[i].item() for name, values in single.items()} for i in range(3)]
    assert packed.tobytes() == schema.pack("predictions", rows).tobytes()
    none = {name: np.empty(0) for name in make_columns()}
    assert schema.pack_arrays("predictions", none | {"job": 1}).shape == (0,)


def test_arrays_that_do_not_fit_are_refused():
    def refused(error, message, **changes):
        with pytest.raises(error, match=message):
            schema.pack_arrays("predictions", make_columns(**changes))

    refused(KeyError, r"unknown columns \['colour'\]", colour=1)
    refused(ValueError, "column label", label=np.array([0.5, 1, 2]))
    refused(ValueError, "column sample", sample=np.array([0, 1, 2**40]))
    refused(ValueError, "shape", sample=np.arange(4))


def test_columns_are_absent_from_older_records_by_their_kind():
    absent = {(t, c.name): c.absent for t in schema.TABLES for c in schema.TABLES[t] if c.since > 1}
    assert np.isnan(absent.pop(("jobs", "sent_bytes")))
    assert np.isnan(absent.pop(("tasks", "refine")))
    assert absent["jobs", "scheme"] == absent["events", "detail"] == ""
    assert absent["jobs", "stragglers"] == absent["jobs", "dead"] == -1
    assert absent["workers", "session"] == absent["tasks", "attempt"] == 0
    assert schema.Column("late", "?", "1", "came too late", since=2).absent is False


def test_a_table_is_as_old_as_its_oldest_column():
    assert [schema.since(table) for table in schema.TABLES] == [1, 1, 1, 1, 3, 4, 5, 5]


def test_a_variant_is_any_label(row):
    label = "MPIPoolExecutor, chunks of 100"
    assert schema.pack("jobs", [row("jobs", variant=label)])["variant"][0] == label.encode()
