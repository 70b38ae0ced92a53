"""What an update would minimise: the objectives of a loss's phases, nothing being moved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from core.api import dense_shape

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.api import AnalysisBatch, Batch, Phase


class Trained(NamedTuple):
    """A phase that trains networks of the agent."""

    phase: Phase
    networks: dict[str, nn.Module]
    """Those that it trains, by role; what else it may train is left out."""
    batch: Batch
    """As the phase finds it, with what earlier phases have written."""
    objective: Tensor
    """A scalar; of a phase with eligibility traces the mean of its rows'."""


def networks_of(phase: Phase, networks: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Those of ``networks``, by role, that the phase trains."""
    trained = {id(module) for module in phase.modules}
    return {role: network for role, network in networks.items() if id(network) in trained}


def objectives(
    phases: Sequence[Phase], networks: Mapping[str, nn.Module], examined: AnalysisBatch
) -> Iterator[Trained]:
    """Each phase's objective in the order of an update, all at the present weights.

    The examined batch is not written to. Where there is an encoder, ``features`` is taken
    from it anew, so that an objective that trains it has its graph. Phases without modules are
    left out: they move weights themselves. Those that train no network are run, since later
    ones may read what they write, and are not answered.
    """
    batch = dict(examined.batch)
    if "encoder" in networks:
        batch["features"] = networks["encoder"](*examined.inputs["encoder"])
    for phase in phases:
        if not phase.modules:
            continue
        found = dict(batch)
        objective, _ = phase.run(batch)
        trained = networks_of(phase, networks)
        if objective is not None and trained:
            yield Trained(phase, trained, found, objective.mean())


def labelled(by_role: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors by ``role.parameter``, such as ``critic.members.0.trunk.input.weight``."""
    return {
        f"{role}.{name}": tensor
        for role, tensors in by_role.items()
        for name, tensor in tensors.items()
    }


def living(networks: Mapping[str, nn.Module], masks: Mapping[str, Any]) -> dict[str, Tensor]:
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
