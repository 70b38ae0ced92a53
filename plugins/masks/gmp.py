"""Gradual magnitude pruning: dense at first, sparser step by step (Zhu & Gupta 2017)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, final

import torch

from plugins.masks.random_masks import kept
from plugins.masks.rewiring import highest_among
from plugins.masks.schedules import cubic
from plugins.masks.scores import magnitude

if TYPE_CHECKING:
    from torch import Tensor

    from core.api import MaskView
    from plugins.masks.random_masks import RandomMasks
    from plugins.masks.schedules import Periodic


@final
class GradualMagnitude:
    """The weights of smallest magnitude go, kernel by kernel; implements ``DynamicMasks``.

    What was removed does not come back. The authors rank all weights anew each time; removed
    ones are zero here, and so stay the smallest.
    """

    batch = None

    def __init__(self, final: RandomMasks, schedule: Periodic) -> None:
        """``final`` says how dense each kernel is to be in the end."""
        self._final = final
        self._schedule = schedule

    @property
    def target(self) -> str:
        return self._final.target

    def draw(
        self, parameters: Mapping[str, Tensor], generator: torch.Generator
    ) -> Iterator[tuple[str, Tensor]]:
        """Masks that keep everything, of each kernel that is to be pruned."""
        shapes = {name: parameter.shape for name, parameter in parameters.items()}
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
        plain = {name: tuple(shape) for name, shape in shapes.items()}
        return {name: d for name, d in self._final.densities(plain).items() if d < 1.0}
