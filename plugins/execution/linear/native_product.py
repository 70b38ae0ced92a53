"""The compiled kernels for batches: chains of sparse linear layers, forward and backward.

They are built from ``native/linear/`` when the package is installed, where there is a C++
compiler, and called through ctypes: one call per chain and direction. What they are given is
checked here; patterns check themselves when they are made.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
from ctypes import addressof

import torch
from torch import Tensor

from plugins.execution.linear.library import Link, available, loaded
from plugins.execution.linear.tape import LANES, TapeLayout
from plugins.execution.pattern.index import Pattern

__all__ = ["LANES", "available", "backward", "forward", "tape_size"]


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
    """``layers`` on ``x`` ``[B, K]``, one after the other, a ReLU after those with ``relu``.

    ``weights[i]`` ``[nnz]`` in the order of ``layers[i]``, ``biases[i]`` ``[N]``, None or empty;
    all contiguous, on the CPU, float32 or all float64. With ``bf16`` (float32 only) the
    factors of every product are rounded to bfloat16; sums and biases are not.

    Returns ``y`` ``[B, N]`` of the last layer, and a flat tensor for :func:`backward` (empty
    unless ``keep``).

    Raises:
        ValueError: sizes, types or memory layouts do not fit.
    """
    _check(layers, weights, relu, x, layers[0].shape[1])
    for layer, bias in zip(layers, biases, strict=True):
        if bias is not None and bias.numel():
            _check_tensor("a bias", bias, (layer.shape[0],), x.dtype)
    layout = TapeLayout.of(layers, relu, x.shape[0], x.dtype)
    weights = _rounded(weights, bf16)
    y = x.new_empty(x.shape[0], layers[-1].shape[0])
    tape = x.new_empty(layout.size)
    last = tape if relu[-1] else x.new_empty(layout.packed(layers[-1].shape[0]))
    links = layout.links(layers, weights, relu, tape, last)
    for link, bias in zip(links, biases, strict=True):
        link.bias = bias.data_ptr() if bias is not None and bias.numel() else None
    chain = layout.chain(links, bf16)
    chain.x, chain.y = x.data_ptr(), y.data_ptr()
    loaded().openwork_linear_forward(addressof(chain))
    return y, tape if keep else tape.new_empty(0)


def backward(  # noqa: PLR0913  (what a chain's gradient depends on)
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
    """Gradients of a chain, from that of its output ``dy`` ``[B, N]`` and the ``tape``.

    ``need[i]`` asks for those of weight and bias of layer i. Returns that of ``x`` (None unless
    ``need_x``), of the weights ``[nnz]`` and of the biases ``[N]`` (None where not asked for).

    Raises:
        ValueError: sizes, types or memory layouts do not fit.
    """
    _check(layers, weights, relu, dy, layers[-1].shape[0])
    layout = TapeLayout.of(layers, relu, batch, dy.dtype)
    _check_tensor("the tape", tape, (layout.size,), dy.dtype)
    if dy.shape[0] != batch or len(need) != len(layers):
        raise ValueError(f"a batch of {batch} and {len(layers)} layers need as many gradients")
    dx = dy.new_empty(batch, layers[0].shape[1]) if need_x else None
    weights = _rounded(weights, bf16)
    links = layout.links(layers, weights, relu, tape, tape)
    results = [
        (dy.new_empty(layer.nnz), dy.new_empty(layer.shape[0])) if needed else (None, None)
        for layer, needed in zip(layers, need, strict=True)
    ]
    for link, (dweight, dbias) in zip(links, results, strict=True):
        link.weight_gradient, link.bias_gradient = _address(dweight), _address(dbias)
    held = _link_gradients(links, layers, layout, dy, [need_x, *need])
    scratch = dy.new_empty(max(layer.nnz for layer in layers))
    chain = layout.chain(links, bf16)
    chain.dy, chain.dx, chain.scratch = dy.data_ptr(), _address(dx), scratch.data_ptr()
    loaded().openwork_linear_backward(addressof(chain))
    del held  # the memory was in use until here
    return dx, [dweight for dweight, _ in results], [dbias for _, dbias in results]


def _link_gradients(
    links: ctypes.Array[Link],
    layers: Sequence[Pattern],
    layout: TapeLayout,
    like: Tensor,
    needed: Sequence[bool],
) -> list[Tensor]:
    """Give layers room for the gradients between them, as far down as one is ``needed``.

    ``needed[i]``: of what comes before layer i. The caller must hold the result.
    """
    held = [like.new_empty(layout.packed(layers[-1].shape[0]))]
    for i in reversed(range(len(layers))):
        links[i].output_gradient = held[-1].data_ptr()
        if not any(needed[: i + 1]):
            break
        held.append(like.new_empty(layout.packed(layers[i].shape[1])))
        links[i].input_gradient = held[-1].data_ptr()
    return held


def tape_size(batch: int, inputs: int, outputs: Sequence[int], relu: Sequence[bool]) -> int:
    """Numbers on the tape of a chain with so many ``outputs`` of each layer."""
    return TapeLayout.sized([inputs, *outputs], relu, batch, torch.float32).size


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _rounded(weights: Sequence[Tensor], bf16: bool) -> Sequence[Tensor]:
    """As factors of products; the caller must hold them until the call is over."""
    if not bf16:
        return weights
    if weights[0].dtype is not torch.float32:
        raise ValueError(f"bfloat16 products need float32 weights, got {weights[0].dtype}")
    return [weight.bfloat16().float() for weight in weights]


# --- checks -----------------------------------------------------------------------------


def _check(
    layers: Sequence[Pattern],
    weights: Sequence[Tensor],
    relu: Sequence[bool],
    rows: Tensor,
    features: int,
) -> None:
    """Whether layers follow one another, with their weights, and ``rows`` are ``[B, features]``."""
    if not len(layers) == len(weights) == len(relu) > 0:
        raise ValueError("a chain has as many weights and ReLUs as layers, and at least one")
    if rows.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"a batch must be float32 or float64, got {rows.dtype}")
    if rows.dim() != 2 or rows.shape[0] < 1:
        raise ValueError(f"a batch must be [B, {features}], B >= 1, got {list(rows.shape)}")
    _check_tensor("a batch", rows, (rows.shape[0], features), rows.dtype)
    for layer, weight in zip(layers, weights, strict=True):
        _check_tensor(f"the weights of {layer}", weight, (layer.nnz,), rows.dtype)
    for one, following in itertools.pairwise(layers):
        if one.shape[0] != following.shape[1]:
            raise ValueError(f"{following} cannot follow {one}")


def _check_tensor(name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} must have shape {list(shape)}, got {list(tensor.shape)}")
    if tensor.dtype is not dtype:
        raise ValueError(f"{name} must be {dtype}, got {tensor.dtype}")
    if not (tensor.device.type == "cpu" and tensor.is_contiguous()):
        raise ValueError(f"{name} must be contiguous and on the CPU")
