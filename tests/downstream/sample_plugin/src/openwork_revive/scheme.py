"""Which weights live, before and after some came back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, final

import torch

if TYPE_CHECKING:
    from core.api import MaskView
    from torch import Tensor

    from openwork_revive import Options


def random_mask(shape: torch.Size, kept: int, generator: torch.Generator) -> Tensor:
    """A mask of ``shape`` that is true at ``kept`` entries, uniformly at random."""
    mask = torch.zeros(shape.numel(), dtype=torch.bool)
    mask[torch.randperm(len(mask), generator=generator)[:kept]] = True
    return mask.view(shape)


def revive(mask: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``mask`` ``[units, ...]`` with ``count`` more entries, one by one at the poorest unit.

    So the unit with the fewest living inputs gets a random one of its removed ones, then
    again the one that then has the fewest, and so on; ties are broken at random.
    """
    living = mask.flatten(1)
    draw = torch.rand(living.shape, generator=generator)
    # each unit's removed inputs come back in random order: how many it has with each of them
    order = draw.masked_fill(living, 2.0).argsort(dim=1).argsort(dim=1)
    inputs = living.sum(dim=1, keepdim=True) + 1 + order
    ties = torch.rand(living.shape, generator=generator)
    price = (inputs + ties).masked_fill(living, torch.inf).flatten()
    back = price.topk(min(count, int((~living).sum())), largest=False).indices
    return living.flatten().index_fill(0, back, True).view(mask.shape)


@final
class Scheme:
    """Implements ``core.api.MaskScheme`` and ``core.api.DynamicMasks``."""

    batch = None

    def __init__(self, options: Options) -> None:
        self.target = options.target
        self._options = options

    def draw(
        self, parameters: Mapping[str, Tensor], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """A mask for every kernel, without what is held in reserve."""
        return {
            name: random_mask(kernel.shape, self._kept(kernel, self._options.reserve), generator)
            for name, kernel in parameters.items()
            if kernel.ndim > 1
        }

    def _kept(self, kernel: Tensor, reserve: float = 0.0) -> int:
        """How many weights of a kernel live; at least one."""
        return max(1, round((1 - self._options.sparsity - reserve) * kernel.numel()))

    def due(self, last: int, frame: int) -> bool:
        return last < self._options.at <= frame

    def change(self, view: MaskView) -> dict[str, Tensor]:
        """Each kernel with its reserve back."""
        return {
            name: revive(mask, self._kept(mask) - int(mask.sum()), view.generator)
            for name, mask in view.masks.items()
        }
