"""Networks made ready to be refined as a job's settings say: quantised, calibrated, known."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError
from hpcrefine.inference import rules
from hpcrefine.inference.evaluator import Evaluator, LocalMultiplier
from hpcrefine.inference.layered import LayeredNetwork
from hpcrefine.inference.network import Network, decisions
from hpcrefine.inference.quantise import quantise
from hpcrefine.job import AdaptiveSection, InferenceJob, PrecisionSection, Setting
from hpcrefine.kernels import Kernel, Peaks, choose_kernel
from hpcrefine.samples import Samples

Floats = NDArray[np.float32]

_AT_A_TIME = 1024  # samples whose states are held


@dataclass(frozen=True)
class Refinable:
    """A network in digits, and what becomes of the samples.

    Attributes
    ----------
    network : LayeredNetwork
        The network.
    rule : Rule
        When a sample is decided.
    expected : tuple of ndarray of float32, shape (samples, classes)
        What scores each upgrade must give, bit for bit, whoever computes them. Those of the last
        are of the network evaluated in one shot.
    """

    network: LayeredNetwork
    rule: rules.Rule
    expected: tuple[Floats, ...]

    @property
    def final(self) -> Floats:
        """Scores after all upgrades."""
        return self.expected[-1]


class _Cut(NamedTuple):
    """A network in digits, what evaluates it here, and :attr:`Refinable.expected`."""

    network: LayeredNetwork
    evaluator: Evaluator
    expected: tuple[Floats, ...]


class Workshop:
    """Makes a job's settings ready, each precision once.

    Parameters
    ----------
    job : InferenceJob
        The job.
    network : Network
        Its network.
    samples, calibration : Samples
        What the network is evaluated for, and what grids and thresholds are chosen on.
    tell : callable
        Is told in a line what has been made.
    """

    def __init__(
        self,
        job: InferenceJob,
        network: Network,
        samples: Samples,
        calibration: Samples,
        tell: Callable[[str], None],
    ) -> None:
        self._job, self._network, self._tell = job, network, tell
        self._samples, self._calibration = samples, calibration
        self._made: dict[PrecisionSection, _Cut] = {}
        self._learned: dict[PrecisionSection, tuple[Floats, ...]] = {}

    def make(self, label: str, setting: Setting) -> Refinable:
        """Make a setting ready.

        Raises
        ------
        InputError
            If the network cannot be cut so, or the calibration split cannot show what is asked.
        """
        with self._named(label, "precision"):
            cut = self._cut(setting.precision)
        with self._named(label, "adaptive"):
            rule = self._rule(setting.adaptive, setting.precision, cut)
        self._tell(f"{label}: {_told(rule)}")
        return Refinable(cut.network, rule, cut.expected)

    @contextmanager
    def _named(self, label: str, section: str) -> Iterator[None]:
        try:
            yield
        except InputError as error:
            raise InputError(f"{self._job.where_setting(label, section)}: {error}") from None

    def _cut(self, precision: PrecisionSection) -> _Cut:
        if precision not in self._made:
            start = time.perf_counter()
            network = quantise(self._network, precision.precision(), self._calibration.images)
            evaluator = Evaluator(network, LocalMultiplier(network, self._kernel(network)))
            early = scores(network, evaluator, self._samples.images)[:-1]
            final = evaluator.oneshot(self._samples.images)
            self._made[precision] = _Cut(network, evaluator, (*early, final))
            taken = time.perf_counter() - start
            self._tell(f"{_described(precision)}: quantised and evaluated here in {taken:.1f} s")
        return self._made[precision]

    def _kernel(self, network: LayeredNetwork) -> Kernel:
        asked = self._job.kernel
        library = str(asked.library) if asked.library else None
        return choose_kernel(asked.name, library, Peaks(*network.peaks)).kernel

    def _rule(self, asked: AdaptiveSection, precision: PrecisionSection, cut: _Cut) -> rules.Rule:
        upgrades = cut.network.upgrades
        if asked.rule == "none":
            return rules.undecided(upgrades)
        if asked.rule == "margin":
            return rules.fixed_margin(asked.margin, upgrades)
        if asked.rule == "interval":
            return rules.gray_interval(*asked.interval, upgrades)
        return rules.calibrated(self._held_out(precision, cut), asked.epsilon, asked.confidence)

    def _held_out(self, precision: PrecisionSection, cut: _Cut) -> tuple[Floats, ...]:
        """Return the calibration split's scores after each upgrade."""
        if precision not in self._learned:
            images, labels = self._calibration.images, self._calibration.labels
            found = tuple(scores(cut.network, cut.evaluator, images))
            self._learned[precision] = found
            if labels is not None:
                right = ", ".join(f"{100 * np.mean(decisions(s) == labels):.2f}" for s in found)
                self._tell(f"{_described(precision)}: {right} % of the calibration split are right")
        return self._learned[precision]


def scores(network: LayeredNetwork, evaluator: Evaluator, samples: NDArray[Any]) -> list[Floats]:
    """Evaluate a network in layers; return the scores after each upgrade, for all samples."""
    found = [np.empty((len(samples), network.classes), np.float32) for _ in range(network.upgrades)]
    for start in range(0, len(samples), _AT_A_TIME):
        state = evaluator.begin(samples[start : start + _AT_A_TIME])
        for upgraded in found:
            upgraded[start : start + _AT_A_TIME] = evaluator.upgrade(state)
    return found


def _described(precision: PrecisionSection) -> str:
    return (
        f"{precision.upgrades} upgrades of {precision.digit_bits} bits, {precision.digits} digits"
    )


def _told(rule: rules.Rule) -> str:
    early = rule.low[:-1]
    if rule.kind == "none" or not early:
        return "no sample is decided before the last upgrade"
    if rule.kind == "interval":
        return f"decided below {early[0]:g} and above {rule.high[0]:g}"
    shown = ", ".join("never" if math.isinf(t) else f"{t:.3g}" for t in early)
    return f"decided once the margin exceeds {shown}"
