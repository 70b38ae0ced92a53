"""SNIP: the weights whose removal would change the loss most live (Lee et al. 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.api import RunStopped
from plugins.masks.once import PrunedOnce
from plugins.masks.scores import saliency

if TYPE_CHECKING:
    from torch import Tensor

    from core.api import MaskContext, MaskView
    from plugins.masks.composition import Score
    from plugins.masks.options import SnipOptions


def snip_masks(options: SnipOptions, context: MaskContext) -> PrunedOnce:
    """Dense until it has seen a batch, then pruned once."""
    return PrunedOnce("snip", options, sensitivity, batch=options.batch)


def sensitivity(view: MaskView) -> Score:
    """``|gradient * weight|``, in all phases that train the network.

    Raises:
        RunStopped: the gradient is zero everywhere, so that every choice would do.
    """
    gradients = dict(view.gradients())
    if not any(bool(gradient.any()) for gradient in gradients.values()):
        raise RunStopped(f"masks 'snip': no weight of '{view.role}' changes the loss here")

    def score(name: str) -> Tensor:
        # Let go of one after the other: all together are as large as the dense network.
        return saliency(view.weight(name), gradients.pop(name))

    return score
