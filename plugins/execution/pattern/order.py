"""Values between the orders in which a matrix's kept entries may lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from plugins.execution.pattern.index import Indexed


def scattered(values: Tensor, places: Tensor, size: int) -> Tensor:
    """``[..., n]`` to ``[..., size]``: value i goes to ``places[i]``, the rest is zero."""
    zeros = values.new_zeros(*values.shape[:-1], size)
    return zeros.index_copy(-1, places.to(values.device), values)


def gathered(values: Tensor, places: Tensor) -> Tensor:
    """``[..., size]`` to ``[..., n]``: value i comes from ``places[i]``."""
    return values.index_select(-1, places.to(values.device))


def carrying(old: Indexed, new: Indexed) -> Callable[[Tensor], Tensor]:
    """What brings values of ``old`` into the order of ``new``, zero where ``old`` keeps none."""
    if not old.nnz:
        return lambda values: values.new_zeros(*values.shape[:-1], new.nnz)
    order = inverse(old.ranks())
    known = _small(old.positions(), old.shape)[order]  # rises
    ranks = new.ranks()
    wanted = _small(new.positions(), new.shape)[inverse(ranks)]  # rises: found much faster
    found = torch.searchsorted(known, wanted).clamp_(max=old.nnz - 1)
    here, source = (known[found] == wanted)[ranks], order[found][ranks]

    def carry(values: Tensor) -> Tensor:
        found = gathered(values, source)
        return torch.where(here.to(values.device), found, found.new_zeros(()))

    return carry


def inverse(ranks: Tensor) -> Tensor:
    """``[n]``: at place ``ranks[i]`` stands ``i``; ``ranks`` are all of 0 to n - 1."""
    numbers = torch.arange(len(ranks), dtype=torch.int32)
    return torch.empty_like(numbers).index_copy_(0, ranks, numbers)


def _small(places: Tensor, shape: torch.Size) -> Tensor:
    """In half the memory, if the matrix is not too large for that."""
    return places.int() if shape.numel() < 1 << 31 else places
