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
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from hpcrefine import faults

_Place = str | tuple[str | int, ...]


def _rule(place: _Place, expected: str, found: object = None) -> PydanticCustomError:
    """Report a broken rule, for jobfile.

    Parameters
    ----------
    place : str or tuple
        The key that breaks it, or the way to it; empty for the field itself.
    expected : str
        What would do.
    found : object
        The value, where the file does not say it.
    """
    keys = (place,) if isinstance(place, str) else place
    return PydanticCustomError(
        "rule", "{expected}", {"keys": keys if place else (), "expected": expected, "found": found}
    )


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


Scheme = Literal[
    "uncoded", "speculative", "replication", "mds", "blockdiagonal", "polynomial", "matdot", "lt"
]


class _CodeKeys(_Section):
    """The keys of a code; the rules among them hold once those not given are filled in."""

    scheme: Scheme = "uncoded"
    tasks: int = Field(default=8, ge=1)
    redundancy: float = Field(default=1.0, ge=1)
    unit: Literal["layer", "minijob"] = "layer"
    survive: int = Field(default=0, ge=0)
    verify: Literal["none", "freivalds"] = "none"
    lies: int = Field(default=3, ge=1)


_WITHOUT_REDUNDANCY = ("uncoded", "speculative")


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
    def _suits_the_scheme(self) -> Self:
        if self.scheme in _WITHOUT_REDUNDANCY and self.redundancy > 1:
            expected = f'1.0 with scheme = "{self.scheme}"; use scheme = "mds"'
            raise _rule("redundancy", expected, self.redundancy)
        if self.scheme == "matdot" and self.tasks % 2 == 0:
            raise _rule("tasks", 'an odd number, 2 p - 1, with scheme = "matdot"', self.tasks)
        return self


def _label(name: str) -> str:
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

    name: Annotated[str, AfterValidator(_label)] | None = Field(
        default=None, description="a label of 1..24 bytes"
    )

    def over(self, code: CodeSection) -> CodeSection:
        """Return the section it stands for: ``[code]`` with what is given here.

        The redundancy of ``[code]`` is not for a scheme that has none.
        """
        given = self.model_dump(exclude_unset=True, exclude={"name"})
        base = code.model_dump()
        if given.get("scheme") in _WITHOUT_REDUNDANCY:
            base["redundancy"] = 1.0
        return CodeSection.model_validate(base | given)

    def label(self, section: CodeSection) -> str:
        """Return what the section it stands for is called."""
        return self.name or section.scheme


def _all_different(counts: tuple[int, ...]) -> tuple[int, ...]:
    if not counts or min(counts) < 0 or len(set(counts)) < len(counts):
        raise ValueError("empty, negative or twice the same")
    return counts


class CompareSection(_Section):
    """``[compare]``: what each repeat runs instead of ``[code]`` alone.

    Attributes
    ----------
    codes : tuple of ComparedCode
        The codes; :attr:`Job.codes` fills in what they leave to ``[code]``.
    stragglers : tuple of int, optional
        Numbers of stragglers that each code meets; that of ``[faults]`` alone unless given.
    """

    codes: Annotated[tuple[ComparedCode, ...], Strict(False)] = Field(
        min_length=1, description="a list of one or more tables with keys of [code]"
    )
    stragglers: Annotated[tuple[int, ...], Strict(False), AfterValidator(_all_different)] | None = (
        Field(default=None, description="a list of different integers >= 0")
    )


class ScheduleSection(_Section):
    """``[schedule]``: which worker gets how many tasks.

    Attributes
    ----------
    split : {"uniform"}
        The same number for each worker.
    """

    split: Literal["uniform"] = "uniform"


class WorkersSection(_Section):
    """``[workers]``: what is asked of the workers.

    Attributes
    ----------
    timeout : float, optional
        Seconds after which a worker that owes an answer is given up.
    """

    timeout: float | None = Field(default=None, gt=0)


