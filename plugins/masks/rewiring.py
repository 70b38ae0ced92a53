"""Dynamic sparse training: some weights of each kernel are dropped, as many grow elsewhere.

A scheme is a way to grow and a fraction that changes with time. What is dropped are always the
live weights of smallest magnitude. The rules are those of ``google-research/rigl``
(``rigl_tf2/mask_updaters.py``) and ``google-research/jaxpruner`` (``sparse_trainers.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, final

import torch

from plugins.masks.densities import RULES
from plugins.masks.random_masks import exact_mask, random_masks
from plugins.masks.schedules import cosine, periodic
from plugins.masks.scores import gradient_magnitude, highest, magnitude

if TYPE_CHECKING:
    from torch import Tensor

    from core.api import BatchOptions, MaskContext, MaskView
    from plugins.masks.options import RewiringOptions, RigLOptions, SETOptions
    from plugins.masks.schedules import Periodic
    from plugins.masks.static import Masks

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
        name: str,
        options: RewiringOptions,
        schedule: Periodic,
        growth: Callable[[MaskView], Grow],
        batch: BatchOptions | None = None,
    ) -> None:
        """``name`` is the scheme's; ``growth`` is asked once a change."""
        self.target = options.target
        self.batch = batch
        self._name = name
        self._options = options
        self._schedule = schedule
        self._growth = growth

    def draw(self, parameters: Mapping[str, Tensor], generator: torch.Generator) -> Masks:
        """Random masks, exact."""
        rule = RULES[self._options.distribution]
        return random_masks(self._name, self._options, rule, parameters, generator)

    def due(self, last: int, frame: int) -> bool:
        return self._schedule.due(last, frame)

    def change(self, view: MaskView) -> dict[str, Tensor]:
        """Exchange weights in every kernel that has a mask."""
        fraction = self._fraction(self._schedule.latest(view.frame))
        if fraction == 0.0:
            return {}
        grow = self._growth(view)
        return {
            name: rewired(view.masks[name], view.weight(name).cpu(), fraction, partial(grow, name))
            for name in view.masks
        }

    def _fraction(self, frame: int) -> float:
        """Share of the live weights to drop at a frame."""
        if self._options.decay == "cosine":
            return cosine(self._options.drop_fraction, frame, self._schedule.end)
        return self._options.drop_fraction


# --- SET (Mocanu et al. 2018): what is dropped grows again at random places ---------------


def set_masks(options: SETOptions, context: MaskContext) -> Rewiring:
    """Sparse evolutionary training."""
    return Rewiring("set", options, periodic(options, 0, context.frames - 1), random_growth)


def random_growth(view: MaskView) -> Grow:
    """Draws from the view's generator only, kernel by kernel in the masks' order."""
    return lambda name, candidates, count: at_random(candidates, count, view.generator)


def at_random(candidates: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` of the candidates, every such set equally likely; a boolean mask."""
    chosen = torch.zeros_like(candidates)
    drawn = exact_mask(int(candidates.count_nonzero()), count, generator)
    chosen.numpy()[candidates.numpy()] = drawn.numpy()
    return chosen


# --- RigL (Evci et al. 2020): weights grow where the loss's gradient is largest -----------


def rigl_masks(options: RigLOptions, context: MaskContext) -> Rewiring:
    """The rigged lottery."""
    schedule = periodic(options, 0, round(0.8 * context.frames))
    return Rewiring("rigl", options, schedule, gradient_growth, options.batch)


def gradient_growth(view: MaskView) -> Grow:
    """Takes the gradients of all weights, those that are removed included, once a change."""
    gradients = dict(view.gradients())

    def grow(name: str, candidates: Tensor, count: int) -> Tensor:
        # Let go of one after the other: all together are as large as the dense network.
        return highest_among(candidates, gradient_magnitude(gradients.pop(name)).cpu(), count)

    return grow
