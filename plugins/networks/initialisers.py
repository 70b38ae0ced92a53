"""How weights are first drawn: linear and convolution layers with a named initialisation.

Layers are made on the meta device and filled once: PyTorch's own default, drawn first and
thrown away, would cost as much as the draw that counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

Fill = Callable[[Tensor], object]
"""Fills a weight in place, from torch's global generator."""

TRUNCATION = 2.0
"""Where the truncated normal is cut, in standard deviations of the normal before the cut."""
TRUNCATED_STD = 0.87962566103423978
"""Standard deviation of a unit normal cut at :data:`TRUNCATION`."""
CHUNK = 1 << 20
"""Values filled at a time, which bounds the temporaries."""


def linear(inputs: int, outputs: int, fill: Fill) -> nn.Linear:
    """A linear layer ``[..., inputs] -> [..., outputs]`` with its bias at zero."""
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device=torch.get_default_device())
    _initialise(layer, fill)
    return layer


def convolution(inputs: int, outputs: int, kernel: int, stride: int, fill: Fill) -> nn.Conv2d:
    """An unpadded square convolution with its bias at zero."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride=stride, device="meta")
    layer.to_empty(device=torch.get_default_device())
    _initialise(layer, fill)
    return layer


def orthogonal(gain: float = 1.0) -> Fill:
    """Orthogonal rows or columns, whichever are fewer, scaled by ``gain``."""
    return lambda weight: nn.init.orthogonal_(weight, gain)


@torch.no_grad()
def he_truncated_(weight: Tensor) -> Tensor:
    """Fill ``[outputs, inputs, ...]`` from a truncated normal of variance ``2 / fan_in``.

    The cut is at two standard deviations of the underlying normal, which is widened so that
    the variance after the cut is the one stated (``flax.linen.initializers.he_normal``).
    """
    std = math.sqrt(2.0 / weight[0].numel()) / TRUNCATED_STD
    return truncated_normal_(weight).mul_(std)


@torch.no_grad()
def truncated_normal_(values: Tensor) -> Tensor:
    """Fill with a unit normal cut at :data:`TRUNCATION`: what lies outside is drawn again.

    About ten times faster than ``nn.init.trunc_normal_``, which inverts the distribution.
    """
    if values.is_meta:
        return values
    for chunk in torch.split(values.view(-1), CHUNK):
        chunk.normal_()
        outside = (chunk.abs() > TRUNCATION).nonzero().view(-1)
        while outside.numel():
            redrawn = torch.randn(outside.numel(), dtype=chunk.dtype, device=chunk.device)
            chunk[outside] = redrawn
            outside = outside[redrawn.abs() > TRUNCATION]
    return values


def _initialise(layer: nn.Linear | nn.Conv2d, fill: Fill) -> None:
    fill(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
