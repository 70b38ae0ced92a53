"""L2 norms of parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, final

import torch

from plugins.diagnostics.parameters import labelled

if TYPE_CHECKING:
    from torch import Tensor

    from core.api import AgentView, BatchOptions, DiagnosticContext, Measurements
    from plugins.diagnostics.options import ParameterNormOptions


@torch.no_grad()
def parameter_norm(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The L2 norm of each parameter, a scalar each; removed weights are zeros, so they add none.

    :func:`total` of them is the norm of the network (Ma et al. 2025, figure 7).
    """
    norms = torch._foreach_norm(list(parameters.values()))
    return dict(zip(parameters, norms, strict=True))


def total(norms: Iterable[Tensor]) -> Tensor:
    """The L2 norm of a whole, from those of its parts: the root of the sum of squares."""
    norm: Tensor = torch.linalg.vector_norm(torch.stack(list(norms)))
    return norm


def by_module(norms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Norms by role and by layer, from those by ``role.parameter``.

    A layer is a module that owns parameters, ``critic.members.0.trunk.input``. A parameter
    that a network owns itself is a layer of its own.
    """
    parts: dict[str, list[Tensor]] = {}
    for label, norm in norms.items():
        role, layer = label.partition(".")[0], label.rpartition(".")[0]
        parts.setdefault(role, []).append(norm)
        parts.setdefault(label if layer == role else layer, []).append(norm)
    return {name: total(of) for name, of in parts.items()}


@final
class ParameterNorm:
    """See :class:`plugins.diagnostics.options.ParameterNormOptions`."""

    batch: BatchOptions | None = None

    def __init__(self, options: ParameterNormOptions, context: DiagnosticContext) -> None:
        self.every = options.every

    def measure(self, view: AgentView) -> Measurements:
        """``ROLE`` and ``LAYER``."""
        networks = view.networks.items()
        parameters = labelled({role: dict(module.named_parameters()) for role, module in networks})
        return by_module(parameter_norm(parameters))
