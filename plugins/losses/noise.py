"""Where every random action of the losses comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def standard_normal(like: Tensor) -> Tensor:
    """N(0, 1) in the shape and on the device of ``like``, from torch's global generator."""
    return torch.randn_like(like)
