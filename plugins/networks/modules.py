"""The shape that every actor and critic here shares.

A network is a ``trunk``, whose output is the feature, and linear layers that read the
feature: an actor's ``heads`` (by name), and the ``head`` of each of a critic's ``members``.
Diagnostics and mask patterns can rely on these names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from core.api import in_turn


@final
class Layers(nn.Sequential):
    """Layers in turn, as ``nn.Sequential``; a backend may run several of them at once."""

    def forward(self, x: Tensor) -> Tensor:
        return in_turn(x, *self)


@final
class Actor(nn.Module):
    """``[B, features] -> tuple of [B, size]``, one per head, in the order given."""

    def __init__(self, trunk: nn.Module, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.trunk = trunk
        self.heads = nn.ModuleDict(heads)

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        feature = self.trunk(features)
        return tuple([head(feature) for head in self.heads.values()])


@final
class Member(nn.Module):
    """One critic of an ensemble: ``[B, inputs] -> [B, outputs]``."""

    def __init__(self, trunk: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.trunk(inputs))  # type: ignore[no-any-return]


@final
class Critic(nn.Module):
    """``([B, features], [B, A]) -> [M, B, outputs]``; each member has weights of its own.

    A ``projection``, where there is one, maps the features before the action joins them and
    is shared by the members.
    """

    def __init__(self, members: list[Member], projection: nn.Module | None = None) -> None:
        super().__init__()
        self.projection = projection
        self.members = nn.ModuleList(members)

    def forward(self, features: Tensor, action: Tensor | None = None) -> Tensor:
        if self.projection is not None:
            features = self.projection(features)
        inputs = features if action is None else torch.cat((features, action), -1)
        outputs = [member(inputs) for member in self.members]
        return outputs[0].unsqueeze(0) if len(outputs) == 1 else torch.stack(outputs)