class ServiceTime(_Section):
    """The random time that a task takes, see :class:`hpcrefine.faults.Service`.

    Attributes
    ----------
    distribution : str
        Its shape.
    mean : float
        Its mean, in seconds.
    shift : float, optional
        The least time of ``shifted-exponential``, in seconds.
    shape : float, optional
        The tail index of ``pareto``, 2.5 unless given.
    """

    distribution: Literal["exponential", "shifted-exponential", "pareto", "deterministic"]
    mean: float = Field(gt=0)
    shift: float | None = Field(default=None, ge=0)
    shape: float | None = Field(default=None, gt=1)

    @model_validator(mode="after")
    def _suits_the_distribution(self) -> Self:
        drawn = f'with distribution = "{self.distribution}"'
        if self.distribution != "shifted-exponential":
            if self.shift is not None:
                raise _rule("shift", f"no such key {drawn}")
        elif self.shift is None or self.shift >= self.mean:
            raise _rule("shift", f"a number >= 0 and below mean = {self.mean:g} {drawn}")
        if self.distribution != "pareto" and self.shape is not None:
            raise _rule("shape", f"no such key {drawn}")
        return self

    def service(self) -> faults.Service:
        """Return the distribution to draw from."""
        return faults.Service(**self.model_dump(exclude_none=True))


class Moment(_Section):
    """When something befalls a worker; exactly one of the two.

    Attributes
    ----------
    at : float, optional
        Seconds since the run began.
    after : int, optional
        Tasks that the worker has computed.
    """

    at: float | None = Field(default=None, ge=0)
    after: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.at is None) == (self.after is None):
            raise _rule("", "either at or after")
        return self


class Corruption(_Section):
    """Wrong results.

    Attributes
    ----------
    rate : float
        Probability that the result of a task is wrong.
    kind : {"bit-flip", "wrong-block", "stale-job", "any"}
        How it is wrong.
    """

    rate: float = Field(ge=0, le=1)
    kind: Literal["bit-flip", "wrong-block", "stale-job", "any"] = "any"


def _one_after_the_other(
    pauses: tuple[tuple[float, float], ...],
) -> tuple[tuple[float, float], ...]:
    end = 0.0
    for at, seconds in pauses:
        if at < end or seconds <= 0:
            raise ValueError("before the end of the last")
        end = at + seconds
    return pauses


_Pause = Annotated[tuple[float, float], Strict(False)]
_SERVICE = "{distribution = ..., mean = ...}"
_MOMENT = "{at = seconds} or {after = tasks}"


class FaultyWorker(_Section):
    """``[[faults.worker]]``: what befalls one worker, or ``count`` workers drawn from the seed.

    Attributes
    ----------
    rank, count : int, optional
        Which worker, from 1, or how many; exactly one of the two.
    slowdown, service, pauses, silent, kill, corrupt
        As in :class:`hpcrefine.faults.Faults`; at least one of them.
    """

    rank: int | None = Field(default=None, ge=1)
    count: int | None = Field(default=None, ge=1)
    slowdown: float | None = Field(default=None, ge=1)
    service: ServiceTime | None = Field(default=None, description=_SERVICE)
    pauses: (
        Annotated[tuple[_Pause, ...], Strict(False), AfterValidator(_one_after_the_other)] | None
    ) = Field(
        default=None,
        min_length=1,
        description="a list of [at, seconds], at >= 0, seconds > 0, one after the other",
    )
    silent: Moment | None = Field(default=None, description=_MOMENT)
    kill: Moment | None = Field(default=None, description=_MOMENT)
    corrupt: Corruption | None = Field(default=None, description="{rate = ..., kind = ...}")

    @model_validator(mode="after")
    def _somebody_something(self) -> Self:
        if (self.rank is None) == (self.count is None):
            raise _rule("", "either rank or count")
        befalls = ("slowdown", "service", "pauses", "silent", "kill", "corrupt")
        if all(getattr(self, key) is None for key in befalls):
            raise _rule("", f"at least one of {', '.join(befalls)}")
        return self

    @model_validator(mode="after")
    def _silent_before_dead(self) -> Self:
        for key in ("at", "after"):
            silent, kill = getattr(self.silent, key, None), getattr(self.kill, key, None)
            if silent is not None and kill is not None and silent >= kill:
                raise _rule(("silent", key), f"less than kill.{key} = {kill:g}")
        return self

    def entry(self) -> faults.Entry:
        """Return what :func:`hpcrefine.faults.assign` takes."""
        befalls = faults.Faults(
            slowdown=self.slowdown or 1.0,
            service=self.service.service() if self.service else None,
            pauses=self.pauses or (),
            silent_at=self.silent.at if self.silent else None,
            silent_after=self.silent.after if self.silent else None,
            kill_at=self.kill.at if self.kill else None,
            kill_after=self.kill.after if self.kill else None,
            corrupt_rate=self.corrupt.rate if self.corrupt else 0.0,
            corrupt_kind=self.corrupt.kind if self.corrupt else "any",
        )
        return faults.Entry(befalls, self.rank, self.count or 1)


