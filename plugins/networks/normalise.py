"""RSNorm: observations normalised by running statistics (Lee et al. 2025, SimBa)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

EPSILON = 1e-8
"""Added to the variance before the root (SimBa code, ``agents/wrappers/normalization.py``)."""
PRIOR_COUNT = 1e-4
"""Observations that the initial mean 0 and variance 1 count for (``wrappers/utils.py`` there)."""


@final
class RunningNormaliser(nn.Module):
    """``(x - mean) / sqrt(variance + 1e-8)`` with the statistics of all that was folded in.

    The variance is the population's. Statistics are kept in float64, and in float32 as the
    forward pass needs them; all of it is buffers. Until the first ``update`` the module is
    the identity.
    """

    count: Tensor
    mean: Tensor
    squares: Tensor
    shift: Tensor
    scale: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        double = torch.float64
        self.register_buffer("count", torch.tensor(PRIOR_COUNT, dtype=double))
        self.register_buffer("mean", torch.zeros(shape, dtype=double))
        self.register_buffer("squares", torch.full(shape, PRIOR_COUNT, dtype=double))
        self.register_buffer("shift", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))

    def update(self, observation: Tensor) -> None:
        """Fold in a batch ``[N, *shape]``, by the merge of Chan, Golub and LeVeque (1979)."""
        batch = observation.detach().double()
        added = batch.shape[0]
        count, mean, squares = self.count, self.mean, self.squares
        batch_mean = batch.squeeze(0) if added == 1 else batch.mean(0)
        delta = batch_mean - mean
        count += added
        mean.addcmul_(delta, added / count)
        squares.addcmul_(delta, batch_mean - mean, value=added)
        if added > 1:
            squares += (batch - batch_mean).square_().sum(0)
        self.shift.copy_(mean)
        self.scale.copy_((squares / count).add_(EPSILON).rsqrt_())

    def forward(self, observation: Tensor) -> Tensor:
        """``[..., *shape] -> [..., *shape]``, float32, by the statistics as they are."""
        return (observation - self.shift) * self.scale
