"""Random shifts of frames (DrQ; DrQ-v2's ``RandomShiftsAug``).

DrQ-v2 interpolates, but at whole pixels only, which changes nothing: a replicate-padded
integer crop gives the same frames and stays in uint8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor


def random_shift(frames: Tensor, pad: int) -> Tensor:
    """Shift each image of ``[B, C, H, W]`` by up to ``pad`` pixels, repeating its border.

    One offset per image and axis, the same for all channels, from torch's global generator
    of the frames' device.
    """
    offsets = torch.randint(0, 2 * pad + 1, (2, frames.shape[0]), device=frames.device)
    # A loop over rows of bytes is an order of magnitude faster than any gather on a CPU, but
    # it reads the offsets on the host, which would be a sync on a GPU and a graph break.
    if frames.device.type == "cpu" and not torch.compiler.is_compiling():
        return shift_by_crop(frames, offsets, pad)
    return shift_by_gather(frames, offsets, pad)


def shift_by_crop(frames: Tensor, offsets: Tensor, pad: int) -> Tensor:
    """Crop window ``offsets`` ``[2, B]`` (rows, columns; in 0..2 pad) of the padded frames."""
    height, width = frames.shape[-2:]
    padded = F.pad(frames, (pad,) * 4, mode="replicate")
    shifted = torch.empty_like(frames)
    for i, (y, x) in enumerate(zip(*offsets.tolist(), strict=True)):
        shifted[i] = padded[i, :, y : y + height, x : x + width]
    return shifted


def shift_by_gather(frames: Tensor, offsets: Tensor, pad: int) -> Tensor:
    """The same as :func:`shift_by_crop` without reading the offsets on the host."""
    height, width = frames.shape[-2:]
    down, right = offsets.unbind(0)
    rows = _sources(down, height, pad).view(-1, 1, height, 1)
    columns = _sources(right, width, pad).view(-1, 1, 1, width)
    return frames.gather(2, rows.expand_as(frames)).gather(3, columns.expand_as(frames))


def _sources(offset: Tensor, size: int, pad: int) -> Tensor:
    """``[B] -> [B, size]``: the position each shifted one is read from, clamped to the border."""
    positions = torch.arange(size, device=offset.device) - pad
    return (positions + offset.unsqueeze(1)).clamp(0, size - 1)
