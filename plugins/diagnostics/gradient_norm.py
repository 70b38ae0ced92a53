"""L2 norms of gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, final

import torch

from core.api import objectives
from plugins.diagnostics.parameter_norm import by_module
from plugins.diagnostics.parameters import dense_masks, require_trained, trainable

if TYPE_CHECKING:
    from torch import Tensor

    from core.api import AgentView, DiagnosticContext, Measurements
    from plugins.diagnostics.options import GradientNormOptions


def gradient_norm(
    objective: Tensor, parameters: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """The L2 norm of a scalar objective's gradient by each parameter, over living weights.

    ``masks`` are boolean (True: the weight lives), by the parameters' names; a parameter
    without one is dense. ``.grad`` is left alone; the objective's graph is freed. The root of
    the sum of squares is the norm over all (Ma et al. 2025, section 4.2).
    """
    gradients = torch.autograd.grad(objective, list(parameters.values()), materialize_grads=True)
    norms = {}
    for name, gradient in zip(parameters, gradients, strict=True):
        mask = None if masks is None else masks.get(name)
        living = gradient if mask is None else gradient.masked_select(mask.to(gradient.device))
        norms[name] = torch.linalg.vector_norm(living)
    return norms


@final
class GradientNorm:
    """See :class:`plugins.diagnostics.options.GradientNormOptions`."""

    def __init__(self, options: GradientNormOptions, context: DiagnosticContext) -> None:
        require_trained("gradient_norm", context)
        self.every = options.every
        self.batch = options.batch

    def measure(self, view: AgentView) -> Measurements:
        """``PHASE/ROLE`` and ``PHASE/LAYER``."""
        masks, analysed = dense_masks(view.networks, view.masks), view.batch(self.batch)
        measured: dict[str, Tensor] = {}
        for found in objectives(view.loss.phases, view.networks, analysed):
            parameters = trainable(found.networks)
            norms = by_module(gradient_norm(found.objective.mean(), parameters, masks))
            measured |= {f"{found.phase.name}/{label}": norm for label, norm in norms.items()}
        return measured
