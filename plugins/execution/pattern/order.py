"""Values between the orders in which a matrix's kept entries may lie."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def scattered(values: Tensor, places: Tensor, size: int) -> Tensor:
    """``[..., n]`` to ``[..., size]``: value i goes to ``places[i]``, the rest is zero."""
    zeros = values.new_zeros(*values.shape[:-1], size)
    return zeros.index_copy(-1, places.to(values.device), values)


def gathered(values: Tensor, places: Tensor) -> Tensor:
    """``[..., size]`` to ``[..., n]``: value i comes from ``places[i]``."""
    return values.index_select(-1, places.to(values.device))


def carrying(
    old: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor], size: int
) -> Callable[[Tensor], Tensor]:
    """What brings values from one order into another, zero where there was none before.

    Both are positions in the matrix, of ``size`` entries, and ranks in row-major order: ``[n]``
    each. Nothing of the size of the matrix is made.
    """
    count, ranks = len(old[0]), new[1]
    if not count:
        return lambda values: values.new_zeros(*values.shape[:-1], len(ranks))
    order = inverse(old[1])
    known = _small(old[0], size)[order]  # rises
    wanted = _small(new[0], size)[inverse(ranks)]  # rises: found much faster
    found = torch.searchsorted(known, wanted).clamp_(max=count - 1)
    here, source = (known[found] == wanted)[ranks], order[found][ranks]

    def carry(values: Tensor) -> Tensor:
        found = gathered(values, source)
        return torch.where(here.to(values.device), found, found.new_zeros(()))

    return carry


def inverse(ranks: Tensor) -> Tensor:
    """``[n]``: at place ``ranks[i]`` stands ``i``; ``ranks`` are all of 0 to n - 1."""
    numbers = torch.arange(len(ranks), dtype=torch.int32)
    return torch.empty_like(numbers).index_copy_(0, ranks, numbers)


def _small(places: Tensor, size: int) -> Tensor:
    """In half the memory, if the matrix is not too large for that."""
    return places.int() if size < 1 << 31 else places
