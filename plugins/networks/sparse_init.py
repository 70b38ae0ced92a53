"""Sparse initialisation (Elsayed et al. 2024): most inputs of every unit start at zero.

A unit of ``n`` inputs (a filter of ``channels * height * width``) starts from
``U(-1/sqrt(n), 1/sqrt(n))`` with exactly ``ceil(sparsity * n)`` of its inputs at zero, chosen
at random; its bias is zero and what is left is not scaled up. The zeros are free to train.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from plugins.networks.options import SparseInit

if TYPE_CHECKING:
    from plugins.networks.initialisers import Fill

TOLERANCE = 1e-9
"""Keeps the ceiling of a whole number, such as 0.7 * 30, from rounding one too high."""


def sparse_uniform(options: SparseInit) -> Fill:
    """Fills ``[units, inputs, ...]`` sparsely, over all inputs."""
    return lambda weight: fill_sparsely(weight, torch.ones_like(weight, dtype=torch.bool), options)


def initialise_inside(module: nn.Module, masks: Mapping[str, Tensor], options: SparseInit) -> None:
    """Draw anew each weight of ``module`` that has a mask, sparsely inside what lives.

    Nothing is done where the options' ``order`` is ``mask_over_init``.
    Of a unit's ``k`` living inputs ``ceil(sparsity * k)`` become zero. The range of the rest
    stays that of all its inputs, as nothing else here scales for zeros either.
    """
    if options.order == "mask_over_init":
        return
    for name, mask in masks.items():
        weight = module.get_parameter(name)
        if weight.ndim > 1:
            fill_sparsely(weight, mask.to(weight.device), options)


@torch.no_grad()
def fill_sparsely(weight: Tensor, living: Tensor, options: SparseInit) -> Tensor:
    """Fill in place; ``living``, boolean and of the same shape, may hold non-zero values."""
    if weight.is_meta:
        return weight
    living = living.flatten(1)
    units, inputs = living.shape
    counts = nonzero_inputs(living.count_nonzero(1), options)
    scores = torch.rand(units, inputs, device=weight.device).masked_fill_(~living, -1.0)
    most = int(counts.max())
    best = scores.topk(most, dim=1).indices
    within = torch.arange(most, device=weight.device) < counts.unsqueeze(1)
    chosen = torch.zeros_like(living).scatter_(1, best, within)
    bound = 1.0 / math.sqrt(inputs)
    return weight.uniform_(-bound, bound).masked_fill_(~chosen.view_as(weight), 0.0)


def nonzero_inputs(living: Tensor, options: SparseInit) -> Tensor:
    """How many of each unit's ``living`` inputs start away from zero."""
    zeros = torch.ceil(living.double() * options.sparsity - TOLERANCE).long()
    return (living - zeros).clamp(min=options.min_kept).minimum(living)
