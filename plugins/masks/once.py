"""Masks chosen at one moment of training: a scheme is the score that it gives each weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, final

from plugins.masks.composition import Score, highest_scored

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from core.api import BatchOptions, MaskView
    from plugins.masks.options import ScoredOptions


@final
class PrunedOnce:
    """Dense until frame ``at``, then pruned once by score; implements ``DynamicMasks``."""

    def __init__(
        self,
        name: str,
        options: ScoredOptions,
        score: Callable[[MaskView], Score],
        at: int = 0,
        batch: BatchOptions | None = None,
    ) -> None:
        """``name`` is the scheme's; ``batch`` is for a ``score`` of gradients."""
        self.target = options.target
        self.batch = batch
        self._name = name
        self._options = options
        self._score = score
        self._at = at

    def draw(
        self, parameters: Mapping[str, Tensor], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Every weight lives at first."""
        return {}

    def due(self, last: int, frame: int) -> bool:
        return last < 0 and frame >= self._at

    def change(self, view: MaskView) -> dict[str, Tensor]:
        """Keep what scores highest now."""
        score = self._score(view)
        return dict(highest_scored(self._name, self._options, view.shapes, score))
