"""Schemes of changing masks by themselves, and what they are shown."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from core.api import MaskContext
from plugins.masks import register_masks

COMPONENTS = {component.name: component for component in register_masks()}


def scheme(name: str, frames: int = 1000, **options: Any) -> Any:
    component = COMPONENTS[name]
    return component.build(component.options(**options), MaskContext(frames))


def view(weights, masks, gradients=None, frame=0, seed=0):
    """What a scheme is shown, of tensors by name."""
    return SimpleNamespace(
        role="critic",
        frame=frame,
        masks=masks,
        shapes={name: weight.shape for name, weight in weights.items()},
        weight=lambda name: weights[name],
        gradients=lambda: gradients,
        generator=torch.Generator().manual_seed(seed),
    )
