"""Layers of the streaming networks (Elsayed et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from plugins.networks.initialisers import Fill, linear

SLOPE = 0.01
"""LeakyReLU's below zero."""
NORM_EPSILON = 1e-5


def hidden(layer: nn.Module, shape: tuple[int, ...], layer_norm: bool) -> list[nn.Module]:
    """A layer, layer norm without parameters over all of its output ``shape``, LeakyReLU."""
    norm = nn.LayerNorm(shape, eps=NORM_EPSILON, elementwise_affine=False)
    return [layer, *([norm] if layer_norm else []), nn.LeakyReLU(SLOPE)]


def linear_heads(width: int, sizes: Mapping[str, int], fill: Fill) -> dict[str, nn.Module]:
    """One linear layer per head, sparse as all others."""
    return {name: linear(width, size, fill) for name, size in sizes.items()}
