"""When a sample's decision is clear: rules of adaptive resolution, fixed or calibrated.

Workers import this: SciPy comes in only where thresholds are calibrated.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from hpcrefine.errors import InputError
from hpcrefine.inference.network import decisions, probabilities

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rule:
    """Which samples leave after which upgrade; after the last one, all do.

    Attributes
    ----------
    kind : {"margin", "interval", "none"}
        ``"margin"``: a sample is decided if its margin (:func:`margins`) exceeds ``low``;
        ``"interval"``, of single scores: if their sigmoid is below ``low`` or above ``high``;
        ``"none"``: not before the last upgrade.
    low : tuple of float
        Threshold of each upgrade; infinite where nothing is decided.
    high : tuple of float
        Upper end of the gray zone of each upgrade; empty for the other kinds.
    """

    kind: Literal["margin", "interval", "none"]
    low: tuple[float, ...]
    high: tuple[float, ...] = ()

    @property
    def upgrades(self) -> int:
        """Number of upgrades, the last one included."""
        return len(self.low)

    def check(self, classes: int) -> None:
        """Raise unless it is a rule for networks with so many scores.

        Raises
        ------
        InputError
            If it is an interval and there are several scores.
        """
        if self.kind == "interval" and classes != 1:
            raise InputError(
                f"rule interval: found a network of {classes} scores, expected one of a single "
                "score; take margin or calibrated"
            )

    def decided(self, scores: NDArray[np.float32], upgrade: int) -> NDArray[np.bool_]:
        """Return which samples are decided by an upgrade, shape (samples,).

        Parameters
        ----------
        scores : ndarray of float32, shape (samples, classes)
            After this upgrade, without a final sigmoid or softmax.
        upgrade : int
            From 0.
        """
        if upgrade >= self.upgrades - 1:
            return np.ones(len(scores), bool)
        if self.kind == "none":
            return np.zeros(len(scores), bool)
        if self.kind == "interval":
            self.check(scores.shape[1])
            found = probabilities(scores)[:, 0]
            return (found < self.low[upgrade]) | (found > self.high[upgrade])
        return margins(scores) > self.low[upgrade]

    def to_text(self) -> str:
        """Write it as JSON (infinity as Python does)."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what :meth:`to_text` wrote."""
        found = json.loads(text)
        return cls(found["kind"], tuple(found["low"]), tuple(found["high"]))


def margins(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Return how clear decisions are, shape (samples,): the top two scores' difference.

    Parameters
    ----------
    scores : ndarray, shape (samples, classes)
        Logits. The margin of a single one is its absolute value.
    """
    scores = scores.astype(np.float64)
    if scores.shape[1] == 1:
        return np.asarray(np.abs(scores[:, 0]))
    top = np.partition(scores, -2, axis=1)
    return np.asarray(top[:, -1] - top[:, -2])


def undecided(upgrades: int) -> Rule:
    """Return the rule by which all samples get all upgrades."""
    return Rule("none", (math.inf,) * upgrades)


def fixed_margin(margin: float, upgrades: int) -> Rule:
    """Return the rule of one margin for all upgrades.

    Parameters
    ----------
    margin : float
        Samples whose margin exceeds it are decided.
    upgrades : int
        How many there are.

    Raises
    ------
    InputError
        If the margin is negative or no number.
    """
    if not margin >= 0:
        raise InputError(f"margin: found {margin}, expected a number >= 0")
    return Rule("margin", (margin,) * upgrades)


def gray_interval(low: float, high: float, upgrades: int) -> Rule:
    """Return the rule of one gray zone for all upgrades, of networks with a single score.

    Parameters
    ----------
    low, high : float
        Samples whose sigmoid lies in this interval, ends included, are undecided.
    upgrades : int
        How many there are.

    Raises
    ------
    InputError
        If this is no interval within 0..1.
    """
    if not 0 <= low <= high <= 1:
        raise InputError(f"interval: found [{low}, {high}], expected 0 <= low <= high <= 1")
    return Rule("interval", (low,) * upgrades, (high,) * upgrades)


def calibrated(
    scores: Sequence[NDArray[Any]], epsilon: float, confidence: float = CONFIDENCE
) -> Rule:
    """Choose the smallest margins by which early decisions rarely differ from the final ones.

    The share of samples, drawn as those of the split, that leave early with another decision than
    their final one is below ``epsilon``, with a probability of ``confidence`` over splits.

    Both are divided evenly among the E early upgrades (a union bound). For each one alone, the
    share that differs *and* has a margin above t falls in t, so that the smallest t whose
    Clopper-Pearson upper bound is at most epsilon / E keeps the promise for all t at once (Bates,
    Angelopoulos, Lei, Malik and Jordan, "Distribution-Free, Risk-Controlling Prediction Sets",
    J. ACM 2021, theorem 1). Samples count there even if an earlier upgrade would have decided
    them: thresholds chosen on one split would otherwise depend on each other, and the bound not
    hold. It costs little, since hardly any sample is clear first and clearly different later.

    Parameters
    ----------
    scores : sequence of ndarray, shape (samples, classes)
        Of the calibration split, after each upgrade.
    epsilon : float
        Between 0 and 1.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    Rule
        Of kind ``"margin"``.

    Raises
    ------
    InputError
        If a number is out of range, or the split is so small that not even without a difference
        it could show this.
    """
    for name, value in (("epsilon", epsilon), ("confidence", confidence)):
        if not 0 < value < 1:
            raise InputError(f"{name}: found {value}, expected a number between 0 and 1")
    early, samples = len(scores) - 1, len(scores[-1])
    allowed = allowed_differences(samples, epsilon, confidence, early)
    if allowed < 0:
        least = smallest_split(epsilon, confidence, early)
        raise InputError(
            f"calibration split: found {samples} samples, expected at least {least} for epsilon = "
            f"{epsilon:g} with {100 * confidence:g} % confidence over {early} early upgrades"
        )
    final = decisions(scores[-1])
    differing = (margins(s)[decisions(s) != final] for s in scores[:-1])
    thresholds = (_exceeded_by(found, allowed) for found in differing)
    return Rule("margin", (*thresholds, 0.0))


def smallest_split(epsilon: float, confidence: float, early: int) -> int:
    """Return the size of split from which on :func:`calibrated` can decide anything.

    Parameters
    ----------
    epsilon, confidence : float
        As there.
    early : int
        Upgrades before the last.
    """
    if early == 0:
        return 0
    return math.ceil(math.log((1 - confidence) / early) / math.log1p(-epsilon / early))


def allowed_differences(samples: int, epsilon: float, confidence: float, early: int) -> int:
    """Return how many early decisions of an upgrade may differ in a split.

    It is the largest number whose Clopper-Pearson upper bound is at most ``epsilon / early`` with
    a confidence of ``1 - (1 - confidence) / early``; -1 if there is none.

    Parameters
    ----------
    samples : int
        Size of the split.
    epsilon, confidence : float
        As of :func:`calibrated`.
    early : int
        Upgrades before the last.
    """
    from scipy.special import bdtr

    if early == 0:
        return samples
    # The bound of k out of n is at most e exactly if Bin(n, e) is at most k with so small a
    # probability.
    tails = bdtr(np.arange(samples), samples, epsilon / early)
    return int(np.count_nonzero(tails <= (1 - confidence) / early)) - 1


def _exceeded_by(values: NDArray[np.float64], count: int) -> float:
    """Return the smallest threshold >= 0 that at most so many values exceed."""
    return 0.0 if len(values) <= count else float(np.sort(values)[len(values) - 1 - count])
