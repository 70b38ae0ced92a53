"""SNIP: the weights whose removal would change the loss most live (Lee et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, final

from core.api import RunStopped
from plugins.masks.composition import composed
from plugins.masks.scores import saliency

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from core.api import BatchOptions, MaskView
    from plugins.masks.static import SnipOptions


@final
class Snip:
    """Dense until it has seen a batch, then pruned once; implements ``DynamicMasks``."""

    def __init__(self, options: SnipOptions) -> None:
        self._options = options

    @property
    def target(self) -> str:
        return self._options.target

    @property
    def batch(self) -> BatchOptions:
        return self._options.batch

    def draw(
        self, parameters: Mapping[str, Tensor], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Every weight lives at first."""
        return {}

    def due(self, last: int, frame: int) -> bool:
        return last < 0

    def change(self, view: MaskView) -> dict[str, Tensor]:
        """By ``|gradient * weight|``, in all phases that train the network.

        Raises:
            RunStopped: the gradient is zero everywhere, so that every choice would do.
        """
        gradients = dict(view.gradients())
        if not any(bool(gradient.any()) for gradient in gradients.values()):
            raise RunStopped(f"masks 'snip': no weight of '{view.role}' changes the loss here")

        def score(name: str) -> Tensor:
            # Let go of one after the other: all together are as large as the dense network.
            return saliency(view.weight(name), gradients.pop(name))

        shapes = {name: tuple(shape) for name, shape in view.shapes.items()}
        return dict(composed("snip", self._options, shapes, score))
