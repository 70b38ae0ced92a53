"""Networks: encoder, actor and critic of one design. Hook: ``register_networks``.

An example is ``plugins/networks/simba.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, final, runtime_checkable

from core.api.layers import Compact

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


if TYPE_CHECKING:
    Modules = dict[str, nn.Module]


HEADS = {"head", "heads"}


@cache
def rectifier_types() -> tuple[type[Any], ...]:
    """Activations that let through what is above zero, and little or nothing of the rest."""
    from torch import nn

    piecewise = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.Hardswish)
    return (*piecewise, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish)


@cache
def activation_types() -> tuple[type[Any], ...]:
    """Activation functions as modules; those without an off side too."""
    from torch import nn

    saturating = (nn.Tanh, nn.Sigmoid, nn.Hardtanh, nn.Hardsigmoid, nn.Softplus, nn.Softsign)
    return (*rectifier_types(), *saturating)


@final
@dataclass(frozen=True)
class NetworkLayout:
    """The parts of one network, by their paths in it."""

    network: nn.Module

    def trunks(self) -> Modules:
        """Submodules called ``trunk``: what they give is the feature that the heads read."""
        found = {p: m for p, m in self.network.named_modules() if p.split(".")[-1] == "trunk"}
        # A trunk within a trunk is a part of it.
        return {path: m for path, m in found.items() if path.split(".").count("trunk") == 1}

    def layers(self) -> Modules:
        """Linear and convolution layers, those of heads excluded; they give pre-activations."""
        from torch import nn

        return self._below_heads((nn.Linear, Compact, nn.Conv1d, nn.Conv2d, nn.Conv3d))

    def activations(self) -> Modules:
        """Activation functions that are modules, those of heads excluded."""
        return self._below_heads(activation_types())

    def rectifiers(self) -> Modules:
        """:meth:`activations` that have an off side."""
        return self._below_heads(rectifier_types())

    def _below_heads(self, types: tuple[type[Any], ...]) -> Modules:
        return {
            path: module
            for path, module in self.network.named_modules()
            if isinstance(module, types) and HEADS.isdisjoint(path.split("."))
        }

    def label(self, role: str, path: str) -> str:
        """``critic.1`` for what belongs to one of several members, the role for all else."""
        first, *rest = path.split(".")
        several = len(getattr(self.network, "members", ())) > 1
        return f"{role}.{rest[0]}" if first == "members" and rest and several else role

    def chains(self) -> list[list[list[str]]]:
        """Paths of what owns parameters, from input to output: a chain for each member.

        Every link is a list, of all heads or else of one path. A network that has neither heads
        nor members is one chain in the order of its modules.
        """
        children = dict(self.network.named_children())
        if {"trunk", "heads"} <= children.keys():
            return [[*self._links("trunk"), [head for (head,) in self._links("heads")]]]
        if "members" in children:
            shared = self._links("projection") if "projection" in children else []
            members = [index for index, _ in children["members"].named_children()]
            return [[*shared, *self._links(f"members.{index}")] for index in members]
        return [self._links("")]

    def _links(self, path: str) -> list[list[str]]:
        return [
            [".".join(filter(None, (path, name)))]
            for name, module in self.network.get_submodule(path).named_modules()
            if any(True for _ in module.parameters(recurse=False))
        ]
