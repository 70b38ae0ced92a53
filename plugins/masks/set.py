"""SET: what is dropped grows again at random places (Mocanu et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from plugins.masks.draw import exact_mask

if TYPE_CHECKING:
    from torch import Tensor

    from core.api import MaskView
    from plugins.masks.rewiring import Grow


def at_random(candidates: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` of the candidates, every such set equally likely; a boolean mask."""
    chosen = torch.zeros_like(candidates)
    drawn = exact_mask(int(candidates.count_nonzero()), count, generator)
    chosen.numpy()[candidates.numpy()] = drawn.numpy()
    return chosen


def random_growth(view: MaskView) -> Grow:
    """Draws from the view's generator only, kernel by kernel in the masks' order."""
    return lambda name, candidates, count: at_random(candidates, count, view.generator)
