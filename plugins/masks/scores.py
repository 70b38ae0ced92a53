"""How much a weight is worth: the higher its score, the sooner it is kept.

A score is a function of a weight, of its gradient, or of a generator, and gives a float tensor
of the weight's shape.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

CHUNK = 1 << 20
"""Entries looked at together where ties are broken."""


def magnitude(weight: Tensor) -> Tensor:
    """``|w|`` (Han et al. 2015; Zhu & Gupta 2017)."""
    return weight.detach().abs()


def saliency(weight: Tensor, gradient: Tensor) -> Tensor:
    """``|w g|``: how much the loss changes, to first order, if the weight goes.

    SNIP's connection sensitivity (Lee et al. 2019, section 4) without its division by the sum
    over all weights, which changes no order.
    """
    return (weight * gradient).detach().abs_()


def gradient_magnitude(gradient: Tensor) -> Tensor:
    """``|g|``: RigL's reason to grow a weight (Evci et al. 2020, algorithm 1)."""
    return gradient.detach().abs()


def uniform_random(shape: Iterable[int], generator: torch.Generator) -> Tensor:
    """Uniform in [0, 1), float32 on the CPU, so in steps of 2^-24."""
    return torch.rand(tuple(shape), generator=generator)


def highest(scores: Tensor, count: int) -> Tensor:
    """A boolean mask of ``scores``' shape, on the CPU: True at the ``count`` highest.

    Among equal scores the first in row-major order are taken. Minus infinity is a score like
    any other. By selection, not by sorting: no index array is made, one copy of the scores is.

    Raises:
        ValueError: ``count`` is not in [0, size], or a score is not a number.
    """
    flat = _checked(scores, count)
    size = flat.size
    if count in (0, size):
        return torch.full(scores.shape, count == size, dtype=torch.bool)
    threshold = np.partition(flat, size - count)[size - count]
    mask = flat > threshold
    missing = count - int(np.count_nonzero(mask))
    for start in range(0, size, CHUNK):
        tied = np.flatnonzero(flat[start : start + CHUNK] == threshold)[:missing]
        mask[start + tied] = True
        missing -= tied.size
        if missing == 0:
            break
    return torch.from_numpy(mask).view(scores.shape)


def highest_of_each(scores: Tensor, counts: Tensor | int) -> Tensor:
    """A boolean mask, True at the highest scores along the last dimension ``[..., size]``.

    ``counts`` in [0, size] says how many: one number, or one for each line, ``[...]``. Among
    equal scores the first are taken. By sorting: lines are best few or short.
    """
    size = scores.shape[-1]
    order = torch.sort(scores, dim=-1, descending=True, stable=True).indices
    wanted = torch.as_tensor(counts).unsqueeze(-1)
    chosen = (torch.arange(size) < wanted).expand(scores.shape)
    return torch.zeros(scores.shape, dtype=torch.bool).scatter_(-1, order, chosen)


def refuse_nan(scores: Tensor, of: str = "") -> None:
    """Raise ``ValueError`` if a score is not a number; ``of`` says whose they are."""
    if bool(scores.isnan().any()):
        raise ValueError(f"scores must be numbers: some{of} are NaN")


def _checked(scores: Tensor, count: int) -> np.ndarray[tuple[int], np.dtype[np.floating]]:
    if not 0 <= count <= scores.numel():
        raise ValueError(f"count must be in [0, {scores.numel()}], got {count}")
    refuse_nan(scores)
    if scores.dtype is not torch.float64:
        scores = scores.float()  # exact; NumPy has no bfloat16
    return scores.detach().cpu().numpy().ravel()
