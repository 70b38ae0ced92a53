"""Weights removed at random, to densities that a rule gives each layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, final

from core.api import UserError
from plugins.masks import RandomMaskOptions
from plugins.masks.densities import InfeasibleError, Rule, Shape, expected_densities, matches
from plugins.masks.draw import bernoulli_mask, exact_mask

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
        o = self._options
        self._check_patterns(shapes)
        try:
            return expected_densities(shapes, o.sparsity, o.counted, o.dense, self._rule)
        except InfeasibleError as error:
            problem = (
                "there are no weights to prune"
                if error.largest is None
                else f"sparsity {o.sparsity:g} is out of reach: biases and norms stay dense; "
                f"the largest possible is {error.largest:g}"
            )
            raise UserError(f"masks '{self._name}' for '{o.target}': {problem}") from error

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

    def _check_patterns(self, shapes: Mapping[str, Shape]) -> None:
        if self.target == "all":  # a pattern may be meant for another network
            return
        for pattern in self._options.dense:
            if not any(matches(name, (pattern,)) for name in shapes):
                raise UserError(
                    f"masks '{self._name}' for '{self.target}': the pattern '{pattern}' of "
                    f"dense fits no parameter; they are {', '.join(shapes)}"
                )


def kept(size: int, density: float) -> int:
    """Weights that an exact draw keeps: the nearest number, but at least one."""
    return max(1, round(density * size))
