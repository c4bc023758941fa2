"""The whole of a job."""

from pathlib import Path
from typing import Self

from pydantic import ValidationError, model_validator

from hpcrefine.job.base import Section, rule, within
from hpcrefine.job.codes import CodeSection, CompareSection
from hpcrefine.job.faults import FaultsSection, WorkersSection
from hpcrefine.job.operands import OperandsSection
from hpcrefine.job.sections import (
    BaselineSection,
    JobSection,
    KernelSection,
    RecordSection,
    ResolutionSection,
    ScheduleSection,
    VerifySection,
)


class Job(Section):
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
                raise rule(("workers", "timeout"), expected)
        return self

    @model_validator(mode="after")
    def _codes_make_sense(self) -> Self:
        labels: list[str] = []
        for index, entry in enumerate(self.compare.codes if self.compare else ()):
            try:
                label = entry.label(entry.over(self.code))
            except ValidationError as error:
                raise within(("compare", "codes", index), error) from None
            taken = f"codes[{labels.index(label)}]" if label in labels else ""
            if label == "oneshot" and self.baseline.oneshot:
                taken = "[baseline] oneshot"
            if taken:
                place = ("compare", "codes", index, "name")
                raise rule(place, f"another label than that of {taken}", label)
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

    def where_code(self, index: int, key: str) -> str:
        """Return the place of a key of one of :attr:`codes`, to start a message with."""
        if self.compare is None:
            return self.where("code", key)
        return self.where("compare", f"codes[{index}].{key}")
