"""Built-in mask schemes for tests, and small networks' shapes to draw them for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.api import MaskContext
from plugins.masks import register_masks
from plugins.masks.densities import Shape

torch.set_num_threads(1)
COMPONENTS = {component.name: component for component in register_masks()}
SMALL: dict[str, Shape] = {
    "conv.weight": (8, 3, 3, 3),
    "conv.bias": (8,),
    "up.weight": (48, 32),
    "up.bias": (48,),
    "norm.weight": (48,),
    "down.weight": (20, 48),
    "head.weight": (4, 20),
    "head.bias": (4,),
}
KERNELS = [name for name, shape in SMALL.items() if len(shape) > 1]


def build(name: str, frames: int = 0, **options: Any) -> Any:
    component = COMPONENTS[name]
    return component.build(component.options(**options), MaskContext(frames))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weights(shapes: dict[str, Shape] = SMALL, seed: int = 0) -> dict[str, Tensor]:
    """Normal weights, of another scale in every layer."""
    draw = rng(seed)
    return {
        name: (1 + i) * torch.randn(shape, generator=draw)
        for i, (name, shape) in enumerate(shapes.items())
    }


def drawn(scheme: Any, parameters: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """All masks at once; schemes give them one by one."""
    masks = scheme.draw(parameters, rng(seed))
    masks = dict(masks)
    for name, mask in masks.items():
        assert mask.dtype == torch.bool
        assert mask.device.type == "cpu"
        assert mask.shape == parameters[name].shape
    return masks


def best(scores: Any, count: int) -> np.ndarray:
    """The oracle: sorted, the first of equals first."""
    flat = np.asarray(scores, dtype=np.float64).ravel()
    chosen = sorted(range(flat.size), key=lambda i: (-flat[i], i))[:count]
    mask = np.zeros(flat.size, bool)
    mask[chosen] = True
    return mask.reshape(np.shape(scores))


def count(size: int, density: float) -> int:
    """Weights that a kernel keeps."""
    return max(1, round(size * density))
