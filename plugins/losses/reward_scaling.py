"""Rewards divided by the spread of their running discounted sum (Elsayed et al. 2024)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar, final

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-8
"""Added to the variance before the root (``normalization_wrappers.py`` of streaming-drl)."""
Real = TypeVar("Real", float, "Tensor")


def merged(
    moments: tuple[Real, Real, Real], other: tuple[float, Real, Real]
) -> tuple[Real, Real, Real]:
    """Count, mean and sum of squared deviations of two samples together.

    Chan, Golub and LeVeque (1979); with one new value, Welford's recurrence.
    """
    count, mean, squares = moments
    added, other_mean, other_squares = other
    total = count + added
    delta = other_mean - mean
    return (
        total,
        mean + delta * added / total,
        squares + other_squares + delta * delta * count * added / total,
    )


@final
class RewardScaler(nn.Module):
    """The divisor of rewards: ``sqrt(Var(u) + 1e-8)``, with ``u <- gamma u + r``.

    ``u`` is one sum per environment and is emptied after an episode's end. With ``leak`` the
    end empties it before the last reward enters instead, as in the authors' code, so that
    this reward, times gamma, is still there when the next episode begins.

    The variance is the sample's (n - 1) about the mean, over all steps of all environments,
    and 1 before the second one. It is centred as in the authors' code; the second moment
    about zero, which the paper is said to write, is larger by the squared mean. No mean is
    subtracted from rewards.
    """

    state: Tensor
    """``[3 + N]``, float64: count, mean and sum of squared deviations; ``u``."""

    def __init__(self, count: int, gamma: float, leak: bool, device: torch.device) -> None:
        super().__init__()
        self.gamma = gamma
        self.leak = leak
        state = torch.zeros(3 + count, dtype=torch.float64, device=device)
        self.register_buffer("state", state)

    @torch.no_grad()
    def fold(self, reward: Tensor, ended: Tensor) -> Tensor:
        """Fold in one step of every environment, rewards and ends ``[N]``; the divisor, 0-d."""
        moments, before = torch.split(self.state, [3, ended.shape[0]])
        sums = self.gamma * (before.masked_fill(ended, 0.0) if self.leak else before) + reward
        mean = sums.mean()
        new = (sums.shape[0], mean, (sums - mean).square().sum())
        count, mean, squares = moments.unbind()
        count, mean, squares = merged((count, mean, squares), new)
        left = sums if self.leak else sums.masked_fill(ended, 0.0)
        self.state.copy_(torch.cat((torch.stack((count, mean, squares)), left)))
        return _divisor(count, squares)

    def divisor(self) -> Tensor:
        """The divisor as it stands, 0-d."""
        return _divisor(self.state[0], self.state[2])

    def fold_one(self, reward: float, ended: bool) -> float:
        """:meth:`fold` for one environment on a CPU, in plain numbers."""
        state = self.state.numpy()
        count, mean, squares, before = state.tolist()
        u = self.gamma * (0.0 if self.leak and ended else before) + reward
        count, mean, squares = merged((count, mean, squares), (1, u, 0.0))
        state[:] = count, mean, squares, (0.0 if ended and not self.leak else u)
        variance = squares / (count - 1) if count >= 2 else 1.0
        return math.sqrt(variance + EPSILON)


def _divisor(count: Tensor, squares: Tensor) -> Tensor:
    variance = torch.where(count < 2, 1.0, squares / (count - 1).clamp(min=1.0))
    return (variance + EPSILON).sqrt()
