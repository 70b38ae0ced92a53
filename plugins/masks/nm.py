"""n of every m consecutive inputs of each output live."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, final

from core.api import UserError
from plugins.masks.densities import matches
from plugins.masks.scores import magnitude
from plugins.masks.structures import Groups
from plugins.masks.wanted import check_patterns

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from plugins.masks.static import NMOptions


@final
class NMMasks:
    """One pattern for every kernel, before training; implements ``MaskScheme``."""

    def __init__(self, options: NMOptions) -> None:
        self._options = options
        self._groups = Groups(options.n, options.m)

    @property
    def target(self) -> str:
        return self._options.target

    def draw(
        self, parameters: Mapping[str, Tensor], generator: torch.Generator
    ) -> Iterator[tuple[str, Tensor]]:
        """One mask after the other, each made when it is asked for.

        Raises:
            UserError: there is nothing to prune, or a pattern of ``dense`` fits nothing.
        """
        options, shapes = self._options, {n: tuple(p.shape) for n, p in parameters.items()}
        check_patterns("nm", options.target, options.dense, shapes)
        pruned = [
            name
            for name, shape in shapes.items()
            if len(shape) >= 2
            and not matches(name, options.dense)
            and self._groups.count(shape) < math.prod(shape)
        ]
        if not pruned:
            raise UserError(f"masks 'nm' for '{options.target}': there are no weights to prune")
        return ((name, self._mask(parameters[name], generator)) for name in pruned)

    def _mask(self, weight: Tensor, generator: torch.Generator) -> Tensor:
        shape = tuple(weight.shape)
        count = self._groups.count(shape)
        if self._options.score == "magnitude":
            return self._groups.keep(magnitude(weight), count)
        return self._groups.draw(shape, count, generator)
