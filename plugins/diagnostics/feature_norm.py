"""Feature norm: how long the features of a batch are."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from core.api import NetworkLayout
from plugins.diagnostics import activations

if TYPE_CHECKING:
    from core.api import AgentView, DiagnosticContext, Measurements
    from plugins.diagnostics.options import FeatureNormOptions


@torch.no_grad()
def feature_norm(features: Tensor) -> Tensor:
    """Mean over the batch of the L2 norm of ``features`` ``[B, F]``: a scalar."""
    norms: Tensor = torch.linalg.vector_norm(features, dim=-1)
    return norms.mean()


@final
class FeatureNorm:
    """See :class:`plugins.diagnostics.options.FeatureNormOptions`."""

    def __init__(self, options: FeatureNormOptions, context: DiagnosticContext) -> None:
        self.every = options.every
        self.batch = options.batch
        self._roles = activations.suiting(options.networks, context.networks, NetworkLayout.trunks)

    def measure(self, view: AgentView) -> Measurements:
        """By network: ``critic``, or ``critic.0`` and so on."""
        features = activations.features(view, self.batch, self._roles)
        return {label: feature_norm(feature) for label, feature in features.items()}
