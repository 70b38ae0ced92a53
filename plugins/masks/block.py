"""Whole square blocks of weights live or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, final

from plugins.masks.composition import Layerwise
from plugins.masks.scores import magnitude
from plugins.masks.static import StructureOptions

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from plugins.masks.static import BlockOptions
    from plugins.masks.structures import Structure


@final
class BlockMasks:
    """Blocks chosen before training; implements ``MaskScheme``."""

    def __init__(self, options: BlockOptions) -> None:
        structure = StructureOptions("blocks", side=options.side, rest=options.rest)
        self._layers = Layerwise("block", options, options.distribution, structure)
        self._options = options

    @property
    def target(self) -> str:
        return self._options.target

    def draw(
        self, parameters: Mapping[str, Tensor], generator: torch.Generator
    ) -> Iterator[tuple[str, Tensor]]:
        """One mask after the other, each made when it is asked for."""
        shapes = {name: tuple(parameter.shape) for name, parameter in parameters.items()}

        def choose(name: str, structure: Structure, count: int) -> Tensor:
            if self._options.score == "magnitude":
                return structure.keep(magnitude(parameters[name]), count)
            return structure.draw(shapes[name], count, generator)

        return self._layers.masks(shapes, choose)
