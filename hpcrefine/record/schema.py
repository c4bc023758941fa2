"""The record's tables: every column with its type, its unit and its meaning, in this one place.

History of the format's versions:

1. First version: tables ``workers``, ``jobs``, ``layers``, ``tasks``; group ``environment``.
2. Phases of ``ready``: columns ``prepare``, ``transfer``, ``compute``, ``refine``, ``decode`` of
   ``layers``, column ``refine`` of ``tasks``; older records have NaN there. ``jobs.variant`` takes
   any label of up to 32 bytes.
3. Codes, faults and resumed runs: table ``events``; columns ``session`` of ``workers``; ``scheme``,
   ``stragglers``, ``dead``, ``sent_bytes``, ``received_bytes`` of ``jobs``; ``computed``,
   ``decoding``, ``checking`` of ``layers``; ``attempt`` of ``tasks``, whose ``status`` may be
   ``rejected``. Older records have the columns' ``absent`` values there, and no events.
4. Streams and simulations: table ``estimates``; columns ``split``, ``redundancy``, ``rate`` of
   ``jobs``; a job of a stream has a row in ``layers`` for each layer, with NaN times where it was
   not released. Simulated records have no tasks, and compressed tables.
5. Inference: tables ``upgrades`` and ``predictions``. A job of inference has rows in ``upgrades``
   and none in ``layers``; in ``jobs`` its n, k, p are samples, numbers of a sample and scores of a
   sample, and in ``tasks`` a layer is an upgrade.

Strings have fixed lengths, since a file in SWMR mode takes no variable-length data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

FORMAT = "hpcrefine"
FORMAT_VERSION = 5
ENVIRONMENT = "environment"
ATTRIBUTES = (
    "format",
    "format_version",
    "created",
    "hpcrefine_version",
    "job",
    "kind",
    "complete",
)
KINDS = ("measured", "simulated")

#: Columns of ``layers`` that add up to ``ready``, in the order of events.
PHASES = ("prepare", "transfer", "compute", "refine", "decode")

#: Job id of rows that were allocated but never written (a writer killed in between).
NO_JOB = -1

_ABSENT: dict[str, float | int | str | bool] = {"f": np.nan, "i": -1, "S": "", "b": False}


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    name : str
        Its name in the compound type.
    dtype : str
        NumPy type; strings as ``"S<bytes>"``.
    unit : str
        Unit of its values, ``"1"`` where there is none.
    meaning : str
        One line for people.
    values : tuple of str
        The only values a string column may take; empty where anything goes.
    since : int
        Version of the format that brought it.
    older : int, optional
        What it holds in older records, where that is not the usual NaN, -1, "" or False.
    """

    name: str
    dtype: str
    unit: str
    meaning: str
    values: tuple[str, ...] = ()
    since: int = 1
    older: int | None = None

    @property
    def absent(self) -> float | int | str | bool:
        """Value in records of a version older than the column."""
        return _ABSENT[np.dtype(self.dtype).kind] if self.older is None else self.older


