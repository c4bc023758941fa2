"""The sections that say which codes are run."""

import itertools
import math
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, Strict, model_validator

from hpcrefine.codes import CODES, Code, make_code
from hpcrefine.codes.uncoded import Uncoded
from hpcrefine.errors import InputError
from hpcrefine.job.base import Section, refusal, rule

Scheme = Literal[
    "uncoded", "speculative", "replication", "mds", "blockdiagonal", "polynomial", "matdot", "lt"
]


MAX_CODED = 2**18
"""How many coded tasks there may be: some for each of 100,000 workers, few enough to list."""
_MOST_VALUES = 10_000


class _CodeKeys(Section):
    """The keys of a code; the rules among them hold once those not given are filled in."""

    scheme: Scheme = "uncoded"
    tasks: int = Field(default=8, ge=1)
    redundancy: float = Field(default=1.0, ge=1)
    unit: Literal["layer", "minijob"] = "layer"
    survive: int = Field(default=0, ge=0)
    verify: Literal["none", "freivalds"] = "none"
    lies: int = Field(default=3, ge=1)


class CodeSection(_CodeKeys):
    """``[code]``: how the work is cut into tasks, and how many more are made than needed.

    Attributes
    ----------
    scheme : str
        With ``mds`` any ``tasks`` of the coded tasks recover the result; the others are
        described in :mod:`hpcrefine.codes`.
    tasks : int
        Tasks K that suffice; odd with ``matdot`` (2 p - 1 for p parts).
    redundancy : float
        Omega: ceil(Omega K) coded tasks are made.
    unit : {"layer", "minijob"}
        What is cut into K tasks.
    survive : int
        Workers whose loss must not cost the result.
    verify : {"none", "freivalds"}
        Whether the result of each task is checked before it is used.
    lies : int
        A worker whose results were found wrong so often is no longer used.
    """

    @model_validator(mode="after")
    def _can_be_made(self) -> Self:
        if self.redundancy > MAX_CODED / self.tasks:  # no product, which might overflow
            expected = f"at most {MAX_CODED} tasks together with redundancy = {self.redundancy:g}"
            raise rule("tasks", expected, self.tasks)
        try:
            code = self.code()
        except InputError as error:
            raise refusal(error) from None
        if self.survive and not (code.reissues or code.rateless):
            spare = code.coded - code.threshold
            if self.survive > spare:
                lost = f"the tasks that the scheme {self.scheme} can do without, wherever they are"
                raise rule("survive", f"at most {spare}, {lost}", self.survive)
        return self

    def with_redundancy(self, ratio: float) -> Self:
        """Return the section with another redundancy ratio.

        Raises
        ------
        ValidationError
            If its scheme cannot have it.
        """
        return self.model_validate(self.model_dump() | {"redundancy": ratio})

    def code(self) -> Code:
        """Return the code to cut and combine the operands with."""
        return make_code(self.scheme, self.tasks, self.redundancy)


def check_label(name: str) -> str:
    """Return a label that fits the record.

    Raises
    ------
    ValueError
        If it does not.
    """
    if not name.isprintable() or not 1 <= len(name.encode()) <= 24:
        raise ValueError("no label")
    return name


class ComparedCode(_CodeKeys):
    """One of the codes of ``[compare]``: the keys in which it differs from ``[code]``.

    Attributes
    ----------
    name : str, optional
        Its label, the scheme unless given.
    """

    name: Annotated[str, AfterValidator(check_label)] | None = Field(
        default=None, description="a label of 1..24 bytes"
    )

    def over(self, code: CodeSection) -> CodeSection:
        """Return the section it stands for: ``[code]`` with what is given here.

        The redundancy of ``[code]`` is not for a scheme that has none.
        """
        given = self.model_dump(exclude_unset=True, exclude={"name"})
        base = code.model_dump()
        if "scheme" in given and issubclass(CODES[given["scheme"]], Uncoded):
            base["redundancy"] = 1.0
        return CodeSection.model_validate(base | given)

    def label(self, section: CodeSection) -> str:
        """Return what the section it stands for is called."""
        return self.name or section.scheme


def _all_different(counts: tuple[int, ...]) -> tuple[int, ...]:
    if not counts or min(counts) < 0 or len(set(counts)) < len(counts):
        raise ValueError("empty, negative or twice the same")
    return counts


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or len(set(names)) < len(names):
        raise ValueError("empty, or twice the same")
    return names


def _values(grid: object) -> object:
    """Spread out a grid that is given by its ends."""
    if not isinstance(grid, dict):
        return grid
    start, stop, count = grid.get("start"), grid.get("stop"), grid.get("count")
    if not (isinstance(start, int | float) and isinstance(stop, int | float)):
        raise ValueError("no ends")
    if not math.isfinite(stop - start):
        raise ValueError("endless")
    if len(grid) != 3 or not isinstance(count, int) or not 2 <= count <= _MOST_VALUES:
        raise ValueError("no count")
    values: list[float] = np.linspace(start, stop, count).round(12).tolist()
    return values


def _ascending(values: tuple[float, ...]) -> tuple[float, ...]:
    if not values or values[0] <= 0 or any(a >= b for a, b in itertools.pairwise(values)):
        raise ValueError("empty, not positive or not ascending")
    return values


def _ratios(values: tuple[float, ...] | None) -> tuple[float, ...] | None:
    if values and values[0] < 1:
        raise rule("", "numbers >= 1", values[0])
    return values


Split = Literal["uniform", "optimal", "dynamic"]
Grid = Annotated[
    tuple[float, ...], Strict(False), BeforeValidator(_values), AfterValidator(_ascending)
]
_GRID = "an ascending list, or {start = ..., stop = ..., count = ...},"


class CompareSection(Section):
    """``[compare]``: what each repeat runs instead of ``[code]`` alone.

    Attributes
    ----------
    codes : tuple of ComparedCode
        The codes; :attr:`Job.codes` fills in what they leave to ``[code]``.
    stragglers : tuple of int, optional
        Numbers of stragglers that each code meets; that of ``[faults]`` alone unless given.
    redundancies : tuple of float, optional
        Redundancy ratios of each code, instead of its own.
    splits : tuple of str, optional
        Load splits, instead of that of ``[schedule]``.
    deadlines : tuple of float, optional
        Deadlines of a stream, instead of that of ``[stream]``.
    """

    codes: Annotated[tuple[ComparedCode, ...], Strict(False)] = Field(
        default=(),
        min_length=1,
        description="a list of one or more tables with keys of [code]",
    )
    redundancies: Annotated[Grid | None, AfterValidator(_ratios)] = Field(
        default=None, description=f"{_GRID} of numbers >= 1"
    )
    splits: Annotated[tuple[Split, ...], Strict(False), AfterValidator(_once)] | None = Field(
        default=None, description='a list of some of "uniform", "optimal", "dynamic"'
    )
    deadlines: Grid | None = Field(default=None, description=f"{_GRID} of numbers > 0")
    stragglers: Annotated[tuple[int, ...], Strict(False), AfterValidator(_all_different)] | None = (
        Field(default=None, description="a list of different integers >= 0")
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise rule("", f"at least one of {', '.join(type(self).model_fields)}")
        return self
