"""Networks: encoder, actor and critic of one design. Hook: ``register_networks``.

An example is ``plugins/networks/simba.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.api.environments import EnvironmentSpec


class Normaliser(Protocol):
    """Running observation statistics, shared by acting and learning."""

    def update(self, observation: Tensor) -> None:
        """Fold a batch ``[N, *observation]`` of new observations into the statistics."""

    def __call__(self, observation: Tensor) -> Tensor:
        """Normalise with the statistics as they are."""


class Networks(Protocol):
    """A network component, built: a maker of an agent's modules.

    Every call returns a fresh module with its own initialisation, drawn from torch's
    global generator, on the CPU.
    """

    def normaliser(self) -> Any:
        """A module that is a :class:`Normaliser`, or None where observations are used raw."""

    def encoder(self) -> nn.Module | None:
        """``[B, *observation] -> [B, features]``, or None: actor and critic take observations."""

    def actor(self, heads: Mapping[str, int]) -> nn.Module:
        """``[B, features] -> tuple of [B, size]``, one linear head per entry, in that order."""

    def critic(self, members: int, outputs: int = 1, *, action: bool = True) -> nn.Module:
        """``([B, features], [B, A]) -> [M, B, outputs]``; without ``action``, features only.

        The members are separately initialised and never share a head.
        """


@runtime_checkable
class MaskAware(Protocol):
    """A network component whose initialisation depends on what is removed."""

    def masked(self, module: nn.Module, masks: Mapping[str, Tensor]) -> None:
        """Told the masks of a module that it made, before they come into force."""


@dataclass(frozen=True)
class NetworkContext:
    """Input and output sizes follow from the environment."""

    spec: EnvironmentSpec
