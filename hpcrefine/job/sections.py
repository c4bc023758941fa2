"""The sections that only hold values: the run, the resolution, the kernel, the record."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, Strict, ValidationInfo, model_validator

from hpcrefine.job.base import Section, rule


class JobSection(Section):
    """``[job]``: what is run, and how often.

    Attributes
    ----------
    name : str
        Names the run and its record; the job file's name without ``.toml`` unless given.
    kind : {"matmul", "inference"}
        What is computed: a product, or the scores of a network.
    seed : int
        Seed of everything random in the run.
    repeats, warmups : int
        Measured repetitions, and unmeasured ones before them.
    """

    name: str = Field(default="job", pattern=r"^[^/\x00-\x1f]+$", description='a name without "/"')
    kind: Literal["matmul", "inference"] = "matmul"
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    repeats: int = Field(default=5, ge=1)
    warmups: int = Field(default=1, ge=0)


class Stop(Section):
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
            raise rule("", "either tolerance or relative")
        return self


class ResolutionSection(Section):
    """``[resolution]``: how the operands are cut into digits and the product into layers.

    Attributes
    ----------
    digits, digit_bits : int
        Digits of each operand, and bits of each digit.
    layering : {"antidiagonal", "product", "square", "whole"}
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
    layering: Literal["antidiagonal", "product", "square", "whole"] = "antidiagonal"
    scale: Literal["row", "matrix"] = "row"
    truncate: int | None = Field(default=None, ge=0)
    stop: Stop | None = Field(default=None, description="{tolerance = ...} or {relative = ...}")

    @model_validator(mode="after")
    def _within_digits(self) -> Self:
        if self.truncate is not None and self.truncate > 2 * self.digits - 2:
            raise rule("truncate", f"0..{2 * self.digits - 2} with digits = {self.digits}")
        return self


class ScheduleSection(Section):
    """``[schedule]``: which worker gets how many tasks.

    Attributes
    ----------
    split : {"uniform", "optimal", "dynamic"}
        The same number for each worker; in accordance with how fast each is; or the next task to
        whoever is ready for it.
    gamma : float
        With ``optimal``: weight of the second moment of a worker's finishing time, in 1/s.
    forgetting : float
        With ``optimal``: what an observed time counts for after each further one.
    prefetch : int
        With ``dynamic``: tasks that a worker has at a time.
    """

    split: Literal["uniform", "optimal", "dynamic"] = "uniform"
    gamma: float = Field(default=1.0, ge=0)
    forgetting: float = Field(default=0.98, gt=0, le=1)
    prefetch: int = Field(default=2, ge=1)


def _existing(library: Path, info: ValidationInfo) -> Path:
    found: Path = ((info.context or {}).get("base", Path()) / library).absolute()
    if "\0" in str(found) or not found.is_file():
        raise ValueError("no such file")
    return found


class KernelSection(Section):
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


class BaselineSection(Section):
    """``[baseline]``: what the layered product is compared with.

    Attributes
    ----------
    oneshot : bool
        Whether the same product is also run in one piece, in float64.
    coded : bool
        Whether that is the same coded product of digits instead, released when all of it is there.
    """

    oneshot: bool = False
    coded: bool = False


class RecordSection(Section):
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


class VerifySection(Section):
    """``[verify]``: how results are compared with the exact product, or a network's exact scores.

    Attributes
    ----------
    exact : {"full", "sampled", "auto", "off"}
        Every entry; a sample of rows; every entry up to ``limit`` and a sample above; or nothing.
        Of a network's samples those scores that come before the last upgrade may be a sample.
    limit : int
        Multiply-adds of the checked digit products, or of all upgrades, up to which ``auto``
        checks every entry.
    """

    exact: Literal["full", "sampled", "auto", "off"] = "auto"
    limit: int = Field(default=2**38, ge=0)
