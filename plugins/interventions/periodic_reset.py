"""Networks drawn anew in the middle of a run (Nikishin et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, final

import torch

from core.api import assign_dense
from plugins.interventions.networks import choose, count_living, last_layers, other_modules
from plugins.interventions.optimizer_state import forget
from plugins.interventions.options import is_due

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.api import ChangeableAgent, DiagnosticContext
    from plugins.interventions.options import PeriodicResetOptions


@final
class PeriodicReset:
    """Puts networks back to a new initialisation; implements ``core.api.Intervention``.

    Masks, replay, running statistics and schedules stay. A target network gets the very
    weights of the network that it follows. What is learned but no network, such as SAC's
    temperature, goes back to where it began.
    """

    batch = None

    def __init__(self, options: PeriodicResetOptions, context: DiagnosticContext) -> None:
        self._options = options
        others = other_modules(context)
        self._chosen = choose(options.networks, [*context.networks, *others])
        # Copied now, before a checkpoint is loaded: this is where they begin.
        self._others = {
            name: {key: value.clone() for key, value in others[name].state_dict().items()}
            for name in self._chosen
            if name in others
        }

    def due(self, last: int, frame: int) -> bool:
        return is_due(self._options, last, frame)

    def intervene(self, agent: ChangeableAgent) -> Mapping[str, float]:
        """``parameters``: living weights that were put back, those of targets left out."""
        changed: list[nn.Parameter] = []
        count = 0
        for name in self._chosen:
            if name in self._others:
                module: nn.Module = getattr(agent.loss, name)
                load_entries(module, self._others[name])
                changed += module.parameters()
                count += sum(parameter.numel() for parameter in module.parameters())
            else:
                names = self._reset(agent, name)
                network = agent.networks[name]
                changed += [p for key, p in network.named_parameters() if key in names]
                count += count_living(network, agent.masks.get(name, {}), names)
        if self._options.optimizer:
            forget(agent, changed)
        agent.reapply()
        return {"parameters": float(count)}

    def _reset(self, agent: ChangeableAgent, role: str) -> set[str]:
        """Put a network, or its last layers, back; the names of what was."""
        fresh = agent.fresh(role)
        last = self._options.last
        names = set(fresh.state_dict()) if last is None else last_layers(fresh, last)
        entries = {name: value for name, value in fresh.state_dict().items() if name in names}
        load_entries(agent.networks[role], entries)
        if role in agent.loss.targets:
            load_entries(agent.loss.targets[role], entries)
        return names


@torch.no_grad()
def load_entries(module: nn.Module, entries: Mapping[str, Tensor]) -> None:
    """Copy dense parameters and buffers into ``module``, in place."""
    buffers = dict(module.named_buffers())
    for name, value in entries.items():
        if name in buffers:
            buffers[name].copy_(value)
        else:
            assign_dense(module, name, value)
