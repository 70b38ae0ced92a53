"""The weights of largest magnitude live: by the first weights, or by those of one moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from core.api import UserError
from plugins.masks.composition import Score, highest_scored
from plugins.masks.once import PrunedOnce
from plugins.masks.scores import magnitude
from plugins.masks.static import Masks, StaticMasks, shapes_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from core.api import MaskContext, MaskScheme, MaskView
    from plugins.masks.options import MagnitudeOptions


def magnitude_masks(options: MagnitudeOptions, context: MaskContext) -> MaskScheme:
    """At initialisation, or at the frame ``options.at``.

    Raises:
        UserError: that frame lies past the end of the run.
    """
    if options.at is not None:
        if 0 < context.frames <= options.at:
            raise UserError(
                f"masks 'magnitude' for '{options.target}': at {options.at} lies past the end of "
                f"the run ({context.frames} frames), so nothing would ever be pruned"
            )
        return PrunedOnce("magnitude", options, _of_weights, options.at)

    def draw(parameters: Mapping[str, Tensor], generator: torch.Generator) -> Masks:
        """By the parameters' own values; draws nothing from the generator."""
        shapes = shapes_of(parameters)
        return highest_scored("magnitude", options, shapes, lambda n: magnitude(parameters[n]))

    return StaticMasks(options.target, draw)


def _of_weights(view: MaskView) -> Score:
    return lambda name: magnitude(view.weight(name))
