"""What is compared: contenders, and a description that goes into the record and comes back."""

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Outcome:
    """What one run of a contender gave.

    Attributes
    ----------
    seconds : tuple of float
        Time to each result since the run's start, coarse to fine.
    errors : tuple of float
        Measured error of each result; empty where none is measured.
    verdict : str
        One of the record's verdicts.
    details : tuple of mapping
        For each result more columns of the record's table ``layers``; may be empty.
    tasks : tuple of mapping
        Rows of the record's table ``tasks``, without the job's number.
    """

    seconds: tuple[float, ...]
    errors: tuple[float, ...] = ()
    verdict: str = "unchecked"
    details: tuple[Mapping[str, Any], ...] = ()
    tasks: tuple[Mapping[str, Any], ...] = ()

    @property
    def layers(self) -> Iterator[tuple[int, float, float, Mapping[str, Any]]]:
        """Give number, time, error and details of each result."""
        nothing = [np.nan] * len(self.seconds)
        details = self.details or ({},) * len(self.seconds)
        rows = zip(self.seconds, self.errors or nothing, details, strict=True)
        return ((number, *row) for number, row in enumerate(rows))


@dataclass(frozen=True)
class Contender:
    """One of those compared.

    Attributes
    ----------
    name : str
        At most 32 bytes.
    shape : tuple of int
        (n, k, p); their product is the work that a run does, in the case's own units.
    run : callable
        Runs once, checks what came out (untimed), and says how it went.
    labels : tuple of str
        What people call its results, coarse to fine.
    """

    name: str
    shape: Shape
    run: Callable[[], Outcome]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """A ratio that must not be exceeded: time of a contender's result over the base's."""

    contender: str
    layer: int
    base: str
    limit: float


@dataclass(frozen=True)
class Case:
    """A comparison: contenders that take turns in random order in one run.

    Attributes
    ----------
    name : str
        Name of the record.
    note : str
        One line for people: what the base is.
    bases : tuple of str
        Contenders whose last result the others' are divided by.
    contenders : tuple of Contender
        Empty in a case that comes from a record.
    targets : tuple of Target
        What is asked for; may be empty.
    counts : str
        What n * k * p counts; empty where a rate says nothing.
    repeats, warmups, seed : int
        Runs of each contender; those that do not count before; seed of the order.
    labels : mapping
        Contenders' names to what people call their results.
    """

    name: str
    note: str
    bases: tuple[str, ...]
    contenders: tuple[Contender, ...] = ()
    targets: tuple[Target, ...] = ()
    counts: str = "multiply-adds"
    repeats: int = 9
    warmups: int = 1
    seed: int = 0
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def turns(self) -> Iterator[tuple[Contender, int, bool]]:
        """Give contender, repeat and whether it is a warm-up, in the order of the run."""
        order = np.random.default_rng(self.seed)
        for repeat in range(-self.warmups, self.repeats):
            for index in order.permutation(len(self.contenders)):
                yield self.contenders[index], max(repeat, 0), repeat < 0

    def toml(self) -> str:
        """Describe the case, for the record's job text."""
        labels = {c.name: list(c.labels) for c in self.contenders if c.labels}
        head = {"name": self.name, "repeats": self.repeats, "warmups": self.warmups}
        body = {"note": self.note, "bases": list(self.bases), "counts": self.counts}
        lines = ["[job]", *_entries(head | {"seed": self.seed}), "", "[bench]", *_entries(body)]
        lines += ["", "[bench.labels]", *_entries(labels)]
        for target in self.targets:
            lines += ["", "[[bench.targets]]", *_entries(vars(target))]
        return "\n".join(lines) + "\n"

    @classmethod
    def from_toml(cls, text: str) -> "Case":
        """Read the description of a case back."""
        found = tomllib.loads(text)
        bench = found["bench"]
        return cls(
            **found["job"],
            note=bench["note"],
            bases=tuple(bench["bases"]),
            counts=bench["counts"],
            targets=tuple(Target(**target) for target in bench.get("targets", ())),
            labels={name: tuple(labels) for name, labels in bench["labels"].items()},
        )


def _entries(values: Mapping[str, Any]) -> Iterator[str]:
    """Write keys and values; JSON's strings, numbers and lists are TOML's too."""
    return (f"{json.dumps(key)} = {json.dumps(value)}" for key, value in values.items())
