"""A plain multi-layer perceptron: the baseline that other designs are measured against.

Hidden weights are orthogonal with gain sqrt(2), heads orthogonal with gain 1, biases zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import final

from torch import nn

from core.api import NetworkContext
from plugins.networks.initialisers import linear, orthogonal
from plugins.networks.modules import Actor, Critic, Layers, Member
from plugins.networks.normalise import RunningNormaliser
from plugins.networks.observations import flat_size
from plugins.networks.options import MlpOptions

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
}


@final
class MlpNetworks:
    """Perceptron actors and critics for flat observations; implements ``Networks``."""

    def __init__(self, options: MlpOptions, context: NetworkContext) -> None:
        self._options = options
        self._observation = flat_size("mlp", context.spec)
        self._action = context.spec.action

    def normaliser(self) -> nn.Module | None:
        return RunningNormaliser((self._observation,)) if self._options.normalise else None

    def encoder(self) -> nn.Module | None:
        return None

    def actor(self, heads: Mapping[str, int]) -> nn.Module:
        hidden = self._options.actor.hidden
        trunk = self._trunk(self._observation, hidden)
        return Actor(
            trunk, {name: linear(hidden[-1], n, orthogonal()) for name, n in heads.items()}
        )

    def critic(self, members: int, outputs: int = 1, *, action: bool = True) -> nn.Module:
        inputs = self._observation + (self._action if action else 0)
        return Critic([self._member(inputs, outputs) for _ in range(members)])

    def _member(self, inputs: int, outputs: int) -> Member:
        hidden = self._options.critic.hidden
        return Member(self._trunk(inputs, hidden), linear(hidden[-1], outputs, orthogonal()))

    def _trunk(self, inputs: int, hidden: tuple[int, ...]) -> Layers:
        layers: list[nn.Module] = []
        for before, after in pairwise((inputs, *hidden)):
            layers.append(linear(before, after, orthogonal(math.sqrt(2.0))))
            if self._options.layer_norm:
                layers.append(nn.LayerNorm(after))
            layers.append(ACTIVATIONS[self._options.activation]())
        return Layers(*layers)
