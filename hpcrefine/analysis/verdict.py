"""What verdicts of several jobs amount to."""

from collections.abc import Iterable

_WORST_FIRST = ("wrong", "unchecked", "within rounding", "exact (sampled)", "exact")


def worst_verdict(verdicts: Iterable[str]) -> str:
    """Return the worst of some verdicts; ``"unchecked"`` where there is none."""
    there = set(verdicts)
    return next((verdict for verdict in _WORST_FIRST if verdict in there), "unchecked")