TABLES: dict[str, tuple[Column, ...]] = {
    "workers": (
        Column("rank", "i4", "1", "rank in the communicator"),
        Column("host", "S64", "1", "host name"),
        Column("pid", "i8", "1", "process id"),
        Column("cpus", "S64", "1", "affinity list, such as 0-1"),
        Column("threads", "i4", "1", "threads of the kernel"),
        Column("kernel", "S16", "1", "kernel of the digit products"),
        Column("session", "i4", "1", "0: first start, 1: first resume, ..", since=3, older=0),
    ),
    "jobs": (
        Column("job", "i8", "1", "id of the job, unique in the file"),
        Column(
            "variant", "S32", "1", "how it was computed: layered, adaptive, oneshot, or any label"
        ),
        Column("repeat", "i4", "1", "repetition"),
        Column("warmup", "?", "1", "not to be counted"),
        Column("n", "i8", "1", "rows of A; samples"),
        Column("k", "i8", "1", "columns of A, rows of B; numbers of a sample"),
        Column("p", "i8", "1", "columns of B; scores of a sample"),
        Column("arrival", "f8", "s", "since the run's start"),
        Column("start", "f8", "s", "since the run's start"),
        Column("end", "f8", "s", "since the run's start"),
        Column("deadline", "f8", "s", "after start (policy queue) or arrival (strict)"),
        Column("status", "S16", "1", "how it ended", ("done", "stopped", "lost")),
        Column(
            "verdict",
            "S24",
            "1",
            "layered: its integers against the exact ones; others: their error against rounding; "
            "of inference: scores of the last upgrade against the same network's in one shot",
            ("exact", "exact (sampled)", "within rounding", "wrong", "unchecked"),
        ),
        Column("scheme", "S16", "1", "name of the code; empty for oneshot", since=3),
        Column("stragglers", "i4", "1", "workers slowed down on purpose", since=3),
        Column("dead", "i4", "1", "workers dead or given up by the end of the job", since=3),
        Column("sent_bytes", "f8", "B", "to workers by messages, shared memory apart", since=3),
        Column("received_bytes", "f8", "B", "from workers by messages, likewise", since=3),
        Column("split", "S8", "1", "load split: uniform, optimal, dynamic", since=4),
        Column("redundancy", "f8", "1", "Omega: coded tasks over those that suffice", since=4),
        Column("rate", "f8", "1/s", "mean arrivals a second of its stream; NaN without", since=4),
    ),
    "layers": (
        Column("job", "i8", "1", "id of the job"),
        Column("layer", "i4", "1", "0 is the coarsest"),
        Column("minijobs", "i4", "1", "products of digit planes that form it"),
        Column("digit_products", "f8", "1", "digit products, with those that the code adds"),
        Column("share", "f8", "1", "operations up to here over those of one-shot"),
        Column("ready", "f8", "s", "since the job's start; NaN if it was not released"),
        Column("delay", "f8", "s", "since the job's arrival; NaN if it was not released"),
        Column("prepare", "f8", "s", "of ready: operands are quantised and placed", since=2),
        Column("transfer", "f8", "s", "of ready: messages and waiting", since=2),
        Column("compute", "f8", "s", "of ready: products of the last worker", since=2),
        Column("refine", "f8", "s", "of ready: that worker writes resolutions", since=2),
        Column("decode", "f8", "s", "of ready: the master decodes, refines, hands out", since=2),
        Column("error_bound", "f8", "1", "absolute, max norm"),
        Column("relative_bound", "f8", "1", "the bound over its scale"),
        Column("error_measured", "f8", "1", "absolute, max norm; NaN where not measured"),
        Column("tasks_used", "i4", "1", "results that were decoded"),
        Column("tasks_late", "i4", "1", "results that came after the decoding"),
        Column("tasks_purged", "i4", "1", "tasks that were called off"),
        Column("tasks_lost", "i4", "1", "tasks of workers that died or sent rubbish"),
        Column("met_deadline", "?", "1", "released, in time"),
        Column(
            "computed",
            "f8",
            "1",
            "digit products that workers computed up to full size, late ones and copies included; "
            "redundant work = computed / minijobs - 1",
            since=3,
        ),
        Column("decoding", "f8", "s", "of decode: solving for missing blocks", since=3),
        Column("checking", "f8", "s", "the master verifies results, while others come", since=3),
    ),
    "tasks": (
        Column("job", "i8", "1", "id of the job"),
        Column("layer", "i4", "1", "0 is the coarsest; an upgrade"),
        Column("unit", "i4", "1", "coded unit within the layer"),
        Column("task", "i4", "1", "coded task within the unit; a block of samples"),
        Column("worker", "i4", "1", "rank of the worker"),
        Column("sent", "f8", "s", "since the job's start"),
        Column("received", "f8", "s", "since the job's start"),
        Column("compute", "f8", "s", "digit products, on the worker"),
        Column("refine", "f8", "s", "integers to a resolution, on the worker", since=2),
        Column(
            "status",
            "S8",
            "1",
            "what became of it; rejected: found wrong",
            ("used", "late", "purged", "lost", "rejected"),
        ),
        Column(
            "attempt", "i4", "1", "0: first hand-out, 1 ..: copies, re-issues", since=3, older=0
        ),
    ),
    "events": (
        Column("job", "i8", "1", "id of the job during or before which it happened", since=3),
        Column("time", "f8", "s", "since the run's start", since=3),
        Column("rank", "i4", "1", "rank of the worker", since=3),
        Column(
            "kind",
            "S16",
            "1",
            "what happened to the worker",
            ("died", "silent", "lied", "dropped"),
            since=3,
        ),
        Column("detail", "S128", "1", "one line for people", since=3),
    ),
    "estimates": (
        Column("job", "i8", "1", "id of the job that was split so", since=4),
        Column("worker", "i4", "1", "rank of the worker", since=4),
        Column("tasks", "i4", "1", "coded tasks of a unit that it was given (kappa)", since=4),
        Column("mean", "f8", "s", "estimated time of a digit product; NaN if unknown", since=4),
        Column("deviation", "f8", "s", "estimated standard deviation of that", since=4),
        Column("observed", "i8", "1", "task times that the estimate has seen", since=4),
    ),
    "upgrades": (
        Column("job", "i8", "1", "id of the job", since=5),
        Column("upgrade", "i4", "1", "0 is the coarsest", since=5),
        Column("samples", "i8", "1", "samples that it was computed for", since=5),
        Column("decided", "i8", "1", "samples decided by now", since=5),
        Column("ready", "f8", "s", "since the job's start; NaN if it was not released", since=5),
        Column("delay", "f8", "s", "since the job's arrival; NaN if it was not released", since=5),
        Column(
            "accuracy",
            "f8",
            "1",
            "share of all samples whose latest decision is their label; NaN without labels",
            since=5,
        ),
        Column(
            "agreement",
            "f8",
            "1",
            "share of all samples whose latest decision is that after all upgrades; NaN if unknown",
            since=5,
        ),
        Column("gray", "f8", "1", "share of all samples that are undecided by now", since=5),
        Column("operations", "f8", "1", "multiply-adds of this upgrade, all samples", since=5),
        Column("share", "f8", "1", "multiply-adds up to here over those of one-shot", since=5),
        Column("met_deadline", "?", "1", "released, in time", since=5),
        Column("tasks_used", "i4", "1", "results that were taken", since=5),
        Column("tasks_late", "i4", "1", "results that came when they were there already", since=5),
        Column("tasks_purged", "i4", "1", "tasks that were called off", since=5),
        Column("tasks_lost", "i4", "1", "tasks of workers that died or sent rubbish", since=5),
    ),
    "predictions": (
        Column("job", "i8", "1", "id of the job; one of several equal ones will do", since=5),
        Column("upgrade", "i4", "1", "0 is the coarsest", since=5),
        Column("sample", "i4", "1", "its place among the samples", since=5),
        Column("label", "i4", "1", "true class; -1 if unknown", since=5),
        Column("prediction", "i4", "1", "class decided for, by this upgrade's scores", since=5),
        Column("score", "f4", "1", "sigmoid of a single score; else the top two's margin", since=5),
        Column(
            "error",
            "f4",
            "1",
            "largest deviation of the sample's scores from those after all upgrades; NaN if "
            "unknown",
            since=5,
        ),
        Column("decided", "?", "1", "whether it is decided by now", since=5),
    ),
}


