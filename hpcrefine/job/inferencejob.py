"""The whole of a job that runs a network, and the settings that its repeats run."""

from typing import Annotated, Self, TypeVar

from pydantic import AfterValidator, Field, Strict, ValidationError, model_validator

from hpcrefine.job.base import Section, rule, within
from hpcrefine.job.codes import CodeSection, check_label
from hpcrefine.job.faults import FaultsSection, PatienceSection, check_noticed
from hpcrefine.job.inference import (
    AdaptiveKeys,
    AdaptiveSection,
    CalibrationSection,
    DistributionKeys,
    DistributionSection,
    InferenceBaselineSection,
    NetworkSection,
    PrecisionKeys,
    PrecisionSection,
    SamplesSection,
    StopSection,
)
from hpcrefine.job.origin import JobFile
from hpcrefine.job.sections import KernelSection, RecordSection, VerifySection

ADAPTIVE, ALL, ONESHOT = "adaptive", "all", "oneshot"

_S = TypeVar("_S", bound=Section)


class Setting(Section):
    """How a network is refined and distributed: these sections together.

    Attributes
    ----------
    precision, adaptive, schedule
        The sections of the same names.
    """

    precision: PrecisionSection
    adaptive: AdaptiveSection
    schedule: DistributionSection


class ComparedSetting(PrecisionKeys, AdaptiveKeys, DistributionKeys):
    """One of the settings of ``[compare]``: the keys in which it differs from the job's sections.

    A setting with ``digits`` says all of ``[precision]`` anew, one with ``rule`` all of
    ``[adaptive]``.

    Attributes
    ----------
    name : str
        Its label.
    """

    name: Annotated[str, AfterValidator(check_label)] = Field(description="a label of 1..24 bytes")

    def over(self, setting: Setting) -> Setting:
        """Return the setting it stands for: another one with what is given here.

        Raises
        ------
        ValidationError
            If a section would break a rule.
        """
        given = self.model_dump(exclude_unset=True, exclude={"name"})
        return Setting(
            precision=_over(setting.precision, given, anew="digits" in given),
            adaptive=_over(setting.adaptive, given, anew="rule" in given),
            schedule=_over(setting.schedule, given, anew=False),
        )


def _over(section: _S, given: dict[str, object], *, anew: bool) -> _S:
    """Return a section with what is given of its keys, and its own for the others or none."""
    mine = {key: value for key, value in given.items() if key in type(section).model_fields}
    own = {} if anew else section.model_dump(exclude_unset=True)
    return type(section).model_validate(own | mine)


class CompareSettingsSection(Section):
    """``[compare]``: what each repeat runs beside the job's own setting.

    Attributes
    ----------
    settings : tuple of ComparedSetting
        ``[[compare.settings]]``; :attr:`InferenceJob.settings` fills in what they leave open.
    """

    settings: Annotated[tuple[ComparedSetting, ...], Strict(False)] = Field(
        min_length=1,
        description="a list of one or more tables with keys of [precision], [adaptive], [schedule]",
    )


class InferenceJob(JobFile):
    """A whole job file with ``kind = "inference"``, validated.

    Attributes
    ----------
    network, samples, calibration, precision, adaptive, schedule, code, workers, faults, baseline, \
kernel, record, verify
        The sections of the same names.
    stop, compare : optional
        These sections, if there are any.
    """

    network: NetworkSection
    samples: SamplesSection
    calibration: CalibrationSection
    precision: PrecisionSection = PrecisionSection()
    adaptive: AdaptiveSection = AdaptiveSection()
    stop: StopSection | None = None
    schedule: DistributionSection = DistributionSection()
    code: CodeSection = CodeSection()
    workers: PatienceSection = PatienceSection()
    faults: FaultsSection = FaultsSection()
    compare: CompareSettingsSection | None = None
    kernel: KernelSection = KernelSection()
    baseline: InferenceBaselineSection = InferenceBaselineSection()
    record: RecordSection = RecordSection()
    verify: VerifySection = VerifySection()

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        check_noticed(self.workers, self.faults)
        labels = [ADAPTIVE, ALL, ONESHOT]
        for index, entry in enumerate(self._compared):
            place = ("compare", "settings", index)
            if entry.name in labels:
                raise rule((*place, "name"), "a label that nothing else has", entry.name)
            labels.append(entry.name)
            try:
                entry.over(self.setting)
            except ValidationError as error:
                raise within(place, error) from None
        distributed = {setting.schedule.distribute for _, setting in self.settings}
        if "code" in self.model_fields_set and "products" not in distributed:
            raise rule("code", 'no such section with [schedule] distribute = "samples"')
        if "unit" in self.code.model_fields_set:
            raise rule(("code", "unit"), "no such key with networks: a product is one layer")
        last = max(setting.precision.upgrades for _, setting in self.settings) - 1
        if self.stop is not None and self.stop.upgrade is not None and self.stop.upgrade > last:
            raise rule(("stop", "upgrade"), f"0..{last}, the upgrades there are")
        return self

    @property
    def _compared(self) -> tuple[ComparedSetting, ...]:
        return self.compare.settings if self.compare else ()

    @property
    def setting(self) -> Setting:
        """The job's own setting."""
        return Setting(precision=self.precision, adaptive=self.adaptive, schedule=self.schedule)

    @property
    def settings(self) -> tuple[tuple[str, Setting], ...]:
        """Label and setting of each layered variant that a repeat runs."""
        own = self.setting
        patient = own.model_copy(update={"adaptive": AdaptiveSection(rule="none")})
        return (
            (ADAPTIVE, own),
            *(((ALL, patient),) if self.baseline.all else ()),
            *((entry.name, entry.over(own)) for entry in self._compared),
        )

    def where_setting(self, label: str, section: str, key: str = "") -> str:
        """Return the place of a key of one of :attr:`settings`, to start a message with."""
        for index, entry in enumerate(self._compared):
            if entry.name == label:
                return self.where("compare", f"settings[{index}].{key}".rstrip("."))
        return self.where(section, key)

    @property
    def stragglers(self) -> tuple[int, ...]:
        """Numbers of stragglers that each variant of a repeat meets."""
        return (self.faults.stragglers,)
