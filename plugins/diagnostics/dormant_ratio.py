"""Dormant ratio: the share of neurons that hardly respond to anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from core.api import NetworkLayout
from plugins.diagnostics import activations

if TYPE_CHECKING:
    from core.api import AgentView, DiagnosticContext, Measurements
    from plugins.diagnostics.options import DormantRatioOptions

EPSILON = 1e-9
"""Added to a layer's mean; of both ReDo's code and that of Ma et al. 2025."""
SELECT: dict[str, activations.Select] = {
    "pre": NetworkLayout.layers,
    "post": NetworkLayout.activations,
}
"""The parts whose outputs are looked at, by place."""


@torch.no_grad()
def dormant_ratio(layers: Sequence[Tensor], tau: float) -> Tensor:
    """Share in [0, 1] of the neurons of all ``layers`` whose score is at most ``tau``.

    Neurons are pooled, so that a wide layer counts more. Each layer is ``[B, neurons, ...]``
    (see :func:`scores`). Sokar et al. 2023; Ma et al. 2025, equation 1.
    """
    return _share([scores(layer) for layer in layers], tau)


@torch.no_grad()
def scores(layer: Tensor) -> Tensor:
    """Each neuron's mean absolute activation over that of the layer: ``[neurons]``.

    For ``[B, neurons]``, or ``[B, channels, ...]``, where a neuron is a channel and the mean
    is over positions too. Zero throughout where the whole layer is zero.
    """
    strength = layer.detach().abs().transpose(0, 1).flatten(1).mean(1)
    return strength / (strength.mean() + EPSILON)


def _share(scored: Sequence[Tensor], tau: float) -> Tensor:
    return (torch.cat(list(scored)) <= tau).double().mean()


@final
class DormantRatio:
    """See :class:`plugins.diagnostics.options.DormantRatioOptions`."""

    def __init__(self, options: DormantRatioOptions, context: DiagnosticContext) -> None:
        self.every = options.every
        self.batch = options.batch
        self._tau = options.tau
        self._roles = {
            place: activations.suiting(options.networks, context.networks, SELECT[place])
            for place in options.activations
        }

    def measure(self, view: AgentView) -> Measurements:
        """By network and tau: ``critic/0.1``; after activation functions, ``critic/post/0.1``."""
        analysed, found = view.batch(self.batch), {}
        for place, roles in self._roles.items():
            select, name = SELECT[place], "" if place == "pre" else f"{place}/"
            scored = activations.by_label(analysed, view.networks, roles, select, scores)
            for label, layers in scored.items():
                for tau in self._tau:
                    found[f"{label}/{name}{tau:g}"] = _share(layers, tau)
        return found
