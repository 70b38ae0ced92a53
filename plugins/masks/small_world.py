"""Small-world kernels: each output has the inputs nearest to it, and some far ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from plugins.masks.composition import layerwise
from plugins.masks.options import StructureOptions
from plugins.masks.random_masks import exact_mask
from plugins.masks.scores import highest_of_each, uniform_random
from plugins.masks.static import Masks, StaticMasks, shapes_of

if TYPE_CHECKING:
    from core.api import MaskContext
    from plugins.masks.options import SmallWorldOptions

CHUNK = 1 << 20
"""Entries decided at a time."""


def small_world_masks(options: SmallWorldOptions, context: MaskContext) -> StaticMasks:
    """Watts-Strogatz kernels; each keeps as many weights as its density says."""

    def draw(parameters: Mapping[str, Tensor], generator: torch.Generator) -> Masks:
        shapes = shapes_of(parameters)
        plan = layerwise("small_world", options, options.distribution, StructureOptions(), shapes)

        def kernel(shape: torch.Size, count: int) -> Tensor:
            outputs, inputs = shape[0], math.prod(shape[1:])
            return small_world(outputs, inputs, count, options.rewiring, generator).view(shape)

        return ((name, kernel(shapes[name], count)) for name, (_, count) in plan.items())

    return StaticMasks(options.target, draw)


def small_world(
    outputs: int, inputs: int, count: int, rewiring: float, generator: torch.Generator
) -> Tensor:
    """A boolean mask ``[outputs, inputs]`` with exactly ``count`` True.

    Outputs have ``count // outputs`` inputs each, and as many as are needed, drawn at random,
    one more. ``rewiring`` in [0, 1] is the probability that a connection is moved.
    """
    fan_in = count // outputs + exact_mask(outputs, count % outputs, generator).long()
    mask = torch.empty(outputs, inputs, dtype=torch.bool)
    step = max(1, CHUNK // inputs)
    for start in range(0, outputs, step):
        rows = torch.arange(start, min(start + step, outputs))
        near = ring(rows, outputs, inputs, fan_in[rows])
        mask[start : start + step] = rewired(near, rewiring, generator)
    return mask


def ring(rows: Tensor, outputs: int, inputs: int, fan_in: Tensor) -> Tensor:
    """A boolean mask ``[rows, inputs]`` of the ``fan_in`` inputs nearest to each output.

    Input ``j`` lies at ``j`` on a ring of length ``inputs``, output ``i`` at
    ``i * inputs / outputs``. Of two inputs equally far the one before it is taken.
    """
    # the smallest integer at or above  i * inputs / outputs - fan_in / 2, without rounding
    first = -((fan_in * outputs - 2 * rows * inputs) // (2 * outputs))
    steps = (torch.arange(inputs) - first.unsqueeze(1)) % inputs
    return steps < fan_in.unsqueeze(1)


def rewired(mask: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Each True moved with this probability to a place of its row ``[rows, size]``.

    All that move leave first; then each row gets as many as left it, at places drawn from all
    that are free, each set of places equally likely. No place is taken twice.
    """
    if probability == 0.0:
        return mask
    leaves = mask & (uniform_random(mask.shape, generator) < probability)
    stays = mask & ~leaves
    chances = uniform_random(mask.shape, generator).masked_fill_(stays, -1.0)
    return stays | highest_of_each(chances, leaves.sum(1))
