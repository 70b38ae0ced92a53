"""The unsquashed diagonal Gaussian of streaming actor-critics (Elsayed et al. 2024).

The standard deviation is ``softplus(raw)``, with neither floor nor cap.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Array = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Real = TypeVar("Real", Array, "Tensor")

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def log_probability(mean: Tensor, std: Tensor, action: Tensor) -> Tensor:
    """``[N, A]`` each ``-> [N]``, in nats: ``sum_i [-z_i^2 / 2 - log std_i - log(2 pi) / 2]``."""
    z = (action - mean) / std
    return (-0.5 * z.square() - std.log() - HALF_LOG_2PI).sum(-1)


def entropy(log_std: Real) -> Real:
    """``[..., A] -> [...]``, in nats: ``sum_i [1/2 + log std_i + log(2 pi) / 2]``."""
    return (log_std + (0.5 + HALF_LOG_2PI)).sum(-1)  # type: ignore[no-any-return]


def softplus(raw: Array) -> Array:
    """``log(1 + exp(raw))`` without overflow."""
    return np.logaddexp(raw, 0, dtype=np.float32)


def objective_gradient(mean: Array, std: Array, action: Array, weight: float) -> Array:
    """``[A]`` each ``-> [2 A]``: gradient of ``-(log pi(action) + weight H)`` by mean and ``raw``.

    With ``z = (mean - action) / std`` it is ``z / std`` by the mean, ``(1 - weight - z^2) / std``
    by the standard deviation, and ``d std / d raw = sigmoid(raw) = 1 - exp(-std)``.
    """
    z = (mean - action) / std
    return np.concatenate((z / std, np.expm1(-std) * (z * z + (weight - 1)) / std))
