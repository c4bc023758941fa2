"""What a job file can say: one frozen model for each section, and :class:`Job` for the whole.

The attributes of the models are the keys people write. All limits that can be known without looking
at an operand are checked here; :mod:`hpcrefine.jobfile` reads the text and explains the mistakes.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    Tag,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError


def _rule(key: str, expected: str) -> PydanticCustomError:
    """Report a broken rule, for jobfile: its key (empty for the field itself), what would do."""
    return PydanticCustomError("rule", "{expected}", {"key": key, "expected": expected})


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class JobSection(_Section):
    """``[job]``: what is run, and how often.

    Attributes
    ----------
    name : str
        Names the run and its record; the job file's name without ``.toml`` unless given.
    kind : {"matmul"}
        What is computed.
    seed : int
        Seed of everything random in the run.
    repeats, warmups : int
        Measured repetitions, and unmeasured ones before them.
    """

    name: str = Field(default="job", pattern=r"^[^/\x00-\x1f]+$", description='a name without "/"')
    kind: Literal["matmul"] = "matmul"
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    repeats: int = Field(default=5, ge=1)
    warmups: int = Field(default=1, ge=0)


def _ascending(rows: tuple[int, int]) -> tuple[int, int]:
    if not 0 <= rows[0] < rows[1]:
        raise ValueError("not 0 <= start < stop")
    return rows


Rows = Annotated[tuple[int, int], Strict(False), AfterValidator(_ascending)]  # for TOML's lists
_Length = Annotated[int, Field(ge=1, lt=2**31)]
Shape = Annotated[tuple[_Length, _Length], Strict(False)]


class FileOperand(_Section):
    """An operand read from a file.

    Attributes
    ----------
    file : str
        Path, relative to the job file's folder; the suffix says the format.
    dataset : str, optional
        Which array, in a file that holds several (.npz, .h5).
    rows : (int, int), optional
        Only the rows ``start <= row < stop``.
    normalise : {"none", "rows"}
        Whether each row is divided by its 2-norm.
    transpose : bool
        Whether the matrix is transposed, after ``rows`` and ``normalise``.
    """

    file: str = Field(pattern=r"^[^\x00]+$", description="a path")
    dataset: str | None = Field(default=None, min_length=1, description="the name of a dataset")
    rows: Rows | None = Field(
        default=None, description="two integers [start, stop], 0 <= start < stop"
    )
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


class RandomOperand(_Section):
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
            raise _rule("dtype", f"float64 or float32 {drawn}")
        if self.scale_spread and self.element_type not in ("float64", "float32"):
            raise _rule("scale_spread", f"0 with dtype {self.element_type}")
        least, most = _INTEGERS[self.element_type]
        for key, value in (("low", self.low), ("high", self.high)):
            if self.random == "normal" and value is not None:
                raise _rule(key, f"no such key {drawn}")
            held = value is not None and value.is_integer() and least <= value <= most
            if self.random == "integers" and not held:
                raise _rule(key, f"an integer {least}..{most} {drawn}, dtype {self.element_type}")
        if not self.limits[0] < self.limits[1]:
            raise _rule("high", f"more than low = {self.limits[0]:g}")
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


class OperandsSection(_Section):
    """``[operands]``: the matrices A (n x k) and B (k x p).

    Attributes
    ----------
    a : FileOperand or RandomOperand
        The left operand.
    b : FileOperand or RandomOperand or "a.T"
        The right operand; ``"a.T"`` is the transpose of A.
    """

    a: _Left = Field(description="{file = ...} or {random = ...}")
    b: _Right = Field(description='{file = ...} or {random = ...} or "a.T"')


class Stop(_Section):
    """When the run may end before the last layer; exactly one of the two.

    Attributes
    ----------
    tolerance : float, optional
        Stop once the error bound (absolute, max norm) is at most this.
    relative : float, optional
        Stop once the error bound relative to the result is at most this.
    """

    tolerance: float | None = Field(default=None, gt=0)
    relative: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.tolerance is None) == (self.relative is None):
            raise _rule("", "either tolerance or relative")
        return self


class ResolutionSection(_Section):
    """``[resolution]``: how the operands are cut into digits and the product into layers.

    Attributes
    ----------
    digits, digit_bits : int
        Digits of each operand, and bits of each digit.
    layering : {"antidiagonal", "product", "square"}
        Which digit products are released together, see :mod:`hpcrefine.resolution.layers`.
    scale : {"row", "matrix"}
        One scale for each row of A and column of B, or one for the whole matrix.
    truncate : int, optional
        Digit products (i, j) with i + j above it are never computed.
    stop : Stop, optional
        When to end early.
    """

    digits: int = Field(default=2, ge=1, le=7)
    digit_bits: int = Field(default=8, ge=1, le=8)
    layering: Literal["antidiagonal", "product", "square"] = "antidiagonal"
    scale: Literal["row", "matrix"] = "row"
    truncate: int | None = Field(default=None, ge=0)
    stop: Stop | None = Field(default=None, description="{tolerance = ...} or {relative = ...}")

    @model_validator(mode="after")
    def _within_digits(self) -> Self:
        if self.truncate is not None and self.truncate > 2 * self.digits - 2:
            raise _rule("truncate", f"0..{2 * self.digits - 2} with digits = {self.digits}")
        return self


class CodeSection(_Section):
    """``[code]``: how the work is cut into tasks, and how many more are made than needed.

    Attributes
    ----------
    scheme : {"uncoded", "mds"}
        With ``mds`` any ``tasks`` of the coded tasks recover the result.
    tasks : int
        Tasks K that suffice.
    redundancy : float
        Omega: ceil(Omega K) coded tasks are made.
    unit : {"layer", "minijob"}
        What is cut into K tasks.
    survive : int
        Workers whose loss must not cost the result.
    """

    scheme: Literal["uncoded", "mds"] = "uncoded"
    tasks: int = Field(default=8, ge=1)
    redundancy: float = Field(default=1.0, ge=1)
    unit: Literal["layer", "minijob"] = "layer"
    survive: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _redundancy_needs_a_code(self) -> Self:
        if self.scheme == "uncoded" and self.redundancy > 1:
            raise _rule("redundancy", '1.0 with scheme = "uncoded"; use scheme = "mds"')
        return self


class ScheduleSection(_Section):
    """``[schedule]``: which worker gets how many tasks.

    Attributes
    ----------
    split : {"uniform"}
        The same number for each worker.
    """

    split: Literal["uniform"] = "uniform"


def _existing(library: Path, info: ValidationInfo) -> Path:
    found: Path = ((info.context or {}).get("base", Path()) / library).absolute()
    if "\0" in str(found) or not found.is_file():
        raise ValueError("no such file")
    return found


class KernelSection(_Section):
    """``[kernel]``: what multiplies digit planes on a worker.

    Attributes
    ----------
    name : {"auto", "int8", "float32", "float64"}
        The kernel; ``auto`` takes the fastest that passes its self-check.
    threads : int, optional
        Threads of each worker's kernel.
    library : Path, optional
        oneDNN's shared library; relative to the job file's folder, absolute once loaded.
    """

    name: Literal["auto", "int8", "float32", "float64"] = "auto"
    threads: int | None = Field(default=None, ge=1)
    library: Annotated[Path, Strict(False), AfterValidator(_existing)] | None = Field(
        default=None, description="the path of an existing file"
    )


class BaselineSection(_Section):
    """``[baseline]``: what the layered product is compared with.

    Attributes
    ----------
    oneshot : bool
        Whether the same product is also run in one piece, in float64.
    """

    oneshot: bool = False


class RecordSection(_Section):
    """``[record]``: the HDF5 file that keeps the run.

    Attributes
    ----------
    file : str, optional
        Its path, kept as written; a time-stamped file under ``results/`` unless given.
    tasks : bool
        Whether each single task is kept.
    locking : bool, optional
        Whether the file is locked (HDF5's own choice unless given).
    """

    file: str | None = Field(default=None, pattern=r"^[^\x00]+$", description="a path")
    tasks: bool = True
    locking: bool | None = None


class VerifySection(_Section):
    """``[verify]``: how results are compared with the exact product.

    Attributes
    ----------
    exact : {"full", "sampled", "auto", "off"}
        Every entry; a sample of rows; every entry up to ``limit`` and a sample above; or nothing.
    limit : int
        Multiply-adds of the checked digit products up to which ``auto`` checks every entry.
    """

    exact: Literal["full", "sampled", "auto", "off"] = "auto"
    limit: int = Field(default=2**38, ge=0)


class Job(_Section):
    """A whole job file, validated.

    Attributes
    ----------
    job, operands, resolution, code, schedule, kernel, baseline, record, verify
        The sections of the same names.
    """

    job: JobSection = JobSection()
    operands: OperandsSection
    resolution: ResolutionSection = ResolutionSection()
    code: CodeSection = CodeSection()
    schedule: ScheduleSection = ScheduleSection()
    kernel: KernelSection = KernelSection()
    baseline: BaselineSection = BaselineSection()
    record: RecordSection = RecordSection()
    verify: VerifySection = VerifySection()

    _path: Path = Path("job.toml")
    _text: str = ""

    def read_from(self, path: Path, text: str) -> Self:
        """Return a copy that knows the file it was read from and its text as run."""
        job = self.model_copy()
        job._path, job._text = path, text
        return job

    @property
    def path(self) -> Path:
        """The job file, as it was named."""
        return self._path

    @property
    def base(self) -> Path:
        """The folder that relative paths of operands start from."""
        return self._path.parent

    @property
    def text(self) -> str:
        """The TOML text as run, with a comment line for each override."""
        return self._text

    def where(self, section: str, key: str) -> str:
        """Return the place of a key, to start a message with: ``job.toml: [section] key``."""
        return f"{self._path}: [{section}] {key}"
