"""The index of a study: which points it has, and in which file the record of each stands.

``study.json`` is written once, before any point runs. What became of a point is told by its record
alone, so that points may run at the same time, anywhere.
"""

import os
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from hpcrefine.errors import InputError

NAME = "study.json"
VERSION: Final = 1


class Point(BaseModel):
    """One run of a study.

    Attributes
    ----------
    number : int
        Its place in the manifest.
    name : str
        What tells it from the others, for people: ``"ranks=3, code.redundancy=1.25"``.
    ranks : int
        Ranks, master included.
    nodes : int
        Nodes that they are spread over; 0: wherever there is room.
    run : int
        Which of the runs with the same settings.
    settings : dict
        Values of the keys that are swept, by ``section.key``.
    overrides : list of str
        All that its job file has otherwise than the study's, as ``--set`` takes it.
    file : str
        Name of its record, in the manifest's folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int = Field(ge=0)
    name: str
    ranks: int = Field(ge=1)
    nodes: int = Field(ge=0)
    run: int = Field(ge=0)
    settings: dict[str, JsonValue]
    overrides: list[str]
    file: str


class Manifest(BaseModel):
    """A study's index.

    Attributes
    ----------
    format, version : str, int
        What the file is.
    name : str
        Of the study.
    scaling : str
        ``"strong"``, ``"weak"``, or empty where neither is claimed.
    created : str
        ISO 8601, UTC.
    study : str
        Text of the study file.
    order : list of int
        Numbers of the points in the order in which they run.
    points : list of Point
        In order of their numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["hpcrefine-study"] = "hpcrefine-study"
    version: Literal[1] = VERSION
    name: str
    scaling: Literal["", "strong", "weak"]
    created: str
    study: str
    order: list[int]
    points: list[Point]

    def write(self, folder: Path) -> None:
        """Write it into a folder; what was there is replaced in one step.

        Raises
        ------
        InputError
            If it cannot be written there.
        """
        target = folder / NAME
        temporary = folder / f".{NAME}.{os.getpid()}"
        try:
            temporary.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
            temporary.replace(target)
        except OSError as error:
            raise InputError(f"{target}: cannot be written: {error}") from error

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read the manifest of a folder.

        Raises
        ------
        InputError
            If there is none, or the file is no manifest of this version.
        """
        path = folder / NAME
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise InputError(
                f"{folder}: found no {NAME}, expected a study's folder, or a record"
            ) from None
        except OSError as error:
            raise InputError(
                f"{path}: found {error.strerror}, expected the manifest of a study"
            ) from None
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "its text"
            raise InputError(
                f"{path}: {place}: {first['msg']}, expected a manifest of version {VERSION}"
            ) from None
