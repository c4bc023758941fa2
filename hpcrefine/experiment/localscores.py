"""Scores of a layered network found in this process, before or after all that is timed."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcrefine.experiment.allcores import unbound
from hpcrefine.inference.evaluator import Evaluator, LocalMultiplier
from hpcrefine.inference.layered import LayeredNetwork
from hpcrefine.kernels import Kernel

Floats = NDArray[np.float32]

_AT_A_TIME = 512  # samples whose states a thread holds


class LocalScores:
    """Evaluates samples on all cores of this node, each thread some of them.

    Parameters
    ----------
    network : LayeredNetwork
        The network.
    kernel : Kernel
        What multiplies.
    """

    def __init__(self, network: LayeredNetwork, kernel: Kernel) -> None:
        self._network = network
        self._multiplier = LocalMultiplier(network, kernel)

    def layered(self, samples: NDArray[Any]) -> Floats:
        """Return the scores of all samples after each upgrade, (upgrades, samples, classes)."""

        def upgraded(evaluator: Evaluator, part: NDArray[Any]) -> Floats:
            state = evaluator.begin(part)
            return np.stack([evaluator.upgrade(state) for _ in range(self._network.upgrades)])

        return np.concatenate(self._shared_out(upgraded, samples), axis=1)

    def oneshot(self, samples: NDArray[Any]) -> Floats:
        """Return the scores by the last upgrade's weights, in one piece, (samples, classes)."""
        return np.concatenate(self._shared_out(Evaluator.oneshot, samples))

    def _shared_out(
        self, evaluate: Callable[[Evaluator, NDArray[Any]], Floats], samples: NDArray[Any]
    ) -> list[Floats]:
        own = threading.local()  # evaluators are for one thread each

        def share(start: int) -> Floats:
            if not hasattr(own, "evaluator"):
                own.evaluator = Evaluator(self._network, self._multiplier)
            return evaluate(own.evaluator, samples[start : start + _AT_A_TIME])

        with unbound() as threads, ThreadPoolExecutor(threads) as team:
            return list(team.map(share, range(0, max(1, len(samples)), _AT_A_TIME)))
