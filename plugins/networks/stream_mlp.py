"""Stream-X's perceptrons (Elsayed et al. 2024); widths as in Ma et al. 2025, section 5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from torch import Tensor, nn

from core.api import NetworkContext
from plugins.networks.initialisers import linear
from plugins.networks.modules import Actor, Critic, Member
from plugins.networks.observations import flat_size
from plugins.networks.options import StreamMlpOptions
from plugins.networks.sparse_init import initialise_inside, sparse_uniform
from plugins.networks.stream_layers import hidden, linear_heads
from plugins.networks.welford import WelfordNormaliser


@final
class StreamMlpNetworks:
    """Perceptrons for flat observations; implements ``Networks`` and ``MaskAware``."""

    def __init__(self, options: StreamMlpOptions, context: NetworkContext) -> None:
        self._options = options
        self._spec = context.spec
        self._observation = flat_size("stream_mlp", context.spec, other="stream_cnn")
        self._fill = sparse_uniform(options.sparse_init)

    def normaliser(self) -> nn.Module | None:
        if not self._options.normalise:
            return None
        return WelfordNormaliser(self._spec.observation, time_input=self._spec.time_input)

    def encoder(self) -> nn.Module | None:
        return None

    def actor(self, heads: Mapping[str, int]) -> nn.Module:
        trunk = self._trunk(self._observation)
        return Actor(trunk, linear_heads(self._options.width, heads, self._fill))

    def critic(self, members: int, outputs: int = 1, *, action: bool = True) -> nn.Module:
        inputs = self._observation + (self._spec.action if action else 0)
        return Critic([self._member(inputs, outputs) for _ in range(members)])

    def masked(self, module: nn.Module, masks: Mapping[str, Tensor]) -> None:
        initialise_inside(module, masks, self._options.sparse_init)

    def _member(self, inputs: int, outputs: int) -> Member:
        return Member(self._trunk(inputs), linear(self._options.width, outputs, self._fill))

    def _trunk(self, inputs: int) -> nn.Sequential:
        width, layer_norm = self._options.width, self._options.layer_norm
        layers: list[nn.Module] = []
        for _ in range(self._options.depth):
            layers += hidden(linear(inputs, width, self._fill), (width,), layer_norm)
            inputs = width
        return nn.Sequential(*layers)
