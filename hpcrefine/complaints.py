"""What pydantic finds wrong with a file, in one line: file, key, what was found and expected."""

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from hpcrefine.job import FileOperand, InferenceJob, Job, RandomOperand, RandomRates

Data = dict[str, Any]
Key = str | int


def explain(
    model: type[BaseModel],
    errors: Iterable[ErrorDetails],
    path: Path,
    data: Data,
    overrides: Sequence[tuple[str, tuple[str, ...]]],
) -> str:
    """Put the first mistake in one line; first goes an unknown kind of job, then unknown keys.

    They cause others.

    Parameters
    ----------
    model : type of BaseModel
        What the data were to become.
    errors : iterable of ErrorDetails
        Pydantic's.
    path : Path
        The file.
    data : dict
        What it says, overrides applied.
    overrides : sequence of (str, tuple of str)
        What has been said otherwise than in the file, and the way to its key.
    """
    error = min(
        errors, key=lambda one: (one["loc"] != ("job", "kind"), one["type"] != "extra_forbidden")
    )
    context = error.get("ctx", {})
    loc = list(error["loc"])
    branch = str(loc.pop(2)) if tuple(loc[:2]) in _BRANCHES and len(loc) > 2 else ""
    keys = [*_to_a_table(data, loc), *context.get("keys", ())]
    value = _dig(data, keys)
    if error["type"] == "union_tag_not_found" and isinstance(value, dict):
        keys += sorted(value.keys() - _OPERANDS[""].keys())[:1]
    if context.get("found") is not None:
        value = context["found"]
    blamed = [
        text
        for text, said in overrides
        if all(theirs in str(ours).split(", ") for ours, theirs in zip(keys, said, strict=False))
    ]
    where = f"{path} with {blamed[-1]}" if blamed else str(path)
    section, *rest = keys
    in_section = rest or section in model.model_fields or isinstance(value, dict)
    place = f"[{section}] {_dotted(rest)}".strip() if in_section else str(section)
    if error["type"] == "refusal":
        return f"{where}: {place}: {context['complaint']}"
    field, known = _look_up(model, keys, branch)
    if error["type"] == "rule":
        return f"{where}: {place}: found {shown(value)}, expected {context['expected']}"
    if field is None:
        return f"{where}: {place}: unknown key; {_hint(model, keys, known)}"
    return f"{where}: {place}: found {shown(value)}, expected {_expected(field, error['type'])}"


MISSING = object()
_OPERANDS = {
    "file": FileOperand.model_fields,
    "random": RandomOperand.model_fields,
    "": FileOperand.model_fields | RandomOperand.model_fields,
}
# What may stand at a key that takes one of several tables, by the tag of the table.
_BRANCHES = {
    ("operands", "a"): _OPERANDS,
    ("operands", "b"): _OPERANDS,
    ("workers", "rates"): {"random": RandomRates.model_fields},
}


def _dig(data: Data, keys: Iterable[Key]) -> object:
    value: object = data
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, MISSING)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            value = MISSING
    return value


def _to_a_table(data: Data, loc: Sequence[Key]) -> list[Key]:
    """Cut a way short at a list that is to be shown whole: one whose entry is no table."""
    for depth, key in enumerate(loc):
        if isinstance(key, int) and not isinstance(_dig(data, loc[: depth + 1]), dict):
            return list(loc[:depth])
    return list(loc)


def _dotted(keys: Iterable[Key]) -> str:
    steps = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return "".join(steps).removeprefix(".")


def _look_up(
    model: type[BaseModel], keys: Sequence[Key], branch: str
) -> tuple[FieldInfo | None, Iterable[str]]:
    """Return the field that keys lead to, None if there is none, and its known siblings."""
    known, field = model.model_fields, None
    for depth, key in enumerate(keys):
        if isinstance(key, int):
            continue
        if depth == 2 and tuple(keys[:2]) in _BRANCHES:
            known = _BRANCHES[str(keys[0]), str(keys[1])][branch]
        elif field is not None:
            known = next(kind.model_fields for kind in _kinds(field) if issubclass(kind, BaseModel))
        field = known.get(key)
    return field, known


def _kinds(field: FieldInfo) -> list[Any]:
    """Types that a field accepts, without the None of an optional one."""
    kinds = get_args(field.annotation) if get_origin(field.annotation) else (field.annotation,)
    return [kind for kind in kinds if kind is not type(None)]


def _hint(model: type[BaseModel], keys: Sequence[Key], known: Iterable[str]) -> str:
    key = str(keys[-1])
    for other, kind in ((Job, "matmul"), (InferenceJob, "inference")):
        if other is not model and key in _keys(other, *keys[:-1]):
            return f'it belongs to [job] kind = "{kind}"'
    if near := difflib.get_close_matches(key, known, n=1):
        return f'did you mean "{near[0]}"?'
    homes = (name for name in model.model_fields if key in _keys(model, name))
    if home := next(homes, None):
        return f"it belongs in [{home}]"
    return f"expected one of {', '.join(known)}"


def _keys(model: type[BaseModel], *way: Key) -> set[str]:
    """Return the names of a model's sections, or of the keys of a section on the way there."""
    if not way:
        return set(model.model_fields)
    section = model.model_fields.get(str(way[0])) if len(way) == 1 else None
    return {key for kind in _kinds(section) for key in kind.model_fields} if section else set()


_SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def _expected(field: FieldInfo, problem: str) -> str:
    """Say what a field accepts; the type as well, unless the value has the right one."""
    if field.description:
        return field.description
    kinds = _kinds(field)
    if get_origin(field.annotation) is Literal or get_origin(kinds[0]) is Literal:
        choices = get_args(kinds[0]) or kinds
        return " or ".join(shown(choice) for choice in choices)
    limits = {
        sign: getattr(bound, sign)
        for bound in field.metadata
        for sign in _SIGNS
        if hasattr(bound, sign)
    }
    noun = {int: "an integer", float: "a number", bool: "true or false"}.get(kinds[0], "a table")
    span = " and ".join(f"{_SIGNS[key]} {limit}" for key, limit in limits.items())
    if limits.keys() == {"ge", "le"}:
        span = f"{limits['ge']}..{limits['le']}"
    in_range = problem.startswith(("greater_than", "less_than"))
    return span if in_range else f"{noun} {span}".strip()


def as_toml(value: object) -> str:
    """Write a value of a TOML file as such a file has it, in one line."""
    if isinstance(value, str | bool):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        inner = (f"{_bare(key)} = {as_toml(inner)}" for key, inner in value.items())
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return str(value)


def _bare(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else as_toml(key)


def shown(value: object) -> str:
    """Write a value as TOML would, cut to what fits in a message."""
    if value is MISSING:
        text = "nothing"
    elif isinstance(value, int) and value.bit_length() > 64:
        text = f"an integer of {value.bit_length()} bits"
    else:
        text = as_toml(value)
    return text if len(text) <= 80 else text[:77] + "..."
