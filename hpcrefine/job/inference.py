"""The sections of a job that runs a network."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, Strict, model_validator

from hpcrefine.inference.precision import Precision
from hpcrefine.job.base import Section, rule
from hpcrefine.job.operands import FileArray

_FILE = "{file = ...}"
_MOST_BITS = 30  # of a weight
_OF_DIGITS = {"balanced": ("grid_bits",), "truncate": ("grid", "leading", "input_leading")}
_OF_RULES = {
    "calibrated": ("epsilon", "confidence"),
    "margin": ("margin",),
    "interval": ("interval",),
}


class NetworkSection(Section):
    """``[network]``: what is evaluated.

    Attributes
    ----------
    file : str
        Path of an .npz file of ours or an ONNX file, relative to the job file's folder.
    """

    file: str = Field(pattern=r"^[^\x00]+$", description="a path")


class CalibrationSection(Section):
    """``[calibration]``: samples that grids and thresholds are chosen on, apart from all others.

    Attributes
    ----------
    images : FileArray
        The samples.
    labels : FileArray, optional
        Their classes, only for the accuracy that is told.
    """

    images: FileArray = Field(description=_FILE)
    labels: FileArray | None = Field(default=None, description=_FILE)


class SamplesSection(CalibrationSection):
    """``[samples]``: what the network is evaluated for.

    Attributes
    ----------
    images : FileArray
        The samples.
    labels : FileArray, optional
        Their classes, for accuracies.
    classes : {"given", "even"}
        Labels as they are in the file; or 1 for an even label and 0 for an odd one, for a network
        with a binary decision. It holds for the labels of ``[calibration]`` too.
    """

    classes: Literal["given", "even"] = "given"


def _exponents(leading: tuple[int, ...]) -> tuple[int, ...]:
    if not leading or max(map(abs, leading)) > 32:
        raise ValueError("no exponents")
    return leading


class PrecisionKeys(Section):
    """The keys of a precision; the rules among them hold once those not given are filled in."""

    digits: Literal["balanced", "truncate"] = "balanced"
    upgrades: int = Field(default=2, ge=1, le=30)
    digit_bits: int = Field(default=7, ge=1, le=7)
    grid_bits: int = Field(default=8, ge=4, le=15)
    grid: int = Field(default=-4, ge=-14, le=8)
    leading: Annotated[tuple[int, ...], Strict(False), AfterValidator(_exponents)] | None = Field(
        default=None, description="a list of integers -32..32, one for each layer with weights"
    )
    input_leading: int = Field(default=0, ge=-32, le=32)


class PrecisionSection(PrecisionKeys):
    """``[precision]``: how weights and activations are cut into digits, and in how many upgrades.

    Attributes
    ----------
    digits : {"balanced", "truncate"}
        Balanced digits with a scale for each channel and calibrated activation grids; or, as
        published, bits cut towards zero below a leading one for each tensor.
    upgrades : int
        How many there are.
    digit_bits : int
        Bits of the weights that an upgrade adds.
    grid_bits : int
        With ``balanced``: bits of an activation.
    grid : int
        With ``truncate``: activations are rounded to multiples of two to this power.
    leading : tuple of int, optional
        With ``truncate``: exponent above the leading bit of each layer's weights; the least that
        holds them unless given.
    input_leading : int
        With ``truncate``: the same of the input, of which each upgrade knows ``digit_bits`` more.
    """

    @model_validator(mode="after")
    def _suits_the_digits(self) -> Self:
        _refuse_others(self, "digits", _OF_DIGITS)
        if self.digits == "balanced" and self.digit_bits == 1:
            raise rule("digit_bits", '2..7 with digits = "balanced"')
        most = _MOST_BITS // self.digit_bits
        if self.upgrades > most:
            raise rule("upgrades", f"1..{most} with digit_bits = {self.digit_bits}")
        return self

    def precision(self) -> Precision:
        """Return what the engine takes."""
        return Precision(**self.model_dump())


def _refuse_others(section: Section, key: str, choices: dict[str, tuple[str, ...]]) -> None:
    """Raise if a key is given that belongs to another choice than the one made."""
    made = getattr(section, key)
    for choice, keys in choices.items():
        for other in keys if choice != made else ():
            if other in section.model_fields_set:
                raise rule(other, f'no such key with {key} = "{made}"')


def _gray(zone: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= zone[0] < zone[1] <= 1:
        raise ValueError("not 0 <= low < high <= 1")
    return zone


class AdaptiveKeys(Section):
    """The keys of a rule; the rules among them hold once those not given are filled in."""

    rule: Literal["calibrated", "margin", "interval", "none"] = "calibrated"
    epsilon: float = Field(default=0.005, gt=0, lt=1)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    margin: float = Field(default=0.05, ge=0)
    interval: Annotated[tuple[float, float], Strict(False), AfterValidator(_gray)] = Field(
        default=(0.3, 0.6), description="two probabilities [low, high], low < high"
    )


class AdaptiveSection(AdaptiveKeys):
    """``[adaptive]``: when a sample's decision is clear, so that it takes no further upgrade.

    Attributes
    ----------
    rule : {"calibrated", "margin", "interval", "none"}
        By thresholds chosen on the calibration split; as published by a fixed distance of the two
        largest scores, or (for a binary decision) outside a fixed interval; or never early.
    epsilon : float
        With ``calibrated``: the share of samples that may be decided otherwise than after all
        upgrades ...
    confidence : float
        ... and with what confidence.
    margin : float
        With ``margin``: the distance.
    interval : (float, float)
        With ``interval``: probabilities within which nothing is decided.
    """

    @model_validator(mode="after")
    def _suits_the_rule(self) -> Self:
        _refuse_others(self, "rule", _OF_RULES)
        return self


class StopSection(Section):
    """``[stop]``: when a job may end before all samples are decided; whatever comes first.

    Attributes
    ----------
    decided : float, optional
        Once this share of the samples is decided.
    upgrade : int, optional
        After this upgrade, 0 the first.
    """

    decided: float | None = Field(default=None, gt=0, le=1)
    upgrade: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.decided is None and self.upgrade is None:
            raise rule("", "decided or upgrade")
        return self


class DistributionKeys(Section):
    """The keys of a distribution."""

    distribute: Literal["samples", "products"] = "samples"
    block: int | None = Field(default=None, ge=1)
    deadline: float | None = Field(default=None, gt=0)


class DistributionSection(DistributionKeys):
    """``[schedule]``: what goes to the workers.

    Attributes
    ----------
    distribute : {"samples", "products"}
        Blocks of samples to workers that hold the network; or each layer's products, coded, with
        the weights at the workers and the activations at the master.
    block : int, optional
        Samples in a block.
    deadline : float, optional
        Seconds that a job has: what is not there by then is given up.
    """


class InferenceBaselineSection(Section):
    """``[baseline]``: what the adaptive network is compared with.

    Attributes
    ----------
    oneshot : bool
        Whether the network is also evaluated in float32 on BLAS, at the master, with all cores of
        its node.
    all : bool
        Whether all samples also take all upgrades.
    """

    oneshot: bool = False
    all: bool = False
