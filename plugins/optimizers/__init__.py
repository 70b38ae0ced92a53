"""Built-in optimizers: ``adamw`` and ``adam``, fused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from core.api import Component, OptimizerContext, OptimizerFactory, hookimpl, require

if TYPE_CHECKING:
    import torch
    from torch import nn


def _check(lr: float, betas: tuple[float, ...], eps: float, weight_decay: float) -> None:
    require(lr >= 0, "lr", f"must be at least 0, got {lr}")
    pair = len(betas) == 2 and all(0 <= beta < 1 for beta in betas)
    require(pair, "betas", f"must be two numbers in [0, 1), got {betas}")
    require(eps > 0, "eps", f"must be above 0, got {eps}")
    require(weight_decay >= 0, "weight_decay", f"must be at least 0, got {weight_decay}")


@dataclass(frozen=True)
class AdamWOptions:
    """Adam with decoupled weight decay. Defaults: SimBa's (tables 2 and 3 of Ma et al. 2025)."""

    lr: float = 1e-4
    """Learning rate, at least 0, constant."""
    betas: tuple[float, ...] = (0.9, 0.999)
    """Decay of the first and of the second moment, each in [0, 1)."""
    eps: float = 1e-8
    """Added to the root of the second moment, above 0."""
    weight_decay: float = 1e-2
    """Decoupled decay, at least 0, times ``lr`` per update, on every parameter."""

    def __post_init__(self) -> None:
        _check(self.lr, self.betas, self.eps, self.weight_decay)


@dataclass(frozen=True)
class AdamOptions:
    """Adam. Defaults: DrQ-v2's (its appendix B)."""

    lr: float = 1e-4
    """Learning rate, at least 0, constant."""
    betas: tuple[float, ...] = (0.9, 0.999)
    """Decay of the first and of the second moment, each in [0, 1)."""
    eps: float = 1e-8
    """Added to the root of the second moment, above 0."""
    weight_decay: float = 0.0
    """L2 penalty, at least 0, added to the gradients."""

    def __post_init__(self) -> None:
        _check(self.lr, self.betas, self.eps, self.weight_decay)


def _factory(
    make: Callable[..., torch.optim.Optimizer],
    options: AdamWOptions | AdamOptions,
    context: OptimizerContext,
) -> OptimizerFactory:
    # Capturable keeps the step count on the GPU, for CUDA graphs; elsewhere it only costs.
    on_device = {"fused": True, "capturable": context.device.type == "cuda"}

    def optimizer(
        parameters: Sequence[nn.Parameter], overrides: Mapping[str, Any]
    ) -> torch.optim.Optimizer:
        return make(parameters, **asdict(replace(options, **overrides)), **on_device)

    return optimizer


def _build_adamw(options: AdamWOptions, context: OptimizerContext) -> OptimizerFactory:
    from torch.optim import AdamW

    return _factory(AdamW, options, context)


def _build_adam(options: AdamOptions, context: OptimizerContext) -> OptimizerFactory:
    from torch.optim import Adam

    return _factory(Adam, options, context)


@hookimpl
def register_optimizers() -> Iterable[Component[Any, OptimizerContext, OptimizerFactory]]:
    """Offer the built-in optimizers."""
    return [
        Component("adamw", AdamWOptions, _build_adamw, "Adam with decoupled weight decay, fused"),
        Component("adam", AdamOptions, _build_adam, "Adam, fused"),
    ]
