"""Weights removed at random, to densities that a rule gives each layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, final

from plugins.masks import RandomMaskOptions
from plugins.masks.densities import Rule, Shape
from plugins.masks.draw import bernoulli_mask, exact_mask
from plugins.masks.wanted import wanted_densities

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@final
class RandomMasks:
    """Random masks of fixed densities; implements ``MaskScheme``."""

    def __init__(self, name: str, rule: Rule, options: RandomMaskOptions) -> None:
        self._name = name
        self._rule = rule
        self._options = options

    @property
    def target(self) -> str:
        return self._options.target

    def densities(self, shapes: Mapping[str, Shape]) -> dict[str, float]:
        """Expected density of each parameter of one network.

        Raises:
            UserError: the sparsity is out of reach, or a pattern of ``dense`` fits nothing.
        """
        return wanted_densities(self._name, self._options, self._rule, shapes)

    def draw(
        self, parameters: Mapping[str, Tensor], generator: torch.Generator
    ) -> Iterator[tuple[str, Tensor]]:
        """One mask after the other, each drawn when it is asked for."""
        shapes = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
        densities = self.densities(shapes)
        return (
            (name, self._draw_one(shapes[name], density, generator))
            for name, density in densities.items()
            if density < 1.0
        )

    def _draw_one(self, shape: Shape, density: float, generator: torch.Generator) -> Tensor:
        size = 1
        for n in shape:
            size *= n
        if self._options.draw == "bernoulli":
            return bernoulli_mask(size, density, generator).view(shape)
        return exact_mask(size, kept(size, density), generator).view(shape)


def kept(size: int, density: float) -> int:
    """Weights that an exact draw keeps: the nearest number, but at least one."""
    return max(1, round(density * size))
