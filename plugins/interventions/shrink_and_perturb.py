"""Weights drawn towards zero and towards a new initialisation (Ash and Adams 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, final

import torch

from core.api import stored
from plugins.interventions.networks import choose, count_living
from plugins.interventions.optimizer_state import forget
from plugins.interventions.options import is_due

if TYPE_CHECKING:
    from torch import nn

    from core.api import ChangeableAgent, DiagnosticContext
    from plugins.interventions.options import ShrinkAndPerturbOptions


@torch.no_grad()
def shrink_and_perturb(network: nn.Module, fresh: nn.Module, shrink: float, perturb: float) -> None:
    """``w <- shrink w + perturb w_fresh`` for every parameter, in place.

    Ash and Adams 2020 (arXiv 1910.08475), with a new initialisation for noise. ``fresh`` is
    dense, whatever ``network`` stores.
    """
    for name, parameter in network.named_parameters():
        new = stored(network, name, fresh.get_parameter(name))
        parameter.mul_(shrink).add_(new, alpha=perturb)


@final
class ShrinkAndPerturb:
    """:func:`shrink_and_perturb` at stated frames; implements ``core.api.Intervention``.

    A target network is changed with the same draw as the network that it follows, so that
    what lies between the two shrinks along. Removed weights are zero in both summands, and
    stay so.
    """

    batch = None

    def __init__(self, options: ShrinkAndPerturbOptions, context: DiagnosticContext) -> None:
        self._options = options
        self._chosen = choose(options.networks, context.networks)

    def due(self, last: int, frame: int) -> bool:
        return is_due(self._options, last, frame)

    def intervene(self, agent: ChangeableAgent) -> Mapping[str, float]:
        """``parameters``: living weights that were changed, those of targets left out."""
        options, count = self._options, 0
        for role in self._chosen:
            network, fresh = agent.networks[role], agent.fresh(role)
            shrink_and_perturb(network, fresh, options.shrink, options.perturb)
            if role in agent.loss.targets:
                target = agent.loss.targets[role]
                shrink_and_perturb(target, fresh, options.shrink, options.perturb)
            names = {name for name, _ in network.named_parameters()}
            count += count_living(network, agent.masks.get(role, {}), names)
            if options.optimizer:
                forget(agent, list(network.parameters()))
        agent.reapply()
        return {"parameters": float(count)}
