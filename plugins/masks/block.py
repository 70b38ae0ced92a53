"""Whole square blocks of weights live or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from plugins.masks.composition import layerwise, random_or_largest
from plugins.masks.options import StructureOptions
from plugins.masks.static import Masks, StaticMasks, shapes_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from core.api import MaskContext
    from plugins.masks.options import BlockOptions


def block_masks(options: BlockOptions, context: MaskContext) -> StaticMasks:
    """Blocks drawn at random, or those of largest mean magnitude."""
    structure = StructureOptions("blocks", side=options.side, rest=options.rest)

    def draw(parameters: Mapping[str, Tensor], generator: torch.Generator) -> Masks:
        plan = layerwise("block", options, options.distribution, structure, shapes_of(parameters))
        return (
            (name, random_or_largest(options.score, parameters[name], *planned, generator))
            for name, planned in plan.items()
        )

    return StaticMasks(options.target, draw)
