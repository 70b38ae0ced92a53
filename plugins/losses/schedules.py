"""Quantities that move with the agent's steps."""

from __future__ import annotations


def linear(initial: float, final: float, steps: int, now: int) -> float:
    """From ``initial`` at step 0 to ``final`` at step ``steps``, constant after."""
    share = min(max(now / steps, 0.0), 1.0)
    return (1 - share) * initial + share * final
