"""Dynamic sparse training: some weights of each kernel are dropped, as many grow elsewhere.

A scheme is a way to grow and a fraction that changes with time. What is dropped are always the
live weights of smallest magnitude. The rules are those of ``google-research/rigl``
(``rigl_tf2/mask_updaters.py``) and ``google-research/jaxpruner`` (``sparse_trainers.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, final

import torch

from plugins.masks.scores import highest, magnitude

if TYPE_CHECKING:
    from torch import Tensor

    from core.api import BatchOptions, MaskView
    from plugins.masks.random_masks import RandomMasks
    from plugins.masks.schedules import Periodic

Grow = Callable[[str, "Tensor", int], "Tensor"]
"""``(name, candidates, count) -> grown``: ``count`` of the candidates, both boolean masks."""


def highest_among(candidates: Tensor, scores: Tensor, count: int) -> Tensor:
    """The ``count`` candidates of highest score, among equal ones the first; a boolean mask.

    Both are on the CPU.
    """
    # Indexed in NumPy: torch makes a list of positions first, eight bytes each.
    places, chosen = candidates.numpy(), torch.zeros_like(candidates)
    among = torch.from_numpy(scores.numpy()[places])
    chosen.numpy()[places] = highest(among, count).numpy()
    return chosen


def rewired(mask: Tensor, weight: Tensor, fraction: float, grow: Callable[..., Tensor]) -> Tensor:
    """The mask after one exchange: ``floor(fraction * live)`` weights, the count stays.

    ``grow(candidates, count)`` chooses among all that do not live after the drop, so that what
    was just dropped may come back (both codes; Evci et al. 2020, algorithm 1): then nothing
    happens to it.
    """
    live = int(mask.count_nonzero())
    moved = math.floor(fraction * live)
    if moved == 0:
        return mask
    kept = highest_among(mask, magnitude(weight), live - moved)
    return kept | grow(~kept, moved)


@final
class Rewiring:
    """Random masks whose weights are exchanged now and then; implements ``DynamicMasks``."""

    def __init__(
        self,
        initial: RandomMasks,
        schedule: Periodic,
        fraction: Callable[[int], float],
        growth: Callable[[MaskView], Grow],
        batch: BatchOptions | None = None,
    ) -> None:
        """``fraction`` is what to drop at a frame; ``growth`` is asked once a change."""
        self._initial = initial
        self._schedule = schedule
        self._fraction = fraction
        self._growth = growth
        self._batch = batch

    @property
    def target(self) -> str:
        return self._initial.target

    @property
    def batch(self) -> BatchOptions | None:
        return self._batch

    def draw(self, parameters: Mapping[str, Tensor], generator: torch.Generator) -> Any:
        """See :meth:`core.api.MaskScheme.draw`: random masks."""
        return self._initial.draw(parameters, generator)

    def due(self, last: int, frame: int) -> bool:
        return self._schedule.due(last, frame)

    def change(self, view: MaskView) -> dict[str, Tensor]:
        """Exchange weights in every kernel that has a mask."""
        fraction = self._fraction(self._schedule.latest(view.frame))
        if fraction == 0.0:
            return {}
        grow = self._growth(view)
        changed = {}
        for name in view.masks:
            mask, weight = view.masks[name], view.weight(name).cpu()

            def grown(candidates: Tensor, count: int, name: str = name) -> Tensor:
                return grow(name, candidates, count)

            changed[name] = rewired(mask, weight, fraction, grown)
        return changed
