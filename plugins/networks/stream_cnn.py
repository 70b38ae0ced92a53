"""Stream-X's convolutional networks (Elsayed et al. 2024), by default those for Atari.

Nothing is shared by actor and critic: each owns convolutions, and the members of a critic
share its convolutions alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from torch import Tensor, nn

from core.api import NetworkContext
from plugins.networks.initialisers import convolution, linear
from plugins.networks.modules import Actor, Critic, Member
from plugins.networks.observations import frame_shape
from plugins.networks.options import StreamCnnOptions
from plugins.networks.sparse_init import initialise_inside, sparse_uniform
from plugins.networks.stream_layers import hidden, linear_heads
from plugins.networks.welford import WelfordNormaliser


@final
class UnitRange(nn.Module):
    """Frames in [0, 255], uint8 or float, to floats in [0, 1]."""

    def forward(self, frames: Tensor) -> Tensor:
        return frames / 255.0


@final
class StreamCnnNetworks:
    """Networks for frames ``(C, H, W)``; implements ``Networks`` and ``MaskAware``."""

    def __init__(self, options: StreamCnnOptions, context: NetworkContext) -> None:
        self._options = options
        self._spec = context.spec
        self._frames = frame_shape("stream_cnn", context.spec, options.smallest, "stream_mlp")
        self._fill = sparse_uniform(options.sparse_init)

    def normaliser(self) -> nn.Module | None:
        return WelfordNormaliser(self._spec.observation) if self._options.normalise else None

    def encoder(self) -> nn.Module | None:
        return None

    def actor(self, heads: Mapping[str, int]) -> nn.Module:
        layers, features = self._convolutions()
        trunk = nn.Sequential(*layers, *self._last(features))
        return Actor(trunk, linear_heads(self._options.width, heads, self._fill))

    def critic(self, members: int, outputs: int = 1, *, action: bool = True) -> nn.Module:
        layers, features = self._convolutions()
        inputs = features + (self._spec.action if action else 0)
        return Critic(
            [self._member(inputs, outputs) for _ in range(members)], nn.Sequential(*layers)
        )

    def masked(self, module: nn.Module, masks: Mapping[str, Tensor]) -> None:
        initialise_inside(module, masks, self._options.sparse_init)

    def _member(self, inputs: int, outputs: int) -> Member:
        trunk = nn.Sequential(*self._last(inputs))
        return Member(trunk, linear(self._options.width, outputs, self._fill))

    def _last(self, inputs: int) -> list[nn.Module]:
        width = self._options.width
        return hidden(linear(inputs, width, self._fill), (width,), self._options.layer_norm)

    def _convolutions(self) -> tuple[list[nn.Module], int]:
        """The convolutions, flattened at the end, and how many features they give."""
        o = self._options
        channels, *sides = self._frames
        layers: list[nn.Module] = [] if o.normalise else [UnitRange()]
        for filters, kernel, stride in zip(o.filters, o.kernels, o.strides, strict=True):
            layer = convolution(channels, filters, kernel, stride, self._fill)
            channels, sides = filters, [(side - kernel) // stride + 1 for side in sides]
            layers += hidden(layer, (channels, *sides), o.layer_norm)
        return [*layers, nn.Flatten()], channels * sides[0] * sides[1]