_DTYPES = {
    table: np.dtype([(column.name, column.dtype) for column in columns])
    for table, columns in TABLES.items()
}


def dtype(table: str) -> np.dtype[np.void]:
    """Compound type of a table as it stands in the file (strings as bytes)."""
    return _DTYPES[table]


def text_dtype(table: str) -> np.dtype[np.void]:
    """Compound type of a table as the reader hands it out (strings as ``U``)."""
    return np.dtype([(c.name, c.dtype.replace("S", "U")) for c in TABLES[table]])


def since(table: str) -> int:
    """Version of the format that brought a table."""
    return min(column.since for column in TABLES[table])


def units(table: str) -> tuple[str, ...]:
    """Units of a table's columns, in order."""
    return tuple(column.unit for column in TABLES[table])


def pack(table: str, rows: Sequence[Mapping[str, Any]]) -> NDArray[np.void]:
    """Turn rows into an array that can be written.

    Strings without a fixed set of values are cut to their column's length.

    Parameters
    ----------
    table : str
        Name of the table.
    rows : sequence of mapping
        Each holds exactly the table's columns.

    Returns
    -------
    ndarray
        Shape ``(len(rows),)``, type ``dtype(table)``.

    Raises
    ------
    KeyError
        A column is missing or unknown.
    ValueError
        A string is none of its column's values, or a number is no number of its column.
    """
    kinds = _DTYPES[table]
    names = set(kinds.names or ())
    for row in rows:
        if row.keys() != names:
            _refuse_names(table, row)
    packed = np.empty(len(rows), kinds)
    if rows:
        columns = zip(*map(itemgetter(*(kinds.names or ())), rows), strict=True)
        for column, values in zip(TABLES[table], columns, strict=True):
            packed[column.name] = _pack_column(table, column, values)
    return packed


