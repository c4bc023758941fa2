"""The whole of a job."""

from typing import Self

from pydantic import ValidationError, model_validator

from hpcrefine.job.base import rule, unsuited, within
from hpcrefine.job.codes import CodeSection, ComparedCode, CompareSection
from hpcrefine.job.faults import FaultsSection, WorkersSection, check_noticed
from hpcrefine.job.operands import OperandsSection
from hpcrefine.job.origin import JobFile
from hpcrefine.job.sections import (
    BaselineSection,
    KernelSection,
    RecordSection,
    ResolutionSection,
    ScheduleSection,
    VerifySection,
)
from hpcrefine.job.stream import SimulateSection, StreamSection


class Job(JobFile):
    """A whole job file that multiplies, validated.

    Attributes
    ----------
    operands, resolution, code, schedule, workers, faults, kernel, baseline, record, verify
        The sections of the same names.
    simulate : SimulateSection
        That section.
    compare, stream : optional
        These sections, if there are any.
    """

    operands: OperandsSection
    resolution: ResolutionSection = ResolutionSection()
    code: CodeSection = CodeSection()
    schedule: ScheduleSection = ScheduleSection()
    workers: WorkersSection = WorkersSection()
    faults: FaultsSection = FaultsSection()
    compare: CompareSection | None = None
    stream: StreamSection | None = None
    simulate: SimulateSection = SimulateSection()
    kernel: KernelSection = KernelSection()
    baseline: BaselineSection = BaselineSection()
    record: RecordSection = RecordSection()
    verify: VerifySection = VerifySection()

    @model_validator(mode="after")
    def _somebody_notices_silence(self) -> Self:
        check_noticed(self.workers, self.faults)
        return self

    @model_validator(mode="after")
    def _codes_make_sense(self) -> Self:
        labels: list[str] = []
        if not self._compared:
            self._check_redundancies(self.code)
        for index, entry in enumerate(self._compared):
            try:
                section = entry.over(self.code)
            except ValidationError as error:
                raise within(("compare", "codes", index), error) from None
            self._check_redundancies(section)
            label = entry.label(section)
            taken = f"codes[{labels.index(label)}]" if label in labels else ""
            if label == "oneshot" and self.baseline.oneshot:
                taken = "[baseline] oneshot"
            if taken:
                place = ("compare", "codes", index, "name")
                raise rule(place, f"another label than that of {taken}", label)
            labels.append(label)
        return self

    def _check_redundancies(self, section: CodeSection) -> None:
        for ratio in self.compare.redundancies or () if self.compare else ():
            try:
                section.with_redundancy(ratio)
            except ValidationError as error:
                raise unsuited(("compare", "redundancies"), error, ratio) from None

    @model_validator(mode="after")
    def _streams_have_deadlines(self) -> Self:
        if self.compare is None:
            return self
        if self.compare.deadlines is not None and self.stream is None:
            raise rule(("compare", "deadlines"), "no such key without [stream]")
        return self

    @property
    def _compared(self) -> tuple[ComparedCode, ...]:
        return self.compare.codes if self.compare else ()

    @property
    def codes(self) -> tuple[tuple[str, CodeSection], ...]:
        """Label and section of each code that a repeat runs: those compared, or ``[code]``.

        With several redundancy ratios, each code comes once with each.
        """
        sections = [("layered", self.code)]
        if self._compared:
            each = [(entry, entry.over(self.code)) for entry in self._compared]
            sections = [(entry.label(section), section) for entry, section in each]
        ratios = self.compare.redundancies if self.compare else None
        if ratios is None:
            return tuple(sections)
        return tuple(
            (label, code.with_redundancy(ratio)) for label, code in sections for ratio in ratios
        )

    @property
    def splits(self) -> tuple[str, ...]:
        """Load splits that each code of a repeat meets."""
        splits = self.compare.splits if self.compare else None
        return (self.schedule.split,) if splits is None else splits

    @property
    def deadlines(self) -> tuple[float | None, ...]:
        """Deadlines that each code of a repeat meets; None: there is none."""
        deadlines = self.compare.deadlines if self.compare else None
        if deadlines is not None:
            return deadlines
        return (self.stream.deadline if self.stream else None,)

    @property
    def stragglers(self) -> tuple[int, ...]:
        """Numbers of stragglers that each code of a repeat meets."""
        if self.compare is None or self.compare.stragglers is None:
            return (self.faults.stragglers,)
        return self.compare.stragglers

    def where_code(self, index: int, key: str) -> str:
        """Return the place of a key of one of :attr:`codes`, to start a message with."""
        ratios = self.compare.redundancies if self.compare else None
        if not self._compared:
            return self.where("code", key)
        return self.where("compare", f"codes[{index // len(ratios or (1,))}].{key}")
