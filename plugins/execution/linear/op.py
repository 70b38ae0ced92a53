"""The operation ``openwork::sparse_chain``: compact linear layers, one after the other.

Known to autograd, to fake tensors (and so to ``torch.compile``) and to ``torch.func``. A layer's
pattern is named by a 0-d int64 tensor on the CPU (:func:`pattern.by_number`): a tensor, so
that it travels with the weights through functional calls and stacks of networks, whose slices
may each have their own; on the CPU, so that reading it waits for no device.

Autograd is a ``torch.autograd.Function`` behind the operation's autograd key, not
``register_autograd``: that costs 50 us a call more, and does not know ``torch.func.grad``.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch._functorch.utils import enable_single_level_autograd_function

from plugins.execution.linear import dense_product, native_product
from plugins.execution.linear.vmap import by_row, by_slice
from plugins.execution.pattern.index import Pattern, by_number

NAMESPACE = "openwork"
Tensors = Sequence[Tensor]
_library = torch.library.Library(NAMESPACE, "FRAGMENT")  # type: ignore[no-untyped-call]
_library.define(  # type: ignore[no-untyped-call]
    "sparse_chain(Tensor x, Tensor[] weights, Tensor[] biases, Tensor[] patterns, bool[] relu, "
    "SymInt[] outputs, bool keep, int[] lanes, bool bfloat16) -> (Tensor, Tensor)",
    tags=torch.Tag.pt2_compliant_tag,
)
_library.define(  # type: ignore[no-untyped-call]
    "sparse_chain_backward(Tensor dy, Tensor tape, Tensor[] weights, Tensor[] biases, "
    "Tensor[] patterns, bool[] relu, SymInt inputs, bool need_x, bool[] need, int[] lanes, "
    "bool bfloat16) -> (Tensor, Tensor[], Tensor[])",
    tags=torch.Tag.pt2_compliant_tag,
)
_forward_op = torch.ops.openwork.sparse_chain.default
_backward_op = torch.ops.openwork.sparse_chain_backward.default


def sparse_chain(  # noqa: PLR0913
    x: Tensor,
    weights: list[Tensor],
    biases: list[Tensor],
    patterns: list[Tensor],
    relu: list[bool],
    outputs: list[int],
    *,
    native: bool = True,
    bfloat16: bool = False,
) -> Tensor:
    """``x`` ``[B, inputs]`` through the layers: ``[B, outputs[-1]]``.

    Args:
        x: contiguous or not, of the weights' type.
        weights: ``[nnz]`` each, in the order of its pattern.
        biases: ``[outputs]`` each; an empty tensor for none.
        patterns: their numbers, 0-d int64 tensors on the CPU.
        relu: whether a ReLU follows each layer.
        outputs: features that each layer gives.
        native: by the compiled kernels, where these can.
        bfloat16: round both factors of every product to bfloat16; sums are float32.

    Raises:
        ValueError: a pattern is not that of its weight, or is none of this process's.
    """
    keep = torch.is_grad_enabled()
    lanes = lanes_of(x.device.type, x.dtype, bfloat16) if native else []
    arguments = (weights, biases, patterns, relu, outputs, keep, lanes, bfloat16)
    y: Tensor = _forward_op(x, *arguments)[0]
    return y


@torch.compiler.assume_constant_result
def lanes_of(device: str, dtype: torch.dtype, bfloat16: bool) -> list[int]:
    """How many rows the compiled kernels pack together; empty where they cannot be used.

    An argument of the operation, so that a compiled graph on disk, which knows the length of
    the tape, is not taken for one of other kernels.
    """
    dtypes = (torch.float32,) if bfloat16 else (torch.float32, torch.float64)
    usable = device == "cpu" and dtype in dtypes and native_product.available() is None
    return list(native_product.LANES) if usable else []


# --- what the operations do with tensors, and with fakes of them ------------------------


def _product(lanes: Sequence[int]) -> ModuleType:
    return native_product if lanes else dense_product


def _forward(
    x: Tensor, weights: Tensors, biases: Tensors, patterns: Tensors, *settings: Any
) -> Any:
    """``[B, outputs[-1]]``, and the tape for :func:`_backward`, empty unless ``keep``.

    Raises:
        ValueError: a pattern is not that of its weight, or is none of this process's.
    """
    relu, outputs, keep, lanes, bf16 = settings
    layers = _layers(x, weights, biases, patterns, outputs)
    if not len(x):
        return x.new_empty(0, outputs[-1]), x.new_empty(0)
    given = [bias if bias.numel() else None for bias in biases]
    return _product(lanes).forward(
        layers, weights, given, relu, x.contiguous(), keep=keep, bf16=bf16
    )


def _layers(
    x: Tensor, weights: Tensors, biases: Tensors, patterns: Tensors, outputs: Sequence[int]
) -> list[Pattern]:
    """The patterns, if they are those of these weights."""
    layers, width = [], x.shape[1]
    for number, weight, bias, following in zip(patterns, weights, biases, outputs, strict=True):
        layer = by_number(int(number))
        layer.expect((following, width), weight.numel())
        if weight.dtype is not x.dtype or bias.dtype is not x.dtype:
            raise ValueError(f"{layer}: weight {weight.dtype}, bias {bias.dtype}, input {x.dtype}")
        if bias.numel() not in (0, following):
            raise ValueError(f"{layer}: a bias of {bias.numel()}")
        layers.append(layer)
        width = following
    return layers


def _forward_fake(
    x: Tensor, weights: Tensors, biases: Tensors, patterns: Tensors, *settings: Any
) -> Any:
    relu, outputs, keep, lanes, _ = settings
    batch, inputs = x.shape
    size = _product(lanes).tape_size(batch, inputs, outputs, relu) if keep else 0
    return x.new_empty(batch, outputs[-1]), x.new_empty(size)


def _backward(
    dy: Tensor, tape: Tensor, weights: Tensors, biases: Tensors, patterns: Tensors, *settings: Any
) -> Any:
    """Gradients of the input, the weights and the biases; empty where not needed."""
    relu, inputs, need_x, need, lanes, bf16 = settings
    layers = [by_number(int(number)) for number in patterns]

    def present(found: Sequence[Tensor | None]) -> list[Tensor]:
        return [dy.new_empty(0) if gradient is None else gradient for gradient in found]

    if len(dy):
        arguments = (layers, weights, relu, tape, len(dy), dy.contiguous())
        dx, dweights, dbiases = _product(lanes).backward(
            *arguments, need_x=need_x, need=need, bf16=bf16
        )
    else:
        dx = dy.new_empty(0, inputs) if need_x else None
        dweights, dbiases = (
            [torch.zeros_like(t) if n else None for t, n in zip(group, need, strict=True)]
            for group in (weights, biases)
        )
    dbiases = [d if b.numel() else None for d, b in zip(dbiases, biases, strict=True)]
    return present([dx])[0], present(dweights), present(dbiases)


def _backward_fake(
    dy: Tensor, tape: Tensor, weights: Tensors, biases: Tensors, patterns: Tensors, *settings: Any
) -> Any:
    _, inputs, need_x, need, _, _ = settings

    def like(tensors: Tensors) -> list[Tensor]:
        return [t.new_empty(t.shape if n else 0) for t, n in zip(tensors, need, strict=True)]

    dx = dy.new_empty(dy.shape[0], inputs) if need_x else dy.new_empty(0)
    return dx, like(weights), like(biases)


# --- autograd ---------------------------------------------------------------------------


class _Differentiable(torch.autograd.function._SingleLevelFunction):
    """``apply(x, settings, n, *weights, *biases, *patterns)``, n of each of the last three."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, settings: tuple[Any, ...], n: int, *flat: Tensor) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            answer = _forward_op(x, *_thirds(flat, n), *settings)
        tape = answer[1]
        ctx.settings, ctx.n, ctx.inputs = settings, n, x.shape[1]
        ctx.save_for_backward(tape, *flat)
        ctx.mark_non_differentiable(tape)
        ctx.set_materialize_grads(False)
        return answer

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, _: Tensor | None) -> Any:
        n = ctx.n
        # x, settings, n; then the weights and the biases
        needed = ctx.needs_input_grad
        if dy is None:
            return (None,) * len(needed)
        tape, *flat = ctx.saved_tensors
        need = [needed[3 + i] or needed[3 + n + i] for i in range(n)]
        relu, _outputs, _keep, lanes, bfloat16 = ctx.settings
        rest = (relu, ctx.inputs, needed[0], need, lanes, bfloat16)
        dx, dweights, dbiases = _backward_op(dy, tape, *_thirds(flat, n), *rest)
        gradients = [dx, None, None, *dweights, *dbiases, *([None] * n)]
        return tuple([g if wanted else None for g, wanted in zip(gradients, needed, strict=True)])


