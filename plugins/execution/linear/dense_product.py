"""Chains of compact linear layers by dense products: on any device, in any type of number.

The kept values are scattered into a dense matrix, which lives for one layer's product. So what
is saved by compactness is memory (of gradients, optimizer state, traces and targets), not
arithmetic.

On a GPU this is the planned form; it has not been measured on one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from plugins.execution.pattern.index import Pattern

_positions: WeakKeyDictionary[Pattern, dict[torch.device, Tensor]] = WeakKeyDictionary()


def tape_size(batch: int, inputs: int, outputs: Sequence[int], relu: Sequence[bool]) -> int:
    """Numbers that :func:`forward` keeps for :func:`backward`."""
    hidden = sum(outputs[:-1]) + (outputs[-1] if relu[-1] else 0)
    return batch * (inputs + hidden)


def forward(
    layers: Sequence[Pattern],
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    relu: Sequence[bool],
    x: Tensor,
    *,
    keep: bool,
    bf16: bool = False,
) -> tuple[Tensor, Tensor]:
    """``[B, inputs]`` to ``[B, outputs]`` of the last layer, and the tape for :func:`backward`.

    The tape is empty unless ``keep``: the input, and every output that is needed again.
    """
    passed = [x]
    for layer, weight, bias, bends in zip(layers, weights, biases, relu, strict=True):
        x = functional.linear(_rounded(x, bf16), _rounded(matrix(layer, weight), bf16), bias)
        x = x.relu_() if bends else x
        passed.append(x)
    if not relu[-1]:
        del passed[-1]
    tape = torch.cat([part.reshape(-1) for part in passed]) if keep else x.new_empty(0)
    # An operation must not answer with its argument, nor with a part of another answer.
    return x, tape


def backward(  # noqa: PLR0913 (the interface of the kernels)
    layers: Sequence[Pattern],
    weights: Sequence[Tensor],
    relu: Sequence[bool],
    tape: Tensor,
    batch: int,
    dy: Tensor,
    *,
    need_x: bool,
    need: Sequence[bool],
    bf16: bool = False,
) -> tuple[Tensor | None, list[Tensor | None], list[Tensor | None]]:
    """Gradients of the input, of the weights and of the biases, where they are needed."""
    passed = _passed(layers, relu, tape, batch)
    dweights: list[Tensor | None] = [None] * len(layers)
    dbiases: list[Tensor | None] = [None] * len(layers)
    last = 0 if need_x else need.index(True) if True in need else len(layers)
    for index in range(len(layers) - 1, last - 1, -1):
        if relu[index]:
            dy = torch.ops.aten.threshold_backward(dy, passed[index + 1], 0)
        rounded = _rounded(dy, bf16)
        if need[index]:
            product = rounded.t() @ _rounded(passed[index], bf16)
            dweights[index] = gathered(layers[index], product)
            dbiases[index] = rounded.sum(0)
        if index > last or need_x:
            dy = rounded @ _rounded(matrix(layers[index], weights[index]), bf16)
    return dy if need_x else None, dweights, dbiases


def matrix(layer: Pattern, values: Tensor) -> Tensor:
    """``[nnz]`` to ``[outputs, inputs]``, zero where nothing is kept."""
    flat = values.new_zeros(layer.shape.numel())
    return flat.index_copy_(0, positions(layer, values.device), values).view(layer.shape)


def gathered(layer: Pattern, dense: Tensor) -> Tensor:
    """``[outputs, inputs]`` to its kept entries ``[nnz]``."""
    return dense.reshape(-1).index_select(0, positions(layer, dense.device))


def positions(layer: Pattern, device: torch.device) -> Tensor:
    """``[nnz]`` int64: where each value lies in the flat matrix; made once per device."""
    by_device = _positions.setdefault(layer, {})
    if device not in by_device:
        by_device[device] = layer.positions().to(device)
    return by_device[device]


def _passed(
    layers: Sequence[Pattern], relu: Sequence[bool], tape: Tensor, batch: int
) -> list[Tensor]:
    """The input and the outputs on a tape, ``[B, features]`` each."""
    widths = [layers[0].shape[1], *(layer.shape[0] for layer in layers)]
    if not relu[-1]:
        del widths[-1]
    parts = torch.split(tape, [batch * width for width in widths])
    return [part.view(batch, width) for part, width in zip(parts, widths, strict=True)]


def _rounded(tensor: Tensor, bf16: bool) -> Tensor:
    """What a product with bfloat16 factors sees of a float32 tensor.

    Products of such numbers are exact in float32, in which they are then summed.
    """
    return tensor.bfloat16().to(tensor.dtype) if bf16 else tensor
