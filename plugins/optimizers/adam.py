"""Adam and AdamW by PyTorch's fused kernels, with less around them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, final

import torch
from torch.optim import Adam

if TYPE_CHECKING:
    from torch import nn

    from core.api import OptimizerContext, OptimizerFactory
    from plugins.optimizers.options import AdamOptions, AdamWOptions


@final
class FusedAdam(Adam):
    """``torch.optim.Adam(fused=True)``, AdamW with ``decoupled_weight_decay``; for plain steps.

    To the same bits, with the same state; but one call of the kernel from lists that are made
    here. What PyTorch does around that call (sorting parameters by device and type, asking for
    options that are not in use) costs as much as the arithmetic of two layers of 256 units.
    ``amsgrad`` and ``maximize`` are not for it.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every parameter that has a gradient."""
        moved = [[p for p in g["params"] if p.grad is not None] for g in self.param_groups]
        if closure is not None or not all(p in self.state for ps in moved for p in ps):
            return super().step(closure)  # which makes the state
        for group, parameters in zip(self.param_groups, moved, strict=True):
            if not parameters:
                continue
            states = [self.state[p] for p in parameters]
            steps = [state["step"] for state in states]
            beta1, beta2 = group["betas"]
            torch._foreach_add_(steps, 1)
            kernel = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_
            kernel(
                parameters,
                [p.grad for p in parameters],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                steps,
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )
        return None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a copy: PyTorch would take the tensors themselves, and go on to change them."""
        super().load_state_dict(copy.deepcopy(state_dict))


def adamw(options: AdamWOptions, context: OptimizerContext) -> OptimizerFactory:
    """AdamW for every phase."""
    return _factory(options, context, decoupled=True)


def adam(options: AdamOptions, context: OptimizerContext) -> OptimizerFactory:
    """Adam for every phase."""
    return _factory(options, context, decoupled=False)


def _factory(
    options: AdamWOptions | AdamOptions, context: OptimizerContext, *, decoupled: bool
) -> OptimizerFactory:
    # Capturable keeps the step count on the GPU, for CUDA graphs; elsewhere it only costs.
    how: dict[str, Any] = {"fused": True, "capturable": context.device.type == "cuda"}

    def optimizer(
        parameters: Sequence[nn.Parameter], overrides: Mapping[str, Any], phase: str
    ) -> FusedAdam:
        asked = asdict(replace(options, **overrides))
        return FusedAdam(parameters, **asked, **how, decoupled_weight_decay=decoupled)

    return optimizer
