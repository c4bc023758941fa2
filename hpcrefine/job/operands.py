"""The section that says which matrices are multiplied."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Strict, Tag, model_validator

from hpcrefine.errors import InputError
from hpcrefine.job.base import Section, rule


def _ascending(rows: tuple[int, int]) -> tuple[int, int]:
    if not 0 <= rows[0] < rows[1]:
        raise ValueError("not 0 <= start < stop")
    return rows


Rows = Annotated[tuple[int, int], Strict(False), AfterValidator(_ascending)]  # for TOML's lists
_Length = Annotated[int, Field(ge=1, lt=2**31)]
Shape = Annotated[tuple[_Length, _Length], Strict(False)]


class FileArray(Section):
    """An array read from a file.

    Attributes
    ----------
    file : str
        Path, relative to the job file's folder; the suffix says the format.
    dataset : str, optional
        Which array, in a file that holds several (.npz, .h5).
    rows : (int, int), optional
        Only the rows ``start <= row < stop``.
    """

    file: str = Field(pattern=r"^[^\x00]+$", description="a path")
    dataset: str | None = Field(default=None, min_length=1, description="the name of a dataset")
    rows: Rows | None = Field(
        default=None, description="two integers [start, stop], 0 <= start < stop"
    )


class FileOperand(FileArray):
    """An operand read from a file.

    Attributes
    ----------
    normalise : {"none", "rows"}
        Whether each row is divided by its 2-norm.
    transpose : bool
        Whether the matrix is transposed, after ``rows`` and ``normalise``.
    """

    normalise: Literal["none", "rows"] = "none"
    transpose: bool = False


DType = Literal[
    "float64", "float32", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"
]
_INTEGERS = {  # the integers a type holds without gaps, from least to one above the largest
    "float64": (-(2**53), 2**53),
    "float32": (-(2**24), 2**24),
    **{f"int{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1)) for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": (0, 2**bits) for bits in (8, 16, 32, 64)},
}


class RandomOperand(Section):
    """An operand drawn at random, reproducibly from the job's seed.

    Attributes
    ----------
    random : {"normal", "uniform", "integers"}
        Standard normal; uniform in ``low <= x < high``; integers in ``low <= x < high``.
    shape : (int, int)
        Rows and columns.
    dtype : str, optional
        Element type: int64 for integers, float64 for the others unless given.
    low, high : float, optional
        Limits: 0 and 1 for uniform unless given, required for integers, none for normal.
    scale_spread : float
        Decades between the scales of the largest and the smallest row (floating types only).
    """

    random: Literal["normal", "uniform", "integers"]
    shape: Shape = Field(description="two integers [rows, columns], each 1..2147483647")
    dtype: DType | None = None
    low: float | None = None
    high: float | None = None
    scale_spread: float = Field(default=0.0, ge=0, le=60)

    @property
    def element_type(self) -> str:
        """Name of the element type drawn, with the default filled in."""
        return self.dtype or ("int64" if self.random == "integers" else "float64")

    @property
    def limits(self) -> tuple[float, float]:
        """Low (included) and high (excluded), with the defaults of uniform filled in."""
        return (0.0 if self.low is None else self.low, 1.0 if self.high is None else self.high)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        drawn = f'with random = "{self.random}"'
        if self.random != "integers" and self.element_type not in ("float64", "float32"):
            raise rule("dtype", f"float64 or float32 {drawn}")
        if self.scale_spread and self.element_type not in ("float64", "float32"):
            raise rule("scale_spread", f"0 with dtype {self.element_type}")
        least, most = _INTEGERS[self.element_type]
        for key, value in (("low", self.low), ("high", self.high)):
            if self.random == "normal" and value is not None:
                raise rule(key, f"no such key {drawn}")
            held = value is not None and value.is_integer() and least <= value <= most
            if self.random == "integers" and not held:
                raise rule(key, f"an integer {least}..{most} {drawn}, dtype {self.element_type}")
        if not self.limits[0] < self.limits[1]:
            raise rule("high", f"more than low = {self.limits[0]:g}")
        return self


Operand = FileOperand | RandomOperand


def _operand_kind(value: object) -> str | None:
    if isinstance(value, str):
        return "a.T"
    has = value.__contains__ if isinstance(value, dict) else lambda key: hasattr(value, key)
    kinds = [kind for kind in ("file", "random") if has(kind)]
    return kinds[0] if len(kinds) == 1 else None


_File = Annotated[FileOperand, Tag("file")]
_Random = Annotated[RandomOperand, Tag("random")]
_ATransposed = Annotated[Literal["a.T"], Tag("a.T")]
_Left = Annotated[_File | _Random, Discriminator(_operand_kind)]
_Right = Annotated[_File | _Random | _ATransposed, Discriminator(_operand_kind)]


class OperandsSection(Section):
    """``[operands]``: the matrices A (n x k) and B (k x p).

    Attributes
    ----------
    a : FileOperand or RandomOperand
        The left operand.
    b : FileOperand or RandomOperand or "a.T"
        The right operand; ``"a.T"`` is the transpose of A.
    operations : float, optional
        In place of both, for ``simulate``: the size Z of the one-shot product, in operations.
    """

    a: _Left | None = Field(default=None, description="{file = ...} or {random = ...}")
    b: _Right | None = Field(default=None, description='{file = ...} or {random = ...} or "a.T"')
    operations: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _matrices_or_size(self) -> Self:
        wanted = {"a": "{file = ...} or {random = ...}"}
        wanted["b"] = wanted["a"] + ' or "a.T"'
        for key, expected in wanted.items():
            given = getattr(self, key) is not None
            if self.operations is None and not given:
                raise rule(key, expected)
            if self.operations is not None and given:
                raise rule("operations", f"no such key beside {key}")
        return self

    @property
    def pair(self) -> tuple[Operand, Operand | Literal["a.T"]]:
        """Both operands.

        Raises
        ------
        InputError
            If there is a size only.
        """
        if self.a is None or self.b is None:
            raise InputError(
                "[operands] operations: found a size only, expected matrices a and b (a size is "
                "enough for hpcrefine simulate)"
            )
        return self.a, self.b
