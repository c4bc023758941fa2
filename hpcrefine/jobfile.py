"""Job files: TOML text and overrides in, one validated job out.

That is a :class:`~hpcrefine.job.Job`, or an :class:`~hpcrefine.job.InferenceJob` where ``[job]
kind`` says so.

Every mistake becomes an :class:`~hpcrefine.errors.InputError` of one line that names the file, the
key, what was found and what was expected.
"""

import difflib
import json
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from hpcrefine.errors import InputError
from hpcrefine.job import (
    AnyJob,
    FileOperand,
    InferenceJob,
    Job,
    RandomOperand,
    RandomRates,
)

Data = dict[str, Any]
Key = str | int

_SET = "# --set "  # begins the comments that overrides become


def load(path: str | Path, overrides: Sequence[str] = ()) -> AnyJob:
    """Read and validate a job file.

    Parameters
    ----------
    path : str or Path
        The TOML file.
    overrides : sequence of str
        ``section.key=value`` each, applied in order over what the file says; the value is TOML,
        or a bare string where it does not parse as TOML.

    Returns
    -------
    Job or InferenceJob
        Frozen; its ``text`` is the file's text with the overrides as comments.

    Raises
    ------
    InputError
        If the file cannot be read, is not TOML, or says something a job cannot say.
    """
    path = Path(path)
    return _load(path, _text(path), overrides)


def load_text(text: str, path: Path) -> AnyJob:
    """Validate the text of a job as it was run, which its record holds.

    Parameters
    ----------
    text : str
        What :attr:`hpcrefine.job.AnyJob.text` was: comments at its end are overrides.
    path : Path
        What messages name; what it is relative to, so is what the job names.

    Raises
    ------
    InputError
        As :func:`load`.
    """
    lines = text.rstrip("\n").split("\n")
    end = next((i for i, line in enumerate(reversed(lines)) if not line.startswith(_SET)), 0)
    given, overrides = lines[: len(lines) - end], lines[len(lines) - end :]
    return _load(path, "\n".join(given), [line.removeprefix(_SET) for line in overrides])


def _load(path: Path, text: str, overrides: Sequence[str]) -> AnyJob:
    data = _parse(path, text)
    applied = [_Override.parse(override) for override in overrides]
    for override in applied:
        override.apply(data)
    if isinstance(data.setdefault("job", {}), dict):
        data["job"].setdefault("name", path.stem)
    try:
        job: AnyJob = _model(data).model_validate(data, context={"base": path.parent})
    except ValidationError as error:
        message = _explain(error.errors(), path, data, applied)
        raise InputError("\\n".join(message.splitlines())) from None
    as_run = "\n".join([text.rstrip("\n"), *(f"{_SET}{one.text}" for one in applied), ""])
    return job.read_from(path, as_run)


def load_product(path: str | Path, overrides: Sequence[str] = ()) -> Job:
    """Read and validate a job file of a product, see :func:`load`.

    Raises
    ------
    InputError
        If it is one of another kind, too.
    """
    job = load(path, overrides)
    if isinstance(job, InferenceJob):
        raise InputError(
            f'{job.where("job", "kind")}: found "inference", expected "matmul": only products can '
            "be simulated"
        )
    return job


def _model(data: Data) -> type[AnyJob]:
    """Return the model for the kind of job that the data name; Job refuses a kind there is not."""
    section = data["job"]
    kind = section.get("kind") if isinstance(section, dict) else None
    return InferenceJob if kind == "inference" else Job


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise InputError(f"{path}: found {error.strerror}, expected a job file") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: found a byte at {error.start} that is not UTF-8, expected TOML"
        ) from None


def _parse(path: Path, text: str) -> Data:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        lines = text.split("\n")
        end = f"(at line {len(lines)}, column {len(lines[-1]) + 1})"
        reason = str(error).replace("(at end of document)", end)
        raise InputError(f"{path}: not valid TOML: {reason}") from None


@dataclass(frozen=True)
class _Override:
    """One ``--set section.key=value``."""

    text: str
    keys: tuple[str, ...]
    value: object

    @classmethod
    def parse(cls, text: str) -> Self:
        name, equals, raw = text.partition("=")
        keys = tuple(part.strip() for part in name.split("."))
        if not equals or len(keys) < 2 or not all(keys) or not text.isprintable():
            raise InputError(f"--set: found {_shown(text)}, expected section.key=value in one line")
        try:
            parsed = tomllib.loads(f"value = {raw}")
        except (ValueError, RecursionError):
            parsed = {"value": raw.strip()}
        return cls(text, keys, parsed["value"])

    def apply(self, data: Data) -> None:
        table = data
        for depth, key in enumerate(self.keys[:-1], start=1):
            inner = table.setdefault(key, {})
            if not isinstance(inner, dict):
                place = ".".join(self.keys[:depth])
                raise InputError(
                    f"--set {self.text}: found {place} = {_shown(inner)}, expected a table"
                )
            table = inner
        table[self.keys[-1]] = self.value


def _explain(
    errors: Iterable[ErrorDetails], path: Path, data: Data, overrides: Sequence[_Override]
) -> str:
    """Put the first mistake in one line; first goes an unknown kind of job, then unknown keys.

    They cause others.
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
        one.text
        for one in overrides
        if all(
            theirs in str(ours).split(", ") for ours, theirs in zip(keys, one.keys, strict=False)
        )
    ]
    where = f"{path} with --set {blamed[-1]}" if blamed else str(path)
    section, *rest = keys
    model = _model(data)
    in_section = rest or section in model.model_fields or isinstance(value, dict)
    place = f"[{section}] {_dotted(rest)}".strip() if in_section else str(section)
    if error["type"] == "refusal":
        return f"{where}: {place}: {context['complaint']}"
    field, known = _look_up(model, keys, branch)
    if field is None:
        return f"{where}: {place}: unknown key; {_hint(model, keys, known)}"
    wanted = context["expected"] if error["type"] == "rule" else _expected(field, error["type"])
    return f"{where}: {place}: found {_shown(value)}, expected {wanted}"


_MISSING = object()
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
            value = value.get(key, _MISSING)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            value = _MISSING
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
    model: type[AnyJob], keys: Sequence[Key], branch: str
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


def _hint(model: type[AnyJob], keys: Sequence[Key], known: Iterable[str]) -> str:
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


def _keys(model: type[AnyJob], *way: Key) -> set[str]:
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
        return " or ".join(_shown(choice) for choice in choices)
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


def _shown(value: object) -> str:
    """Write a value as TOML would, cut to what fits in a message."""
    if value is _MISSING:
        text = "nothing"
    elif isinstance(value, str | bool):
        text = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, dict):
        text = "{" + ", ".join(f"{key} = {_shown(inner)}" for key, inner in value.items()) + "}"
    elif isinstance(value, list):
        text = "[" + ", ".join(map(_shown, value)) + "]"
    elif isinstance(value, int) and value.bit_length() > 64:
        text = f"an integer of {value.bit_length()} bits"
    else:
        text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."
