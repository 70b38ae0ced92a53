"""Where every random action of the losses comes from, and how much of it there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def standard_normal(like: Tensor) -> Tensor:
    """N(0, 1) in the shape and on the device of ``like``, from torch's global generator."""
    return torch.randn_like(like)


def sometimes_random(greedy: Tensor, share: Tensor, choices: int) -> Tensor:
    """``greedy`` ``[N]`` int64, each replaced with probability ``share`` by any of ``choices``.

    Both draws, from torch's global generator, are made whatever comes of them: no host sync.
    """
    replaced = torch.rand(greedy.shape, device=greedy.device) < share
    return torch.where(replaced, torch.randint_like(greedy, choices), greedy)


def linear(initial: float, final: float, steps: int, now: int) -> float:
    """From ``initial`` at step 0 to ``final`` at step ``steps``, constant after."""
    share = min(max(now / steps, 0.0), 1.0)
    return (1 - share) * initial + share * final
