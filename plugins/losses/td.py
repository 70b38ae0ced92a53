"""TD errors of streaming losses: the equation, what becomes of traces, what is logged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

    from core.api import Batch, Metrics

Real = TypeVar("Real", float, "Tensor")


def td_error(reward: Real, discount: Real, value: Real, next_value: Real) -> Real:
    """``delta = r + D V(s') - V(s)``; ``discount`` is 0 where there is nothing to bootstrap."""
    return reward + discount * next_value - value


def cut_trace(form: str, ended: Any, exploratory: Any) -> dict[str, Any]:
    """When the trace is emptied, for flags or tensors of flags: see ``exploratory_cut``."""
    match form:
        case "after":
            return {"reset": ended | exploratory}
        case "before":
            return {"reset": ended, "cut": exploratory}
        case _:
            return {"reset": ended}


def td_metrics(batch: Batch, value: Tensor, name: str) -> Metrics:
    """Logged at every update; ``train/td_error`` is the mean of ``|delta|``.

    It stands first, so that it is what is named if a number is not finite.
    """
    metrics = {"train/td_error": batch["td_error"].abs().mean(), name: value.mean()}
    if "reward_scale" in batch:
        metrics["train/reward_scale"] = batch["reward_scale"]
    return metrics


def overshoot(batch: Batch, after: Tensor) -> Metrics:
    """The share of environments whose TD error changed its sign by the update."""
    flipped = batch["td_error"] * after < 0
    return {"train/overshoot": flipped.float().mean()}
