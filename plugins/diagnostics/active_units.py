"""Fraction of active units: how much of a network's rectifiers is switched on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, final

import torch
from torch import Tensor

from core.api import NetworkLayout
from plugins.diagnostics import activations

if TYPE_CHECKING:
    from core.api import AgentView, DiagnosticContext, Measurements
    from plugins.diagnostics.options import ActiveUnitsOptions

Count = Literal["samples", "units"]


@torch.no_grad()
def active_units(layers: Sequence[Tensor], count: Count = "samples") -> Tensor:
    """Share in [0, 1] of the units of all ``layers`` ``[B, units, ...]`` that are above zero.

    ``samples``: each unit on each sample, at each position of a convolution, counts as one
    (the code of Ma et al. 2024). ``units``: each unit (a convolution's channel) counts as
    one, by its mean over samples and positions; for ReLU this asks whether it is ever on.
    """
    return _share([_counted(layer, count) for layer in layers])


def _counted(layer: Tensor, count: Count) -> Tensor:
    """``[above zero, all]``."""
    if count == "units":
        layer = layer.transpose(0, 1).flatten(1).mean(1)
    above = (layer > 0).sum()
    return torch.stack((above, torch.full_like(above, layer.numel())))


def _share(counted: Sequence[Tensor]) -> Tensor:
    total = torch.stack(list(counted)).sum(0).double()
    return total[0] / total[1]


@final
class ActiveUnits:
    """See :class:`plugins.diagnostics.options.ActiveUnitsOptions`."""

    def __init__(self, options: ActiveUnitsOptions, context: DiagnosticContext) -> None:
        self.every = options.every
        self.batch = options.batch
        self._count: Count = options.count
        self._roles = activations.suiting(
            options.networks, context.networks, NetworkLayout.rectifiers
        )

    def measure(self, view: AgentView) -> Measurements:
        """By network: ``critic``, or ``critic.0`` and so on."""

        def keep(layer: Tensor) -> Tensor:
            return _counted(layer, self._count)

        select, analysed = NetworkLayout.rectifiers, view.batch(self.batch)
        found = activations.by_label(analysed, view.networks, self._roles, select, keep)
        return {label: _share(counted) for label, counted in found.items()}
