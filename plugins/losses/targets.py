"""What critics are trained towards: TD targets, and Polyak averages of the online critic."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.api import Batch, Metrics

    TargetPhase = Callable[[Batch], tuple[None, Metrics]]


def least(values: Tensor) -> Tensor:
    """``[M, B, 1] -> [B, 1]``: the least over the ensemble (clipped double Q for M = 2).

    Ties share the gradient, as with ``jnp.minimum``.
    """
    return values.squeeze(0) if values.shape[0] == 1 else values.amin(0)


def td_target(reward: Tensor, discount: Tensor, value: Tensor) -> Tensor:
    """``R + D V``, all ``[B, 1]``; ``discount`` is 0 where a true termination cut the return."""
    return reward + discount * value


def squared_error(values: Tensor, target: Tensor) -> Tensor:
    """Sum over the members of ``[M, B, 1]`` of the mean squared error to ``[B, 1]``; no 1/2."""
    return (values - target).square().mean(dim=(1, 2)).sum()


def target_copy(online: nn.Module) -> nn.Module:
    """A copy of ``online`` that is never trained; removed weights are zeros in both."""
    return deepcopy(online).requires_grad_(False)


def averaging(target: nn.Module, online: nn.Module, tau: float) -> TargetPhase:
    """A phase's ``run``: ``target <- (1 - tau) target + tau online``, every parameter, in place."""
    # Looked up once: walking through the modules would cost as much as the arithmetic.
    targets: list[Tensor] = list(target.parameters())
    onlines: list[Tensor] = list(online.parameters())

    @torch.no_grad()
    def run(batch: Batch) -> tuple[None, Metrics]:
        torch._foreach_lerp_(targets, onlines, tau)
        return None, {}

    return run
