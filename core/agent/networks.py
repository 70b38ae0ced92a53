"""Hands a loss its networks: built, on the device, masked, in the backend's form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from core.agent.masks import PackedMasks, zero_removed
from core.api.errors import UserError, accusing
from core.api.networks import MaskAware

if TYPE_CHECKING:
    import torch
    from torch import nn

    from core.agent.masks import MaskSet
    from core.api.execution import Execution
    from core.api.masks import MaskScheme
    from core.api.networks import Networks

ROLES = ("encoder", "actor", "critic")


class MaskedNetworks:
    """Builds each network once, in the order in which the loss asks.

    A target network is the loss's own copy, taken of an already masked network, so that it
    shares the mask.
    """

    def __init__(
        self,
        networks: Networks,
        masks: MaskSet,
        schemes: Sequence[MaskScheme],
        execution: Execution,
        device: torch.device,
    ) -> None:
        self._networks = networks
        self._masks = masks
        self._schemes = _by_role(schemes)
        self._execution = execution
        self._device = device
        self.modules: dict[str, nn.Module] = {}
        """The agent's networks by role, as the loss received them."""
        self._make: dict[str, Callable[[], nn.Module]] = {}
        self.initial: dict[str, dict[str, torch.Size]] = {}
        """Shape of every parameter as it was built, before a backend changed its storage."""

    def normaliser(self) -> Any:
        normaliser = self._networks.normaliser()
        return None if normaliser is None else normaliser.to(self._device)

    def encoder(self) -> nn.Module | None:
        encoder = self._networks.encoder()
        if encoder is None:
            return None
        return self._attach("encoder", encoder, self._networks.encoder)

    def actor(self, heads: Mapping[str, int]) -> nn.Module:
        make = partial(self._networks.actor, heads)
        return self._attach("actor", make(), make)

    def critic(self, members: int, outputs: int = 1, *, action: bool = True) -> nn.Module:
        make = partial(self._networks.critic, members, outputs, action=action)
        return self._attach("critic", make(), make)

    def fresh(self, role: str) -> nn.Module:
        """A new network of this role, initialised anew, with the masks that are in force.

        In the form in which networks are made, before any backend changes their storage.
        """
        module, masks = self._make[role](), self._masks.masks.get(role, PackedMasks())
        if isinstance(self._networks, MaskAware):
            self._networks.masked(module, masks)
        zero_removed(module, masks)
        return module.to(self._device)

    def _attach(self, role: str, module: nn.Module, make: Callable[[], Any]) -> nn.Module:
        self._make[role] = make
        masks = PackedMasks()
        if role in self._schemes:
            with accusing(self._schemes[role], f"while '{role}' got its masks"):
                masks = self._masks.draw(role, module, self._schemes[role])
        if isinstance(self._networks, MaskAware):
            self._networks.masked(module, masks)
        self.initial[role] = {name: p.shape for name, p in module.named_parameters()}
        self.modules[role] = self._execution.attach(module.to(self._device), masks, role)
        return self.modules[role]

    @property
    def schemes(self) -> dict[str, MaskScheme]:
        """The scheme of each network that was built, by role."""
        return {role: self._schemes[role] for role in self.modules if role in self._schemes}

    def check_targets(self) -> None:
        """Raise :class:`UserError` for a mask whose network the loss never asked for."""
        for scheme in self._schemes.values():
            if scheme.target != "all" and scheme.target not in self.modules:
                raise UserError(
                    f"masks: this agent has no network '{scheme.target}'; "
                    f"choose from: {', '.join([*self.modules, 'all'])}"
                )


def _by_role(schemes: Sequence[MaskScheme]) -> dict[str, MaskScheme]:
    found: dict[str, MaskScheme] = {}
    for scheme in schemes:
        for role in ROLES if scheme.target == "all" else (scheme.target,):
            if role in found:
                raise UserError(f"masks: two schemes are for the network '{role}'; keep one")
            found[role] = scheme
    return found
