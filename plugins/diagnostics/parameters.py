"""Parameters of an agent's networks by ``role.parameter``, and which of them live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core.api import UserError, dense_shape

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.api import DiagnosticContext


def labelled(by_role: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors by ``role.parameter``, such as ``critic.members.0.trunk.input.weight``."""
    return {
        f"{role}.{name}": tensor
        for role, tensors in by_role.items()
        for name, tensor in tensors.items()
    }


def dense_masks(networks: Mapping[str, nn.Module], masks: Mapping[str, Any]) -> dict[str, Tensor]:
    """The masks of what is stored densely, by ``role.parameter``: the rest lives all of it."""
    return labelled(
        {
            role: {
                name: of_role[name]
                for name in of_role
                if dense_shape(networks[role], name) == networks[role].get_parameter(name).shape
            }
            for role, of_role in masks.items()
        }
    )


def trainable(networks: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Parameters that ask for a gradient, by ``role.parameter``."""
    return {
        name: parameter
        for name, parameter in labelled(
            {role: dict(network.named_parameters()) for role, network in networks.items()}
        ).items()
        if parameter.requires_grad
    }


def require_trained(diagnostic: str, context: DiagnosticContext) -> None:
    """Raise :class:`UserError` for an agent whose networks no phase trains."""
    networks = {id(network) for network in context.networks.values()}
    trained = {id(module) for phase in context.loss.phases for module in phase.modules}
    if not networks & trained:
        raise UserError(
            f"diagnostic '{diagnostic}': no phase of this loss trains a network of the agent, so "
            "there is no gradient to look at. Leave the diagnostic out."
        )
