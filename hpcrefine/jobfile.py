"""Job files: TOML text and overrides in, one validated job out.

That is a :class:`~hpcrefine.job.Job`, or an :class:`~hpcrefine.job.InferenceJob` where ``[job]
kind`` says so.

Every mistake becomes an :class:`~hpcrefine.errors.InputError` of one line that names the file, the
key, what was found and what was expected.
"""

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args, get_origin

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
M = TypeVar("M", bound=BaseModel)

#: The section that makes a job file a study file, see :mod:`hpcrefine.study`.
SWEEP = "sweep"

_SET = "# --set "  # begins a comment of a job's text as run: an override


def load(path: str | Path, overrides: Sequence[str] = (), swept: Sequence[str] = ()) -> AnyJob:
    """Read and validate a job file.

    Parameters
    ----------
    path : str or Path
        The TOML file.
    overrides : sequence of str
        ``section.key=value`` each, applied in order over what the file says; the value is TOML,
        or a bare string where it does not parse as TOML.
    swept : sequence of str
        Likewise, by ``[sweep]``. That section itself says nothing about a single run.

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
    text, data = parse(path)
    data.pop(SWEEP, None)
    applied = [_Override.parse(override) for override in overrides]
    applied += [_Override.parse(override, f"[{SWEEP}]") for override in swept]
    for override in applied:
        override.apply(data)
    if isinstance(data.setdefault("job", {}), dict):
        data["job"].setdefault("name", path.stem)
    job = validate(_model(data), data, path, applied)
    as_run = "\n".join([text.rstrip("\n"), *(f"{_SET}{one.text}" for one in applied), ""])
    return job.read_from(path, as_run)


def load_product(path: str | Path, overrides: Sequence[str] = (), swept: Sequence[str] = ()) -> Job:
    """Read and validate a job file of a product, see :func:`load`.

    Raises
    ------
    InputError
        If it is one of another kind, too.
    """
    job = load(path, overrides, swept)
    if isinstance(job, InferenceJob):
        raise InputError(
            f'{job.where("job", "kind")}: found "inference", expected "matmul": only products can '
            "be simulated"
        )
    return job


def validate(model: type[M], data: Data, path: Path, applied: "Sequence[_Override]" = ()) -> M:
    """Make a model of what a file says.

    Parameters
    ----------
    model : type of BaseModel
        With a field for each section.
    data : dict
        The sections.
    path : Path
        The file.
    applied : sequence of _Override
        What has been said otherwise than in the file.

    Raises
    ------
    InputError
        If the data say something that the model does not take.
    """
    try:
        return model.model_validate(data, context={"base": path.parent})
    except ValidationError as error:
        message = _explain(model, error.errors(), path, data, applied)
        raise InputError("\\n".join(message.splitlines())) from None


def without_sweep(text: str) -> tuple[Data, list[str]]:
    """Return what a job's text says, and what was said otherwise; nothing about a sweep.

    Two texts with the same are of the same job, whatever their comments.

    Parameters
    ----------
    text : str
        As the record has it: TOML, with a comment line for each override at its end.
    """
    data = tomllib.loads(text)
    data.pop(SWEEP, None)
    lines = text.splitlines()
    return data, [line for line in lines if line.startswith(_SET)]


def reread(text: str) -> Data:
    """Return what the text of a job as run says, its overrides applied, unvalidated.

    Raises
    ------
    InputError
        If it is not a text that :func:`load` made.
    """
    try:
        data, lines = without_sweep(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the text of a job is not valid TOML: {error}") from None
    for line in lines:
        override(data, line.removeprefix(_SET))
    return data


def _model(data: Data) -> type[AnyJob]:
    """Return the model for the kind of job that the data name; Job refuses a kind there is not."""
    section = data["job"]
    kind = section.get("kind") if isinstance(section, dict) else None
    return InferenceJob if kind == "inference" else Job


def parse(path: Path) -> tuple[str, Data]:
    """Read a TOML file: its text, and what that says.

    Raises
    ------
    InputError
        If it cannot be read, or is not TOML.
    """
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise InputError(f"{path}: found {error.strerror}, expected a job file") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: found a byte at {error.start} that is not UTF-8, expected TOML"
        ) from None
    try:
        return text, tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        lines = text.split("\n")
        end = f"(at line {len(lines)}, column {len(lines[-1]) + 1})"
        reason = str(error).replace("(at end of document)", end)
        raise InputError(f"{path}: not valid TOML: {reason}") from None


def override(data: Data, text: str) -> None:
    """Change what a file says by one ``section.key=value``.

    Raises
    ------
    InputError
        If it is none, or leads through something that is no table.
    """
    _Override.parse(text).apply(data)


@dataclass(frozen=True)
class _Override:
    """One ``section.key=value``, and what says it: ``--set``, or a sweep."""

    text: str
    keys: tuple[str, ...]
    value: object
    origin: str

    @classmethod
    def parse(cls, text: str, origin: str = "--set") -> Self:
        name, equals, raw = text.partition("=")
        keys = tuple(part.strip() for part in name.split("."))
        if not equals or len(keys) < 2 or not all(keys) or not text.isprintable():
            raise InputError(f"--set: found {_shown(text)}, expected section.key=value in one line")
        try:
            parsed = tomllib.loads(f"value = {raw}")
        except (ValueError, RecursionError):
            parsed = {"value": raw.strip()}
        return cls(text, keys, parsed["value"], origin)

    def apply(self, data: Data) -> None:
        table = data
        for depth, key in enumerate(self.keys[:-1], start=1):
            inner = table.setdefault(key, {})
            if not isinstance(inner, dict):
                place = ".".join(self.keys[:depth])
                raise InputError(
                    f"{self.origin} {self.text}: found {place} = {_shown(inner)}, expected a table"
                )
            table = inner
        table[self.keys[-1]] = self.value


def _explain(
    model: type[BaseModel],
    errors: Iterable[ErrorDetails],
    path: Path,
    data: Data,
    overrides: Sequence[_Override],
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
        f"{one.origin} {one.text}"
        for one in overrides
        if all(
            theirs in str(ours).split(", ") for ours, theirs in zip(keys, one.keys, strict=False)
        )
    ]
    where = f"{path} with {blamed[-1]}" if blamed else str(path)
    section, *rest = keys
    in_section = rest or section in model.model_fields or isinstance(value, dict)
    place = f"[{section}] {_dotted(rest)}".strip() if in_section else str(section)
    if error["type"] == "refusal":
        return f"{where}: {place}: {context['complaint']}"
    field, known = _look_up(model, keys, branch)
    if error["type"] == "rule":
        return f"{where}: {place}: found {_shown(value)}, expected {context['expected']}"
    if field is None:
        return f"{where}: {place}: unknown key; {_hint(model, keys, known)}"
    return f"{where}: {place}: found {_shown(value)}, expected {_expected(field, error['type'])}"


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


def _shown(value: object) -> str:
    """Write a value as TOML would, cut to what fits in a message."""
    if value is _MISSING:
        text = "nothing"
    elif isinstance(value, int) and value.bit_length() > 64:
        text = f"an integer of {value.bit_length()} bits"
    else:
        text = as_toml(value)
    return text if len(text) <= 80 else text[:77] + "..."
