"""ReDo: units that have gone dormant are recycled (Sokar et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor, nn

from core.api import UserError, blank_transition, dense_shape, require, stored
from plugins.interventions.networks import choose
from plugins.interventions.optimizer_state import forget_entries
from plugins.interventions.options import is_due
from plugins.interventions.wiring import HiddenLayer, Wiring, hidden_layers

if TYPE_CHECKING:
    from core.api import BatchOptions, ChangeableAgent, DiagnosticContext
    from plugins.interventions.options import ReDoOptions

EPSILON = 1e-9
"""Added to a layer's mean activity (``weight_recyclers.py`` of the authors' code)."""


def dormant(activity: Tensor, tau: float) -> Tensor:
    """Which units of a layer are dormant, ``[units]``, boolean.

    ``activity`` ``[units]`` is each unit's mean absolute value after the activation, over a
    batch and all places of a feature map. A unit is dormant if it is at most ``tau`` times
    the mean of its layer (Sokar et al. 2023, equation 1).
    """
    return activity / (activity.mean() + EPSILON) <= tau


@final
class ReDo:
    """Recycles dormant units; implements ``core.api.Intervention``.

    A dormant unit's incoming weights and bias, and the gains and biases of norms between it
    and its activation, are taken from a new initialisation; then its outgoing weights are set
    to zero. What optimizers remember of these entries goes to zero, and their counts of steps
    stay (the authors' code, ``weight_recyclers.py``).

    Of a unit that is zero on all inputs nothing was read, so that the network's function stays
    the same, unless a norm stands between its layer and the activation: through that, a new
    unit changes the others.

    Target networks follow by themselves, but for outgoing weights of an encoder that has no
    target: there they are set to zero too.
    """

    def __init__(self, options: ReDoOptions, context: DiagnosticContext) -> None:
        self._options = options
        chosen = choose(options.networks, context.networks)
        self._wirings = _trace(context)
        self._layers = [layer for layer in hidden_layers(self._wirings) if layer.role in chosen]
        require(
            len(self._layers) > 0,
            "networks",
            f"has no hidden unit that can be recycled in: {', '.join(chosen)}",
        )

    @property
    def batch(self) -> BatchOptions:
        return self._options.batch

    def due(self, last: int, frame: int) -> bool:
        return is_due(self._options, last, frame)

    @torch.no_grad()
    def intervene(self, agent: ChangeableAgent) -> Mapping[str, float]:
        """By role: how many units were recycled, ``units/ROLE``, and which ``share/ROLE``."""
        found = self._dormant(agent)
        recycled = [(layer, units) for layer, units in found if units.any()]
        roles = dict.fromkeys(layer.role for layer, _ in recycled)
        fresh = {role: agent.fresh(role) for role in roles}
        for layer, units in recycled:
            _redraw(agent, layer, units, fresh[layer.role])
        # Last, so that it also holds for a weight between two recycled units.
        for layer, units in recycled:
            _silence(agent, layer, units)
        agent.reapply()
        return _counts(found)

    def _dormant(self, agent: ChangeableAgent) -> list[tuple[HiddenLayer, Tensor]]:
        """Every layer, with flags of its dormant units."""
        inputs = agent.batch(self._options.batch).inputs
        activity: dict[Any, Tensor] = {}
        for role in dict.fromkeys(layer.role for layer in self._layers):
            outputs = [layer.output for layer in self._layers if layer.role == role]
            activity |= self._wirings[role].activity(inputs[role], outputs)
        return [
            (layer, dormant(activity[layer.output], self._options.tau)) for layer in self._layers
        ]


def _trace(context: DiagnosticContext) -> dict[str, Wiring]:
    """Every network, traced as the loss calls it.

    Raises:
        UserError: a network's computation cannot be followed.
    """
    loss: Any = context.loss
    device = next(loss.parameters()).device
    inputs = loss.analyse(blank_transition(context.spec).to(device)).inputs
    wirings = {}
    for role, network in context.networks.items():
        try:
            wirings[role] = Wiring(network, inputs[role])
        except Exception as error:  # a network may raise anything on what stands in for numbers
            raise UserError(
                f"cannot follow what the network '{role}' computes, to find its units: {error}"
            ) from None
    return wirings


def _redraw(agent: ChangeableAgent, layer: HiddenLayer, units: Tensor, fresh: nn.Module) -> None:
    """Take what leads into the flagged ``units`` from the network ``fresh``."""
    network = agent.networks[layer.role]
    for path in (layer.path, *layer.norms):
        new = dict(fresh.get_submodule(path).named_parameters())
        for name, parameter in network.get_submodule(path).named_parameters():
            label = f"{path}.{name}"
            entries = _along(units, 0, network, label)
            drawn = stored(network, label, new[name])
            parameter.copy_(torch.where(entries, drawn, parameter))
            forget_entries(agent, parameter, entries)


def _silence(agent: ChangeableAgent, layer: HiddenLayer, units: Tensor) -> None:
    """Set the outgoing weights of the flagged ``units`` to zero."""
    targets = agent.loss.targets
    for reader in layer.readers:
        network, label = agent.networks[reader.role], f"{reader.path}.weight"
        weight = network.get_parameter(label)
        flags = reader.inputs(units, dense_shape(network, label)[1])
        entries = _along(flags, 1, network, label)
        weight.masked_fill_(entries, 0.0)
        forget_entries(agent, weight, entries)
        if reader.role != layer.role and reader.role in targets and layer.role not in targets:
            targets[reader.role].get_parameter(label).masked_fill_(entries, 0.0)


def _along(flags: Tensor, axis: int, network: nn.Module, name: str) -> Tensor:
    """``flags`` along one axis of a parameter as it is dense, for the entries that are stored."""
    dense = dense_shape(network, name)
    shape = [-1 if dim == axis else 1 for dim in range(len(dense))]
    return stored(network, name, flags.view(shape).expand(dense))


def _counts(found: list[tuple[HiddenLayer, Tensor]]) -> dict[str, float]:
    counts: dict[str, float] = {}
    for role in dict.fromkeys(layer.role for layer, _ in found):
        flags = torch.cat([units for layer, units in found if layer.role == role])
        counts[f"units/{role}"] = float(flags.sum())
        counts[f"share/{role}"] = float(flags.float().mean())
    return counts
