"""How the activations of a chain lie in memory."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import addressof
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from plugins.execution.linear.library import Chain, Link
from plugins.execution.pattern.index import Pattern

LANES: Final = (16, 32, 64)
"""Rows of a batch that lie side by side in a tape; the first that holds the batch, or the last."""


@dataclass(frozen=True)
class TapeLayout:
    """How activations of a chain lie in a tape: packed, the input and what each layer leaves."""

    batch: int
    lanes: int
    dtype: torch.dtype
    starts: tuple[int, ...]
    """Where each layer's input begins, and at the end the last layer's output."""
    size: int

    @staticmethod
    def of(
        layers: Sequence[Pattern], relu: Sequence[bool], batch: int, dtype: torch.dtype
    ) -> TapeLayout:
        features = [layers[0].shape[1], *(layer.shape[0] for layer in layers)]
        return TapeLayout.sized(features, relu, batch, dtype)

    @staticmethod
    def sized(
        features: Sequence[int], relu: Sequence[bool], batch: int, dtype: torch.dtype
    ) -> TapeLayout:
        """``features`` of the input and of each layer's output."""
        lanes = next((n for n in LANES if batch <= n), LANES[-1])
        rows = -(-batch // lanes) * lanes
        ends = [0]
        for count in features:
            ends.append(ends[-1] + count * rows)
        # Without a ReLU, the gradient of the last layer does not need its output.
        return TapeLayout(batch, lanes, dtype, tuple(ends[:-1]), ends[-1 if relu[-1] else -2])

    def packed(self, features: int) -> int:
        """Entries of a packed batch of so many features."""
        return -(-self.batch // self.lanes) * self.lanes * features

    def links(
        self,
        layers: Sequence[Pattern],
        weights: Sequence[Tensor],
        relu: Sequence[bool],
        tape: Tensor,
        last: Tensor,
    ) -> ctypes.Array[Link]:
        """The layers with addresses in the ``tape``; ``last`` is for the output if not there."""
        size = tape.element_size()
        places = [tape.data_ptr() + start * size for start in self.starts]
        if last is not tape:
            places[-1] = last.data_ptr()
        links = (Link * len(layers))()
        for i, (link, layer, weight) in enumerate(zip(links, layers, weights, strict=True)):
            link.layer, link.weight = layer.address, weight.data_ptr()
            link.input, link.output, link.relu = places[i], places[i + 1], relu[i]
        return links

    def chain(self, links: ctypes.Array[Link], bf16: bool) -> Chain:
        kind = 2 if bf16 else int(self.dtype is torch.float64)
        threads = torch.get_num_threads()
        return Chain(addressof(links), len(links), self.batch, self.lanes, kind, threads)
