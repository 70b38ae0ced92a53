"""SimBa: residual feed-forward blocks with pre-layer normalisation (Lee et al. 2025).

Layout and initialisation follow the code (``scale_rl/networks/layers.py``): an orthogonal
input layer, blocks ``x + W2 relu(W1 LN(x) + b1) + b2`` of inner width 4h with He weights, a
last layer norm, and orthogonal heads. Biases start at zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from torch import Tensor, nn

from core.api import NetworkContext, in_turn
from plugins.networks.initialisers import he_truncated_, linear, orthogonal
from plugins.networks.modules import Actor, Critic, Member
from plugins.networks.normalise import RunningNormaliser
from plugins.networks.observations import flat_size
from plugins.networks.options import SimbaOptions, SimbaSize

EXPANSION = 4
"""Inner width of a block over its outer width."""
NORM_EPSILON = 1e-6
"""Flax's default, which the original has; PyTorch's is 1e-5."""


@final
class Block(nn.Module):
    """``x + W2 relu(W1 LN(x) + b1) + b2``, ``[B, width] -> [B, width]``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.expand = linear(width, EXPANSION * width, he_truncated_)
        self.activation = nn.ReLU()
        self.contract = linear(EXPANSION * width, width, he_truncated_)

    def forward(self, x: Tensor) -> Tensor:
        return x + in_turn(self.norm(x), self.expand, self.activation, self.contract)


def trunk(inputs: int, size: SimbaSize) -> nn.Sequential:
    """``[B, inputs] -> [B, width]``: input layer, blocks, last layer norm."""
    layers = nn.Sequential()
    layers.add_module("input", linear(inputs, size.width, orthogonal()))
    layers.add_module("blocks", nn.Sequential(*(Block(size.width) for _ in range(size.blocks))))
    layers.add_module("norm", nn.LayerNorm(size.width, eps=NORM_EPSILON))
    return layers


@final
class SimbaNetworks:
    """SimBa actors and critics for flat observations; implements ``Networks``."""

    def __init__(self, options: SimbaOptions, context: NetworkContext) -> None:
        self._actor = options.scaled(options.actor)
        self._critic = options.scaled(options.critic)
        self._normalise = options.normalise
        self._observation = flat_size("simba", context.spec)
        self._action = context.spec.action

    def normaliser(self) -> nn.Module | None:
        return RunningNormaliser((self._observation,)) if self._normalise else None

    def encoder(self) -> nn.Module | None:
        return None

    def actor(self, heads: Mapping[str, int]) -> nn.Module:
        size = self._actor
        body = trunk(self._observation, size)
        return Actor(body, {name: linear(size.width, n, orthogonal()) for name, n in heads.items()})

    def critic(self, members: int, outputs: int = 1, *, action: bool = True) -> nn.Module:
        inputs = self._observation + (self._action if action else 0)
        return Critic([self._member(inputs, outputs) for _ in range(members)])

    def _member(self, inputs: int, outputs: int) -> Member:
        size = self._critic
        return Member(trunk(inputs, size), linear(size.width, outputs, orthogonal()))