def _thirds(flat: Sequence[Any], n: int) -> tuple[list[Any], list[Any], list[Any]]:
    return list(flat[:n]), list(flat[n : 2 * n]), list(flat[2 * n :])


def _autograd(
    x: Tensor, weights: Tensors, biases: Tensors, patterns: Tensors, *settings: Any
) -> Any:
    keep = settings[2]
    if not keep:
        with torch._C._AutoDispatchBelowAutograd():
            return _forward_op(x, weights, biases, patterns, *settings)
    return _applied(_Differentiable, x, settings, len(weights), *weights, *biases, *patterns)


class _Backward(torch.autograd.function._SingleLevelFunction):
    """Answers as the operation does, with its lists spread out; it refuses to be differentiated.

    Without it second derivatives would silently lose what goes through here.
    """

    @staticmethod
    def forward(ctx: Any, arguments: tuple[Any, ...], *_: Tensor) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            dx, dweights, dbiases = _backward_op(*arguments)
        return dx, *dweights, *dbiases

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise RuntimeError("second derivatives through compact layers are not implemented")


def _autograd_backward(dy: Tensor, tape: Tensor, weights: Sequence[Tensor], *rest: Any) -> Any:
    arguments = (dy, tape, weights, *rest)
    if not torch.is_grad_enabled():
        with torch._C._AutoDispatchBelowAutograd():
            return _backward_op(*arguments)
    dx, *flat = _applied(_Backward, arguments, dy, tape, *weights)
    return dx, flat[: len(weights)], flat[len(weights) :]


def _applied(function: Any, *arguments: Any) -> Any:
    if torch._C._are_functorch_transforms_active():
        with enable_single_level_autograd_function():
            return function.apply(*arguments)
    return function.apply(*arguments)


for _name, _op, _compute, _fake, _differentiable in (
    ("sparse_chain", _forward_op, _forward, _forward_fake, _autograd),
    ("sparse_chain_backward", _backward_op, _backward, _backward_fake, _autograd_backward),
):
    _library.impl(_name, _compute, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
    _library.impl(_name, _differentiable, "Autograd")  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"{NAMESPACE}::{_name}", _fake, lib=_library)
    torch.library.register_vmap(f"{NAMESPACE}::{_name}", by_slice(_op), lib=_library)
_library.impl("sparse_chain_backward", by_row(_backward_op), "Batched")  # type: ignore[no-untyped-call]