def pack_arrays(table: str, columns: Mapping[str, ArrayLike]) -> NDArray[np.void]:
    """Turn columns into an array that can be written: for tables of many rows.

    Parameters
    ----------
    table : str
        Name of a table without strings.
    columns : mapping of str to array_like
        Exactly the table's columns, of shapes ``(rows,)`` or ``()``: one value for all rows.

    Returns
    -------
    ndarray
        Shape ``(rows,)``, type ``dtype(table)``.

    Raises
    ------
    KeyError, ValueError
        As :func:`pack`, or the columns' lengths differ.
    """
    if columns.keys() != set(_DTYPES[table].names or ()):
        _refuse_names(table, columns)
    given = [np.asarray(columns[column.name]) for column in TABLES[table]]
    packed = np.empty(np.broadcast_shapes((1,), *(values.shape for values in given)), dtype(table))
    for column, values in zip(TABLES[table], given, strict=True):
        packed[column.name] = _convert(table, column, values)
    return packed


def _refuse_names(table: str, row: Mapping[str, Any]) -> NoReturn:
    names = {column.name for column in TABLES[table]}
    missing, unknown = sorted(names - row.keys()), sorted(row.keys() - names)
    raise KeyError(f"table {table}: missing columns {missing}, unknown columns {unknown}")


def _pack_column(table: str, column: Column, values: Sequence[Any]) -> NDArray[Any]:
    kind = np.dtype(column.dtype)
    if kind.kind != "S":
        return _convert(table, column, values)
    found = set(values)
    if column.values and not found <= set(column.values):
        wrong = sorted(map(repr, found - set(column.values)))
        raise ValueError(
            f"table {table}, column {column.name}: {', '.join(wrong)} is none of "
            f"{', '.join(column.values)}"
        )
    texts = {value: str(value).encode() for value in found}  # many rows have few of them
    return np.array([texts[value] for value in values], kind)


def _convert(table: str, column: Column, values: ArrayLike) -> NDArray[Any]:
    kind = np.dtype(column.dtype)
    try:
        given = np.asarray(values)
        # What NumPy has understood need not be parsed once more; it converts integers as C does.
        plain = given.dtype.kind == kind.kind
        packed = given.astype(kind, copy=False) if plain else np.asarray(values, kind)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"table {table}, column {column.name}: {error}") from error
    if kind.kind == "i" and packed.dtype != given.dtype and not np.array_equal(packed, given):
        raise ValueError(f"table {table}, column {column.name}: not integers of type {kind}")
    return packed
