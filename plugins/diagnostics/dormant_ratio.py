"""Dormant ratio: the share of neurons that hardly respond to anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from plugins.diagnostics import activations

if TYPE_CHECKING:
    from core.api import AgentView, Measurements
    from plugins.diagnostics.representations import DormantRatioOptions

EPSILON = 1e-9
"""Added to a layer's mean; of both ReDo's code and that of Ma et al. 2025."""


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
    """See :class:`plugins.diagnostics.representations.DormantRatioOptions`."""

    def __init__(self, options: DormantRatioOptions, roles: Mapping[str, tuple[str, ...]]) -> None:
        """``roles`` are by the place where neurons are looked at."""
        self.every = options.every
        self.batch = options.batch
        self._tau = options.tau
        self._roles = roles

    def measure(self, probe: AgentView) -> Measurements:
        """By network and tau: ``critic/0.1``; after activation functions, ``critic/post/0.1``."""
        examined, found = probe.batch(self.batch), {}
        for form, roles in self._roles.items():
            parts, name = SELECT[form], "" if form == "pre" else f"{form}/"
            scored = activations.by_label(examined, probe.networks, roles, parts, scores)
            for label, layers in scored.items():
                for tau in self._tau:
                    found[f"{label}/{name}{tau:g}"] = _share(layers, tau)
        return found


SELECT = {"pre": activations.layers, "post": activations.units}
"""The parts whose outputs are looked at."""
