"""The convolutional networks of DrQ-v2 (Yarats et al. 2022; ``drqv2.py`` of the code).

The encoder is shared; actor and critic each project its features by a linear layer, a layer
norm and tanh. A critic's members share the projection and nothing else. Weights start
orthogonal, with gain sqrt(2) for convolutions and 1 for linear layers, and biases at zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from core.api import NetworkContext
from plugins.networks.initialisers import convolution, linear, orthogonal
from plugins.networks.modules import Actor, Critic, Layers, Member
from plugins.networks.observations import frame_shape
from plugins.networks.options import DrqOptions

SMALLEST_FRAME = 15
"""Side in pixels of the smallest frames that the encoder can take."""


def encoded_side(side: int) -> int:
    """Side of the encoder's output for a frame of this side."""
    return (side - 3) // 2 + 1 - 6  # one 3x3 convolution of stride 2, then three of stride 1


@final
class Encoder(nn.Module):
    """Frames ``[B, C, H, W]`` in [0, 255], uint8 or float, to features ``[B, features]``."""

    def __init__(self, frames: int, channels: int) -> None:
        super().__init__()
        fill = orthogonal(math.sqrt(2.0))
        self.layers = nn.Sequential(convolution(frames, channels, 3, 2, fill), nn.ReLU())
        for _ in range(3):
            self.layers.extend([convolution(channels, channels, 3, 1, fill), nn.ReLU()])

    def forward(self, frames: Tensor) -> Tensor:
        # div makes a new tensor, so the caller's frames are safe from the in-place shift
        return self.layers(torch.div(frames, 255.0).sub_(0.5)).flatten(1)  # type: ignore[no-any-return]


@final
class DrqNetworks:
    """DrQ-v2 encoders, actors and critics for frames ``(C, H, W)``; implements ``Networks``."""

    def __init__(self, options: DrqOptions, context: NetworkContext) -> None:
        self._options = options
        shape = frame_shape("drq_cnn", context.spec, SMALLEST_FRAME, "simba")
        self._frames, height, width = shape
        self._action = context.spec.action
        self._features = options.channels * encoded_side(height) * encoded_side(width)

    def normaliser(self) -> nn.Module | None:
        return None

    def encoder(self) -> nn.Module | None:
        return Encoder(self._frames, self._options.channels)

    def actor(self, heads: Mapping[str, int]) -> nn.Module:
        hidden = self._options.actor.hidden
        trunk = Layers(*self._projection(), *_hidden_layers(self._options.feature_dim, hidden))
        return Actor(trunk, {name: linear(hidden, n, orthogonal()) for name, n in heads.items()})

    def critic(self, members: int, outputs: int = 1, *, action: bool = True) -> nn.Module:
        inputs = self._options.feature_dim + (self._action if action else 0)
        projection = nn.Sequential(*self._projection())
        return Critic([self._member(inputs, outputs) for _ in range(members)], projection)

    def _member(self, inputs: int, outputs: int) -> Member:
        hidden = self._options.critic.hidden
        trunk = Layers(*_hidden_layers(inputs, hidden))
        return Member(trunk, linear(hidden, outputs, orthogonal()))

    def _projection(self) -> tuple[nn.Module, ...]:
        dim = self._options.feature_dim
        return linear(self._features, dim, orthogonal()), nn.LayerNorm(dim), nn.Tanh()


def _hidden_layers(inputs: int, hidden: int) -> tuple[nn.Module, ...]:
    first = linear(inputs, hidden, orthogonal())
    return first, nn.ReLU(), linear(hidden, hidden, orthogonal()), nn.ReLU()
