"""What a row needs whatever computes it: its weights where they are, and tensors that fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn

from plugins.execution.online.recognise import Feedforward, is_plain

NO_LONGER = (
    "a network that runs one observation at a time was moved or converted: its layers must stay "
    "of kinds known there, and its parameters trainable, contiguous and float32 on the CPU"
)
MaskOf = Callable[[nn.Parameter], Tensor | None]
"""Which weights of a parameter live, or None for all."""


@final
class Weights:
    """The parameters of a network, followed where they go, with their masks."""

    def __init__(self, net: Feedforward, mask_of: MaskOf) -> None:
        self._parameters = net.parameters
        self._mask_of = mask_of
        self.count = 0
        """Length of the flat vectors."""
        self.read()

    def moved(self) -> bool:
        """Whether they are elsewhere than at the last :meth:`read`."""
        return self._pointers != [parameter.data_ptr() for parameter in self._parameters]

    def read(self) -> None:
        """Note where they are, and which of them live.

        Raises:
            RuntimeError: they are no longer such as can be read and moved there.
        """
        if not all(map(is_plain, self._parameters)):
            raise RuntimeError(NO_LONGER)
        self._pointers = [parameter.data_ptr() for parameter in self._parameters]
        self.count = sum(parameter.numel() for parameter in self._parameters)
        self._masks = {id(p): _words(self._mask_of(p)) for p in self._parameters}

    def mask(self, parameter: Tensor) -> Tensor | None:
        """An int32 per weight, all bits set where it lives and none elsewhere; None keeps all.

        It is held until the next :meth:`read`, and not changed.
        """
        return self._masks[id(parameter)]


def fitting(tensor: Tensor, size: int) -> Tensor:
    """``tensor`` itself, if it is ``size`` numbers that can be read as they lie in memory.

    Raises:
        ValueError: it is not; going on would be fatal, or silently wrong.
    """
    if (
        tensor.numel() != size
        or tensor.dtype is not torch.float32
        or not tensor.is_contiguous()
        or not tensor.is_cpu
    ):
        raise ValueError(
            f"needs {size} contiguous float32 numbers on the CPU, got {tensor.dtype} "
            f"{list(tensor.shape)} on {tensor.device}"
        )
    return tensor


def _words(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else -mask.to("cpu", torch.int32).contiguous()
