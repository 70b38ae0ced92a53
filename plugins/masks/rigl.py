"""RigL: weights grow where the loss's gradient is largest (Evci et al. 2020, arXiv 1911.11134)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugins.masks.rewiring import highest_among
from plugins.masks.scores import gradient_magnitude

if TYPE_CHECKING:
    from torch import Tensor

    from core.api import MaskView
    from plugins.masks.rewiring import Grow


def gradient_growth(view: MaskView) -> Grow:
    """Takes the gradients of all weights, those that are removed included, once a change."""
    gradients = dict(view.gradients())

    def grow(name: str, candidates: Tensor, count: int) -> Tensor:
        # Let go of one after the other: all together are as large as the dense network.
        return highest_among(candidates, gradient_magnitude(gradients.pop(name)).cpu(), count)

    return grow
