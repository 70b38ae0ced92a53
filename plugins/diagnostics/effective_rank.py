"""Effective rank: how many directions the features of a batch span."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, final

import torch
from torch import Tensor

from core.api import NetworkLayout
from plugins.diagnostics import activations

if TYPE_CHECKING:
    from core.api import AgentView, DiagnosticContext, Measurements
    from plugins.diagnostics.options import EffectiveRankOptions


@torch.no_grad()
def effective_rank(
    features: Tensor,
    form: Literal["srank", "threshold", "entropy"] = "srank",
    *,
    delta: float = 0.01,
    threshold: float = 0.01,
) -> Tensor:
    """Effective rank of ``features`` ``[B, F]``, not centred: a scalar, 0 if all are zero.

    ``srank``: the fewest singular values whose sum is ``1 - delta`` of that of all (Kumar et
    al. 2021). ``threshold``: how many exceed ``threshold`` times the largest.
    ``entropy``: the exponential of the entropy of their shares of the sum (Roy & Vetterli
    2007).
    """
    values = singular_values(features)
    if not values.any():
        return values.new_zeros(())
    if form == "threshold":
        return (values > threshold * values[0]).sum().to(values.dtype)
    shares = values / values.sum()
    if form == "entropy":
        entropy: Tensor = torch.special.entr(shares).sum()
        return entropy.exp()
    return (shares.cumsum(0) < 1 - delta).sum().to(values.dtype) + 1


@torch.no_grad()
def singular_values(matrix: Tensor) -> Tensor:
    """The singular values of ``[m, n]``, largest first: float64 ``[min(m, n)]``.

    By way of the smaller Gram matrix, several times faster than a decomposition of ``matrix``.
    Values below about 1e-6 of the largest cannot be told from zero in this way; they are zero.

    Raises:
        ValueError: an entry is not finite.
    """
    if not matrix.isfinite().all():
        raise ValueError("the singular values of a matrix that is not finite")
    wide = (matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T).double()
    squares = torch.linalg.eigvalsh(wide @ wide.T).flip(0)
    lost = len(squares) * torch.finfo(squares.dtype).eps * squares[0]
    return torch.where(squares > lost, squares, 0.0).sqrt()


@final
class EffectiveRank:
    """See :class:`plugins.diagnostics.options.EffectiveRankOptions`."""

    def __init__(self, options: EffectiveRankOptions, context: DiagnosticContext) -> None:
        self.every = options.every
        self.batch = options.batch
        self._options = options
        self._roles = activations.suiting(options.networks, context.networks, NetworkLayout.trunks)

    def measure(self, view: AgentView) -> Measurements:
        """By network: ``critic``, or ``critic.0`` and so on."""
        o = self._options
        features = activations.features(view, self.batch, self._roles)
        return {
            label: effective_rank(feature, o.form, delta=o.delta, threshold=o.threshold)
            for label, feature in features.items()
        }
