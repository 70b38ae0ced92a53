"""Random sets of weights, drawn on the CPU without memory beyond the mask itself."""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 1 << 18
"""Positions drawn at a time (2 MB of each temporary)."""


def exact_mask(size: int, count: int, generator: torch.Generator) -> Tensor:
    """A boolean mask ``[size]`` with exactly ``count`` True, every such mask equally likely.

    Positions are drawn at random, with repetition, until ``count`` different ones were hit.
    The set of the first ``count`` different positions of an independent uniform sequence is
    a uniform subset, since renaming the positions does not change how likely a sequence is.
    A round draws as many positions as are still missing, so it never overshoots. Of a set
    and its complement the smaller is drawn: then at least half of all draws hit.
    """
    if not 0 <= count <= size:
        raise ValueError(f"count must be in [0, {size}], got {count}")
    minority = min(count, size - count)
    mask = torch.zeros(size, dtype=torch.bool)
    missing = minority
    while missing:
        for start in range(0, missing, CHUNK):
            darts = min(CHUNK, missing - start)
            # 53 random bits: torch.randint takes 32 modulo the size, which favours some
            # positions by up to size / 2^32.
            uniform = torch.rand(darts, dtype=torch.float64, generator=generator)
            mask.index_fill_(0, uniform.mul_(size).long(), True)
        missing = minority - int(mask.count_nonzero())
    return mask if minority == count else mask.logical_not_()


def bernoulli_mask(size: int, density: float, generator: torch.Generator) -> Tensor:
    """A boolean mask ``[size]``, each entry True with probability ``density`` on its own.

    The number of True is binomial, and given that number every set is equally likely.
    """
    trials = torch.tensor(float(size), dtype=torch.float64)
    probability = torch.tensor(density, dtype=torch.float64)
    count = torch.binomial(trials, probability, generator=generator)
    return exact_mask(size, int(count), generator)
