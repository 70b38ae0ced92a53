"""Masks drawn before training: a scheme is the function that draws them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from core.api import MaskContext
    from plugins.masks.options import NoMaskOptions

Masks = Iterator[tuple[str, "Tensor"]]
"""By parameter name, one after the other, each made when it is asked for."""
Draw = Callable[[Mapping[str, "Tensor"], "torch.Generator"], Masks]


@final
class StaticMasks:
    """Masks of one network that stay as they are drawn; implements ``MaskScheme``."""

    def __init__(self, target: str, draw: Draw) -> None:
        self.target = target
        self._draw = draw

    def draw(self, parameters: Mapping[str, Tensor], generator: torch.Generator) -> Masks:
        """See :meth:`core.api.MaskScheme.draw`.

        Raises:
            UserError: the options ask for what these parameters do not allow.
        """
        return self._draw(parameters, generator)


def no_masks(options: NoMaskOptions, context: MaskContext) -> StaticMasks:
    """Every weight lives."""
    return StaticMasks(options.target, lambda parameters, generator: iter(()))


def shapes_of(parameters: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """The shape of every parameter, in their order."""
    return {name: parameter.shape for name, parameter in parameters.items()}
