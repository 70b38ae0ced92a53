"""Gradual magnitude pruning: dense at first, sparser step by step (Zhu & Gupta 2017)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, final

import torch

from plugins.masks.densities import RULES, layer_densities
from plugins.masks.random_masks import kept
from plugins.masks.rewiring import highest_among
from plugins.masks.schedules import cubic, periodic
from plugins.masks.scores import magnitude
from plugins.masks.static import shapes_of

if TYPE_CHECKING:
    from torch import Tensor

    from core.api import MaskContext, MaskView
    from plugins.masks.options import GMPOptions


@final
class GradualMagnitude:
    """The weights of smallest magnitude go, kernel by kernel; implements ``DynamicMasks``.

    What was removed does not come back. The authors rank all weights anew each time; removed
    ones are zero here, and so stay the smallest.
    """

    batch = None

    def __init__(self, options: GMPOptions, context: MaskContext) -> None:
        self.target = options.target
        self._options = options
        frames = context.frames
        self._schedule = periodic(options, round(0.2 * frames), round(0.8 * frames))

    def draw(
        self, parameters: Mapping[str, Tensor], generator: torch.Generator
    ) -> Iterator[tuple[str, Tensor]]:
        """Masks that keep everything, of each kernel that is to be pruned."""
        shapes = shapes_of(parameters)
        pruned = self._densities(shapes)
        return ((name, torch.ones(shapes[name], dtype=torch.bool)) for name in pruned)

    def due(self, last: int, frame: int) -> bool:
        return self._schedule.due(last, frame)

    def change(self, view: MaskView) -> dict[str, Tensor]:
        """Keep the largest of what lives, as many as the ramp says now."""
        progress = self._schedule.progress(view.frame)
        changed = {}
        for name, density in self._densities(view.shapes).items():
            mask = view.masks[name]
            count = kept(mask.numel(), cubic(1.0, density, progress))
            if count < int(mask.count_nonzero()):  # never more: a resumed run may be longer
                changed[name] = highest_among(mask, magnitude(view.weight(name)).cpu(), count)
        return changed

    def _densities(self, shapes: Mapping[str, torch.Size]) -> dict[str, float]:
        """How dense each kernel that is to be pruned is to be in the end."""
        rule = RULES[self._options.distribution]
        densities = layer_densities("gmp", self._options, rule, shapes)
        return {name: density for name, density in densities.items() if density < 1.0}
