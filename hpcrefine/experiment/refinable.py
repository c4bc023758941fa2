"""Networks made ready to be refined as a job's settings say: quantised, calibrated, known."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError
from hpcrefine.experiment.localscores import LocalScores
from hpcrefine.experiment.upgraderows import Step
from hpcrefine.experiment.verify import compared_rows
from hpcrefine.inference import rules
from hpcrefine.inference.layered import LayeredNetwork
from hpcrefine.inference.network import Network, decisions
from hpcrefine.inference.quantise import quantise
from hpcrefine.inputs.samples import Samples
from hpcrefine.job import AdaptiveSection, InferenceJob, PrecisionSection, Setting
from hpcrefine.kernels import Kernel, Peaks, choose_kernel

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Known:
    """What scores must be, bit for bit, whoever computes them.

    Attributes
    ----------
    final : ndarray of float32, shape (samples, classes)
        After all upgrades, of the network evaluated in one shot.
    rows : ndarray of int64
        Samples whose early scores are known too.
    early : ndarray of float32, shape (upgrades - 1, len(rows), classes)
        Those.
    """

    final: Floats
    rows: NDArray[np.int64]
    early: Floats

    def verdict(self, rule: rules.Rule, steps: Sequence[Step]) -> str:
        """Compare the upgrades of a job, and who is decided by them."""
        if not (steps and len(self.rows)):
            return "unchecked"
        expected = np.empty((len(self.rows), self.final.shape[1]), np.float32)
        undecided = np.ones(len(self.rows), bool)
        for step in steps:
            scores = [*self.early, self.final[self.rows]][step.upgrade]
            expected[undecided] = scores[undecided]
            undecided &= ~rule.decided(expected, step.upgrade)
            same = np.array_equal(step.scores[self.rows], expected)
            if not same or np.any(step.decided[self.rows] == undecided):
                return "wrong"
        if len(steps) == rule.upgrades:
            entered = ~steps[-2].decided if len(steps) > 1 else slice(None)
            if not np.array_equal(steps[-1].scores[entered], self.final[entered]):
                return "wrong"
        return "exact" if len(self.rows) == len(self.final) else "exact (sampled)"


@dataclass(frozen=True)
class Refinable:
    """A network in digits, when a sample is decided, and what the scores must be."""

    network: LayeredNetwork
    rule: rules.Rule
    known: Known


class _Cut(NamedTuple):
    """A network in digits, what evaluates it here, and what has been found so."""

    network: LayeredNetwork
    local: LocalScores
    known: Known


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
        self._learned: dict[PrecisionSection, Floats] = {}

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
        return Refinable(cut.network, rule, cut.known)

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
            local = LocalScores(network, self._kernel(network))
            self._made[precision] = _Cut(network, local, self._known(network, local))
            taken = time.perf_counter() - start
            self._tell(f"{_described(precision)}: quantised and evaluated here in {taken:.1f} s")
        return self._made[precision]

    def _known(self, network: LayeredNetwork, local: LocalScores) -> Known:
        images, verify = self._samples.images, self._job.verify
        each = sum(map(network.operations, range(network.upgrades)))
        rows = compared_rows(len(images), each, verify.exact, verify.limit)
        return Known(local.oneshot(images), rows, local.layered(images[rows])[:-1])

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
        return rules.calibrated([*self._held_out(precision, cut)], asked.epsilon, asked.confidence)

    def _held_out(self, precision: PrecisionSection, cut: _Cut) -> Floats:
        """Return the calibration split's scores after each upgrade."""
        if precision not in self._learned:
            images, labels = self._calibration.images, self._calibration.labels
            self._learned[precision] = found = cut.local.layered(images)
            if labels is not None:
                right = ", ".join(f"{100 * np.mean(decisions(s) == labels):.2f}" for s in found)
                self._tell(f"{_described(precision)}: {right} % of the calibration split are right")
        return self._learned[precision]


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
