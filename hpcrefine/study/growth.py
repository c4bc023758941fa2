"""Work that grows with the workers, for weak scaling, and sizes by name: as overrides of keys."""

from collections.abc import Mapping
from typing import Any

from hpcrefine.errors import InputError
from hpcrefine.job import CodeSection


def resize(data: Mapping[str, Any], size: int | tuple[int, int, int]) -> dict[str, Any]:
    """Return the shapes of random operands, by ``section.key``.

    Parameters
    ----------
    data : mapping
        What the job file says.
    size : int or (int, int, int)
        ``n = k = p``, or n, k and p.

    Raises
    ------
    InputError
        If the operands are not both random; the message lacks the file.
    """
    n, k, p = (size, size, size) if isinstance(size, int) else size
    for name in ("a", "b"):
        if "random" not in _table(data, "operands", name):
            raise InputError(
                f"[sweep] sizes: found [operands] {name} that is not random, expected operands of "
                "any size: {random = ...}"
            )
    return {"operands.a.shape": [n, k], "operands.b.shape": [k, p]}


def grow(data: Mapping[str, Any], what: str, times: float) -> dict[str, Any]:
    """Return what makes the work so many times larger, by ``section.key``.

    With rows of A the number of tasks grows as well, so that tasks keep their size.

    Parameters
    ----------
    data : mapping
        What the job file says, sizes of this point applied.
    what : {"n", "p"}
        Rows of A or samples of inference, or columns of B.
    times : float
        Workers over those of the smallest point, at least 1.

    Raises
    ------
    InputError
        If there is nothing that can grow so; the message lacks the file.
    """
    if _table(data, "job").get("kind") == "inference":
        if what != "n":
            raise InputError(
                f'[sweep] grow: found "{what}", expected "n": of a network the samples grow'
            )
        labels = "labels" in _table(data, "samples")
        names = ["images", "labels"] if labels else ["images"]
        return {f"samples.{name}.rows": _more_rows(data, "samples", name, times) for name in names}
    if what == "p":
        return {"operands.b.shape": _larger(data, "b", 1, times)}
    if _table(data, "operands").get("b") == "a.T":
        raise InputError(
            '[sweep] grow: found [operands] b = "a.T", with which the work grows as the square of '
            "the rows of A, expected a b of its own"
        )
    operand = _table(data, "operands", "a")
    grown: dict[str, Any]
    if "random" in operand:
        grown = {"operands.a.shape": _larger(data, "a", 0, times)}
    else:
        grown = {"operands.a.rows": _more_rows(data, "operands", "a", times)}
    if any("tasks" in entry for entry in _table(data, "compare").get("codes", ())):
        raise InputError(
            "[sweep] grow: found [compare] codes with tasks of their own, expected those of "
            "[code], which grow with the rows of A"
        )
    tasks = _table(data, "code").get("tasks", CodeSection.model_fields["tasks"].default)
    return grown | {"code.tasks": round(tasks * times)}


def _table(data: Mapping[str, Any], *way: str) -> Mapping[str, Any]:
    """Return the table at a place; an empty one where there is none."""
    for key in way:
        inner = data.get(key)
        data = inner if isinstance(inner, Mapping) else {}
    return data


def _larger(data: Mapping[str, Any], name: str, axis: int, times: float) -> list[int]:
    shape = _table(data, "operands", name).get("shape")
    if not (isinstance(shape, list) and len(shape) == 2):
        raise InputError(
            f"[sweep] grow: found [operands] {name} without a shape, expected a random operand, "
            "which can grow"
        )
    grown = [int(length) for length in shape]
    grown[axis] = round(shape[axis] * times)
    return grown


def _more_rows(data: Mapping[str, Any], section: str, name: str, times: float) -> list[int]:
    rows = _table(data, section, name).get("rows")
    if not (isinstance(rows, list) and len(rows) == 2):
        raise InputError(
            f"[sweep] grow: found [{section}] {name} without rows, expected rows = [start, stop] "
            "of the smallest point"
        )
    start, stop = rows
    return [start, start + round((stop - start) * times)]
