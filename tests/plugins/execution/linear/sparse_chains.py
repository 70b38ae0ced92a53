"""Chains of sparse layers, and the same densely."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from plugins.execution.linear import library, native_product
from plugins.execution.pattern.build import pattern_of

LEVELS = (0, 1, 2)
"""Instruction sets: baseline, AVX2, AVX-512 (or the best there is below)."""
EXACT = {torch.float64: 1e-12, torch.float32: 3e-5}


def use(level):
    """The instruction set of this number, or the best if that is lower; which it is now."""
    return int(library.loaded().openwork_linear_use(level))


@dataclass
class Layers:
    """A chain, and the dense matrices that it stands for."""

    patterns: list
    masks: list[Tensor]
    matrices: list[Tensor]
    biases: list[Tensor | None]
    relu: list[bool]

    def weights(self, dtype):
        return [
            pattern.compacted(matrix).to(dtype)
            for pattern, matrix in zip(self.patterns, self.matrices, strict=True)
        ]


def random_mask(outputs, inputs, density):
    """Of exactly the density, rounded: 0 keeps nothing, 1 everything."""
    mask = torch.zeros(outputs * inputs, dtype=torch.bool)
    mask[torch.randperm(len(mask))[: round(density * len(mask))]] = True
    return mask.view(outputs, inputs)


def blocks(mask):
    return mask.repeat_interleave(16, 0).repeat_interleave(16, 1)


def chain(masks, relu, bias=True, seed=0):
    """Random values, of float32 exactly."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator).double()  # noqa: E731
    matrices = [draw(*mask.shape) * mask for mask in masks]
    biases = [draw(len(mask)) if bias else None for mask in masks]
    patterns = [pattern_of(mask) for mask in masks]
    return Layers(patterns, masks, matrices, biases, list(relu))


def dense(layers, x, dy):
    """Output, and gradients of input, kept weights and biases, by autograd."""
    matrices = [matrix.clone().requires_grad_() for matrix in layers.matrices]
    biases = [None if b is None else b.clone().requires_grad_() for b in layers.biases]
    x = x.double().requires_grad_()
    y = x
    for matrix, bias, relu in zip(matrices, biases, layers.relu, strict=True):
        y = F.linear(y, matrix, bias)
        y = y.relu() if relu else y
    y.backward(dy.double())
    weights = [s.compacted(m.grad) for s, m in zip(layers.patterns, matrices, strict=True)]
    return y.detach(), x.grad, weights, [None if b is None else b.grad for b in biases]


def compiled(layers, x, dy, dtype=torch.float64, bf16=False):
    biases = [None if b is None else b.to(dtype) for b in layers.biases]
    x, weights = x.to(dtype), layers.weights(dtype)
    y, tape = native_product.forward(
        layers.patterns, weights, biases, layers.relu, x, keep=True, bf16=bf16
    )
    dx, dweights, dbiases = native_product.backward(
        layers.patterns, weights, layers.relu, tape, len(x), dy.to(dtype),
        need_x=True, need=[True] * len(weights), bf16=bf16,
    )  # fmt: skip
    return y, dx, dweights, dbiases


def flat(results):
    for result in results:
        yield from flat(result) if isinstance(result, list) else [result]


def assert_close(got, wanted, tolerance):
    for ours, theirs in zip(flat(got), flat(wanted), strict=True):
        if theirs is None or theirs.numel() == 0:  # no bias; nothing kept
            continue
        assert ours.shape == theirs.shape
        scale = max(float(theirs.abs().max()), 1.0)
        assert float((ours.double() - theirs).abs().max()) <= tolerance * scale


def assert_right(layers, batch, dtype, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, layers.masks[0].shape[1], generator=generator)
    dy = torch.randn(batch, layers.masks[-1].shape[0], generator=generator)
    assert_close(compiled(layers, x, dy, dtype), dense(layers, x, dy), EXACT[dtype])
