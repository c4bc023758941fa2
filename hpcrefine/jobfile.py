"""Job files: TOML text and overrides in, one validated job out.

That is a :class:`~hpcrefine.job.Job`, or an :class:`~hpcrefine.job.InferenceJob` where ``[job]
kind`` says so.

Every mistake becomes an :class:`~hpcrefine.errors.InputError` of one line that names the file, the
key, what was found and what was expected.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from pydantic import BaseModel, ValidationError

from hpcrefine.complaints import Data, explain, shown
from hpcrefine.errors import InputError
from hpcrefine.job import AnyJob, InferenceJob, Job

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
    as_run = "\n".join([text.rstrip("\n"), *(f"{_SET}{one.text}" for one in applied), ""])
    return _build(path, data, applied).read_from(path, as_run)


def load_text(text: str, path: Path) -> AnyJob:
    """Validate the text of a job as it was run, which its record holds.

    Parameters
    ----------
    text : str
        TOML, with a comment line for each override at its end.
    path : Path
        What messages name; what the job names is relative to its folder.

    Raises
    ------
    InputError
        If it is not TOML, or says something a job cannot say.
    """
    try:
        data, overrides = without_sweep(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid TOML: {error}") from None
    applied = [_Override.parse(line.removeprefix(_SET)) for line in overrides]
    return _build(path, data, applied).read_from(path, text)


def _build(path: Path, data: Data, applied: "Sequence[_Override]") -> AnyJob:
    for override in applied:
        override.apply(data)
    if isinstance(data.setdefault("job", {}), dict):
        data["job"].setdefault("name", path.stem)
    return validate(_model(data), data, path, applied)


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
        message = explain(
            model, error.errors(), path, data, [(one.said, one.keys) for one in applied]
        )
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
            raise InputError(f"--set: found {shown(text)}, expected section.key=value in one line")
        try:
            parsed = tomllib.loads(f"value = {raw}")
        except (ValueError, RecursionError):
            parsed = {"value": raw.strip()}
        return cls(text, keys, parsed["value"], origin)

    @property
    def said(self) -> str:
        """How it was said."""
        return f"{self.origin} {self.text}"

    def apply(self, data: Data) -> None:
        table = data
        for depth, key in enumerate(self.keys[:-1], start=1):
            inner = table.setdefault(key, {})
            if not isinstance(inner, dict):
                place = ".".join(self.keys[:depth])
                raise InputError(f"{self.said}: found {place} = {shown(inner)}, expected a table")
            table = inner
        table[self.keys[-1]] = self.value
