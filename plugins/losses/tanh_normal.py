"""The tanh-squashed diagonal Gaussian: sampling and log-probability."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from plugins.losses import noise

if TYPE_CHECKING:
    from torch import Tensor


def bounded_log_std(raw: Tensor, low: float, high: float) -> Tensor:
    """Map a head's output onto ``(low, high)`` by a tanh (SimBa's ``policies.py``)."""
    return low + 0.5 * (high - low) * (1 + torch.tanh(raw))


def sample(mean: Tensor, log_std: Tensor) -> tuple[Tensor, Tensor]:
    """A reparametrised action and its log-probability.

    ``mean``, ``log_std`` ``[B, A]`` -> action ``[B, A]`` in [-1, 1] and log-probability
    ``[B, 1]`` in nats. With ``u = mean + std z`` and ``a = tanh(u)``::

        log p(a) = sum_i [ -z_i^2 / 2 - log std_i - log(2 pi) / 2 - log(1 - a_i^2) ]

    where ``log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2u))`` keeps its precision at
    large ``|u|`` (Haarnoja et al. 2018, appendix C, for the change of variables).
    """
    z = noise.standard_normal(mean)
    u = mean + log_std.exp() * z
    squash = 2 * (math.log(2) - u - F.softplus(-2 * u))
    per_dimension = -0.5 * z.square() - log_std - 0.5 * math.log(2 * math.pi) - squash
    return torch.tanh(u), per_dimension.sum(-1, keepdim=True)
