"""What ``openwork::sparse_chain`` and its backward do with tensors, and with fakes of them.

The signatures are those of the operations (:mod:`plugins.execution.linear.op`).
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from plugins.execution.linear import dense_product, native_product
from plugins.execution.pattern.index import by_number

if TYPE_CHECKING:
    from plugins.execution.pattern.index import Pattern


def _ways(lanes: Sequence[int]) -> ModuleType:
    return native_product if lanes else dense_product


def forward(  # noqa: PLR0913, PLR0917
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    patterns: Sequence[Tensor],
    relu: Sequence[bool],
    outputs: Sequence[int],
    keep: bool,
    lanes: Sequence[int],
    bfloat16: bool,
) -> tuple[Tensor, Tensor]:
    """``[B, outputs[-1]]``, and the tape for :func:`backward`, empty unless ``keep``.

    Raises:
        ValueError: a pattern is not that of its weight, or is none of this process's.
    """
    layers = _layers(x, weights, biases, patterns, outputs)
    if not len(x):
        return x.new_empty(0, outputs[-1]), x.new_empty(0)
    given = [bias if bias.numel() else None for bias in biases]
    answer: tuple[Tensor, Tensor] = _ways(lanes).forward(
        layers, weights, given, relu, x.contiguous(), keep=keep, bf16=bfloat16
    )
    return answer


def backward(  # noqa: PLR0913, PLR0917
    dy: Tensor,
    tape: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    patterns: Sequence[Tensor],
    relu: Sequence[bool],
    inputs: int,
    need_x: bool,
    need: Sequence[bool],
    lanes: Sequence[int],
    bfloat16: bool,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Gradients of the input, the weights and the biases; empty where not needed."""
    layers = [by_number(int(pattern)) for pattern in patterns]

    def present(found: Sequence[Tensor | None]) -> list[Tensor]:
        return [dy.new_empty(0) if gradient is None else gradient for gradient in found]

    if not len(dy):
        dx = dy.new_empty(0, inputs) if need_x else None
        zeros = [
            [torch.zeros_like(t) if n else None for t, n in zip(group, need, strict=True)]
            for group in (weights, biases)
        ]
        return present([dx])[0], present(zeros[0]), present(zeros[1])
    dx, dweights, dbiases = _ways(lanes).backward(
        layers,
        weights,
        relu,
        tape,
        len(dy),
        dy.contiguous(),
        need_x=need_x,
        need=need,
        bf16=bfloat16,
    )
    dbiases = [d if b.numel() else None for d, b in zip(dbiases, biases, strict=True)]
    return present([dx])[0], present(dweights), present(dbiases)


def _layers(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    patterns: Sequence[Tensor],
    outputs: Sequence[int],
) -> list[Pattern]:
    """The patterns, if they are those of these weights."""
    layers, width = [], x.shape[1]
    for pattern, weight, bias, following in zip(patterns, weights, biases, outputs, strict=True):
        layer = by_number(int(pattern))
        layer.expect((following, width), weight.numel())
        if weight.dtype is not x.dtype or bias.dtype is not x.dtype:
            raise ValueError(f"{layer}: weight {weight.dtype}, bias {bias.dtype}, input {x.dtype}")
        if bias.numel() not in (0, following):
            raise ValueError(f"{layer}: a bias of {bias.numel()}")
        layers.append(layer)
        width = following
    return layers


def forward_fake(  # noqa: PLR0913, PLR0917
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    patterns: Sequence[Tensor],
    relu: Sequence[bool],
    outputs: Sequence[int],
    keep: bool,
    lanes: Sequence[int],
    bfloat16: bool,
) -> tuple[Tensor, Tensor]:
    """Tensors of the shapes that :func:`forward` would give."""
    batch, inputs = x.shape
    size = _ways(lanes).tape_size(batch, inputs, outputs, relu) if keep else 0
    return x.new_empty(batch, outputs[-1]), x.new_empty(size)


def backward_fake(  # noqa: PLR0913, PLR0917
    dy: Tensor,
    tape: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    patterns: Sequence[Tensor],
    relu: Sequence[bool],
    inputs: int,
    need_x: bool,
    need: Sequence[bool],
    lanes: Sequence[int],
    bfloat16: bool,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Tensors of the shapes that :func:`backward` would give."""

    def like(tensors: Sequence[Tensor]) -> list[Tensor]:
        return [t.new_empty(t.shape if n else 0) for t, n in zip(tensors, need, strict=True)]

    dx = dy.new_empty(dy.shape[0], inputs) if need_x else dy.new_empty(0)
    return dx, like(weights), like(biases)
