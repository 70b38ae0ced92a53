"""Weights removed at random, to densities that a rule gives each layer.

Drawn on the CPU, without memory beyond the mask itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from plugins.masks.densities import Rule, erdos_renyi, layer_densities, uniform
from plugins.masks.static import Masks, StaticMasks, shapes_of

if TYPE_CHECKING:
    from core.api import MaskContext
    from plugins.masks.options import PruningOptions, RandomMaskOptions

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


def kept(size: int, density: float) -> int:
    """Weights that an exact draw keeps: the nearest number, but at least one."""
    return max(1, round(density * size))


def random_masks(
    scheme: str,
    options: PruningOptions,
    rule: Rule,
    parameters: Mapping[str, Tensor],
    generator: torch.Generator,
    *,
    bernoulli: bool = False,
) -> Masks:
    """Of each kernel as many weights as come nearest to its density, or ``bernoulli`` ones.

    ``scheme`` is a name, for messages.

    Raises:
        UserError: the sparsity is out of reach, or a pattern of ``dense`` fits nothing.
    """
    shapes = shapes_of(parameters)
    densities = layer_densities(scheme, options, rule, shapes)

    def kernel(size: int, density: float) -> Tensor:
        if bernoulli:
            return bernoulli_mask(size, density, generator)
        return exact_mask(size, kept(size, density), generator)

    return (
        (name, kernel(shapes[name].numel(), density).view(shapes[name]))
        for name, density in densities.items()
        if density < 1.0
    )


def erdos_renyi_masks(options: RandomMaskOptions, context: MaskContext) -> StaticMasks:
    """Wide layers are sparser than narrow ones."""
    return _scheme("erdos_renyi", options, erdos_renyi)


def uniform_masks(options: RandomMaskOptions, context: MaskContext) -> StaticMasks:
    """Every kernel has one density."""
    return _scheme("uniform", options, uniform)


def _scheme(name: str, options: RandomMaskOptions, rule: Rule) -> StaticMasks:
    bernoulli = options.draw == "bernoulli"
    return StaticMasks(
        options.target, partial(random_masks, name, options, rule, bernoulli=bernoulli)
    )