class FaultsSection(_Section):
    """``[faults]``: what is done to the workers on purpose.

    Attributes
    ----------
    service : ServiceTime, optional
        Random time that each task takes, at every worker.
    stragglers : int
        So many workers, drawn from the seed, are slower.
    slowdown : float
        How many times as long they take.
    worker : tuple of FaultyWorker
        Faults of single workers, which are no stragglers beside.
    """

    service: ServiceTime | None = Field(default=None, description=_SERVICE)
    stragglers: int = Field(default=0, ge=0)
    slowdown: float = Field(default=5.0, ge=1)
    worker: Annotated[tuple[FaultyWorker, ...], Strict(False)] = Field(
        default=(), description="a list of tables with rank or count and faults"
    )

    @model_validator(mode="after")
    def _ranks_once(self) -> Self:
        ranks = [entry.rank for entry in self.worker]
        for index, rank in enumerate(ranks):
            if rank is not None and rank in ranks[:index]:
                raise _rule(("worker", index, "rank"), "a rank that no other worker has")
        return self

    def assign(
        self, workers: int, seed: int, stragglers: int | None = None
    ) -> dict[int, faults.Faults]:
        """Say what befalls each worker, see :func:`hpcrefine.faults.assign`.

        Parameters
        ----------
        workers : int
            Number P of workers, which have ranks 1..P.
        seed : int
            The job's.
        stragglers : int, optional
            How many, if not as many as the section says.

        Raises
        ------
        InputError
            If the section asks for more workers than there are.
        """
        return faults.assign(
            workers,
            seed,
            service=self.service.service() if self.service else None,
            stragglers=self.stragglers if stragglers is None else stragglers,
            slowdown=self.slowdown,
            entries=[entry.entry() for entry in self.worker],
        )


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
    job, operands, resolution, code, schedule, workers, faults, kernel, baseline, record, verify
        The sections of the same names.
    compare : CompareSection, optional
        That section, if there is one.
    """

    job: JobSection = JobSection()
    operands: OperandsSection
    resolution: ResolutionSection = ResolutionSection()
    code: CodeSection = CodeSection()
    schedule: ScheduleSection = ScheduleSection()
    workers: WorkersSection = WorkersSection()
    faults: FaultsSection = FaultsSection()
    compare: CompareSection | None = None
    kernel: KernelSection = KernelSection()
    baseline: BaselineSection = BaselineSection()
    record: RecordSection = RecordSection()
    verify: VerifySection = VerifySection()

    _path: Path = Path("job.toml")
    _text: str = ""

    @model_validator(mode="after")
    def _somebody_notices_silence(self) -> Self:
        for index, entry in enumerate(self.faults.worker):
            if entry.silent is not None and self.workers.timeout is None:
                expected = f"a number > 0 with [faults] worker[{index}].silent, else the run hangs"
                raise _rule(("workers", "timeout"), expected)
        return self

    @model_validator(mode="after")
    def _codes_make_sense(self) -> Self:
        labels: list[str] = []
        for index, entry in enumerate(self.compare.codes if self.compare else ()):
            try:
                label = entry.label(entry.over(self.code))
            except ValidationError as error:
                context = error.errors()[0]["ctx"]
                place = ("compare", "codes", index, *context["keys"])
                raise _rule(place, context["expected"], context["found"]) from None
            if label in labels:
                place = ("compare", "codes", index, "name")
                expected = f"another label than that of codes[{labels.index(label)}]"
                raise _rule(place, expected, label)
            labels.append(label)
        return self

    @property
    def codes(self) -> tuple[tuple[str, CodeSection], ...]:
        """Label and section of each code that a repeat runs: those compared, or ``[code]``."""
        if self.compare is None:
            return ((self.code.scheme, self.code),)
        sections = [(entry, entry.over(self.code)) for entry in self.compare.codes]
        return tuple((entry.label(section), section) for entry, section in sections)

    @property
    def stragglers(self) -> tuple[int, ...]:
        """Numbers of stragglers that each code of a repeat meets."""
        if self.compare is None or self.compare.stragglers is None:
            return (self.faults.stragglers,)
        return self.compare.stragglers

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
