"""The weights of largest magnitude live: by the first weights, or by those of one moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, final

from plugins.masks.composition import composed
from plugins.masks.scores import magnitude

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from core.api import MaskScheme, MaskView
    from plugins.masks.static import MagnitudeOptions


def magnitude_masks(options: MagnitudeOptions) -> MaskScheme:
    """The scheme that the options ask for."""
    if options.at is None:
        return InitialMagnitude(options)
    return MagnitudeAt(options, options.at)


@final
class InitialMagnitude:
    """Prunes at initialisation; implements ``MaskScheme``."""

    def __init__(self, options: MagnitudeOptions) -> None:
        self._options = options

    @property
    def target(self) -> str:
        return self._options.target

    def draw(
        self, parameters: Mapping[str, Tensor], generator: torch.Generator
    ) -> Iterator[tuple[str, Tensor]]:
        """By the parameters' own values; draws nothing from the generator."""
        shapes = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
        return composed("magnitude", self._options, shapes, lambda n: magnitude(parameters[n]))


@final
class MagnitudeAt:
    """Prunes once, in training; implements ``DynamicMasks``."""

    batch = None

    def __init__(self, options: MagnitudeOptions, at: int) -> None:
        self._options = options
        self._at = at

    @property
    def target(self) -> str:
        return self._options.target

    def draw(
        self, parameters: Mapping[str, Tensor], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Every weight lives at first."""
        return {}

    def due(self, last: int, frame: int) -> bool:
        return last < 0 and frame >= self._at

    def change(self, view: MaskView) -> dict[str, Tensor]:
        """By the weights as they are now."""
        shapes = {name: tuple(shape) for name, shape in view.shapes.items()}
        scores = composed("magnitude", self._options, shapes, lambda n: magnitude(view.weight(n)))
        return dict(scores)
