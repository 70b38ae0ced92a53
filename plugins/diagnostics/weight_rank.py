"""Weight rank: how many directions the weight matrices of a network use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, final

import torch
from torch import Tensor

from core.api import NetworkLayout, dense
from plugins.diagnostics import activations
from plugins.diagnostics.effective_rank import effective_rank, singular_values

if TYPE_CHECKING:
    from core.api import AgentView, BatchOptions, DiagnosticContext, Measurements
    from plugins.diagnostics.options import WeightRankOptions


@torch.no_grad()
def weight_rank(
    weight: Tensor, form: Literal["stable", "srank"] = "stable", *, delta: float = 0.01
) -> Tensor:
    """Rank of ``weight`` ``[out, in]``, or ``[out, in, ...]`` flattened to ``[out, in ...]``.

    ``stable``: the squared Frobenius norm over the squared largest singular value (Rudelson &
    Vershynin 2007). ``srank``: as :func:`effective_rank` has it. 0 for a matrix of zeros.
    """
    matrix = weight.detach().flatten(1)
    if form == "srank":
        return effective_rank(matrix, delta=delta)
    squares = singular_values(matrix).square()
    return squares.sum() / squares[0] if squares.any() else squares.new_zeros(())


@final
class WeightRank:
    """See :class:`plugins.diagnostics.options.WeightRankOptions`."""

    batch: BatchOptions | None = None

    def __init__(self, options: WeightRankOptions, context: DiagnosticContext) -> None:
        self.every = options.every
        self._options = options
        self._roles = activations.suiting(options.networks, context.networks, NetworkLayout.layers)

    def measure(self, view: AgentView) -> Measurements:
        """By layer, ``critic.members.0.trunk.input``; and their mean by network, ``critic``."""
        measured: dict[str, Any] = {}
        together: dict[str, list[Tensor]] = {}
        for role in self._roles:
            network = view.networks[role]
            layout = NetworkLayout(network)
            for path in layout.layers():
                weight = dense(network, f"{path}.weight".lstrip("."))
                rank = weight_rank(weight, self._options.form, delta=self._options.delta)
                measured[f"{role}.{path}".rstrip(".")] = rank
                together.setdefault(layout.label(role, path), []).append(rank)
        return measured | {name: torch.stack(ranks).mean() for name, ranks in together.items()}
