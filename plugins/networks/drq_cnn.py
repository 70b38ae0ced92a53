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

from plugins.networks import DrqOptions, encoded_side
from plugins.networks.initialisers import convolution, linear, orthogonal
from plugins.networks.modules import Actor, Chain, Critic, Member


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

    def __init__(self, options: DrqOptions, frames: tuple[int, ...], action: int) -> None:
        self._options = options
        self._frames, height, width = frames
        self._action = action
        self._features = options.channels * encoded_side(height) * encoded_side(width)

    def normaliser(self) -> nn.Module | None:
        return None

    def encoder(self) -> nn.Module | None:
        return Encoder(self._frames, self._options.channels)

    def actor(self, heads: Mapping[str, int]) -> nn.Module:
        hidden = self._options.actor.hidden
        trunk = Chain(*self._projection(), *_hidden_layers(self._options.feature_dim, hidden))
        return Actor(trunk, {name: linear(hidden, n, orthogonal()) for name, n in heads.items()})

    def critic(self, members: int, outputs: int = 1, *, action: bool = True) -> nn.Module:
        inputs = self._options.feature_dim + (self._action if action else 0)
        projection = nn.Sequential(*self._projection())
        return Critic([self._member(inputs, outputs) for _ in range(members)], projection)

    def _member(self, inputs: int, outputs: int) -> Member:
        hidden = self._options.critic.hidden
        trunk = Chain(*_hidden_layers(inputs, hidden))
        return Member(trunk, linear(hidden, outputs, orthogonal()))

    def _projection(self) -> tuple[nn.Module, ...]:
        dim = self._options.feature_dim
        return linear(self._features, dim, orthogonal()), nn.LayerNorm(dim), nn.Tanh()


def _hidden_layers(inputs: int, hidden: int) -> tuple[nn.Module, ...]:
    first = linear(inputs, hidden, orthogonal())
    return first, nn.ReLU(), linear(hidden, hidden, orthogonal()), nn.ReLU()
