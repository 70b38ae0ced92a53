"""No masks: every weight lives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, final

from plugins.masks import NoMaskOptions

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@final
class NoMasks:
    """Leaves its target dense; implements ``MaskScheme``."""

    def __init__(self, options: NoMaskOptions) -> None:
        self._target = options.target

    @property
    def target(self) -> str:
        return self._target

    def draw(
        self, parameters: Mapping[str, Tensor], generator: torch.Generator
    ) -> dict[str, Tensor]:
        return {}
