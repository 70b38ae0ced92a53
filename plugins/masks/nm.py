"""n of every m consecutive inputs of each output live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from core.api import UserError
from plugins.masks.composition import random_or_largest
from plugins.masks.densities import check_patterns, matches
from plugins.masks.static import Masks, StaticMasks, shapes_of
from plugins.masks.structures import Groups

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from core.api import MaskContext
    from plugins.masks.options import NMOptions


def nm_masks(options: NMOptions, context: MaskContext) -> StaticMasks:
    """One pattern for every kernel, drawn at random or of the largest magnitudes."""
    groups = Groups(options.n, options.m)

    def draw(parameters: Mapping[str, Tensor], generator: torch.Generator) -> Masks:
        shapes = shapes_of(parameters)
        check_patterns("nm", options.target, options.dense, shapes)
        counts = {
            name: groups.count(shape)
            for name, shape in shapes.items()
            if len(shape) >= 2 and not matches(name, options.dense)
        }
        pruned = [name for name, count in counts.items() if count < shapes[name].numel()]
        if not pruned:
            raise UserError(f"masks 'nm' for '{options.target}': there are no weights to prune")
        return (
            (n, random_or_largest(options.score, parameters[n], groups, counts[n], generator))
            for n in pruned
        )

    return StaticMasks(options.target, draw)
