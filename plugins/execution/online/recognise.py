"""Which networks run one observation at a time without autograd, as programs of simple steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from plugins.execution.linear.sparse_linear import SparseLinear

LinearLayer = nn.Linear | SparseLinear


@dataclass(frozen=True)
class Linear:
    """A linear layer, dense or sparse."""

    layer: LinearLayer
    adds: bool = False
    """Its output is added to what the last layer norm before it took: a residual connection."""


@dataclass(frozen=True)
class Norm:
    """A layer norm over the whole width, with or without weight and bias."""

    layer: nn.LayerNorm


@dataclass(frozen=True)
class Activation:
    """An activation of two straight lines."""

    slope: float
    """Below zero, at least 0: 0 is ReLU."""


Step = Linear | Norm | Activation


@dataclass(frozen=True)
class Feedforward:
    """Steps one after the other, and linear heads that all read what the last one gives."""

    steps: tuple[Step, ...]
    heads: tuple[LinearLayer, ...]

    @property
    def layers(self) -> list[nn.Module]:
        """Those with parameters, or that could have some, in the order of these."""
        return [*(s.layer for s in self.steps if not isinstance(s, Activation)), *self.heads]

    @property
    def linears(self) -> list[LinearLayer]:
        return [*(s.layer for s in self.steps if isinstance(s, Linear)), *self.heads]

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [parameter for layer in self.layers for parameter in layer.parameters()]


def recognise(module: nn.Module) -> Feedforward | None:
    """The feedforward network that a ``module`` is, by its parts' names and exact types, or None.

    An actor has a ``trunk`` and ``heads``, a critic ``members``, one here, each with a
    ``trunk`` and a ``head``. A trunk is a sequence of linear layers, layer norms, activations
    and SimBa's blocks; it begins with a linear layer. Its parameters are those of the network
    and no others, trainable, and float32 on the CPU. That nothing else happens between the
    parts cannot be seen: compare outputs (:func:`agrees`).
    """
    parts = _parts(module)
    if parts is None:
        return None
    trunk, heads = parts
    steps = _steps(list(_flat(trunk)))
    if steps is None or not heads or not all(map(_is_linear, heads)):
        return None
    net = Feedforward(steps, heads)
    same = [id(p) for p in module.parameters()] == [id(p) for p in net.parameters]
    return net if same and _fits(net) and all(map(is_plain, net.parameters)) else None


def is_plain(parameter: nn.Parameter) -> bool:
    """Whether it can be read and moved where it is."""
    return (
        parameter.is_cpu
        and parameter.dtype == torch.float32
        and parameter.is_contiguous()
        and parameter.requires_grad
    )


@torch.no_grad()
def agrees(module: nn.Module, observations: Tensor, outputs: Tensor) -> bool:
    """Whether ``module`` gives these ``outputs`` ``[B, outputs]`` for ``[B, inputs]``."""
    try:
        answer = module(observations)
    except (TypeError, RuntimeError):
        return False  # It takes something else.
    got = torch.cat(answer, -1) if isinstance(answer, tuple) else answer
    if got.numel() != outputs.numel():
        return False
    # Another function differs by far more than the order of sums does.
    within = 1e-3 * outputs.abs().max().item()
    return torch.allclose(got.reshape(outputs.shape), outputs, 0.0, within, equal_nan=True)


def _parts(module: nn.Module) -> tuple[nn.Module, tuple[LinearLayer, ...]] | None:
    """The trunk and the heads, not looked into yet."""
    parts = dict(module.named_children())
    if set(parts) == {"trunk", "heads"} and isinstance(parts["heads"], nn.ModuleDict):
        return parts["trunk"], tuple(parts["heads"].values())  # type: ignore[arg-type]
    if set(parts) == {"members"} and isinstance(parts["members"], nn.ModuleList):
        members = [dict(member.named_children()) for member in parts["members"]]
        if len(members) == 1 and set(members[0]) == {"trunk", "head"}:
            return members[0]["trunk"], (members[0]["head"],)  # type: ignore[return-value]
    return None


def _flat(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of a sequence, and of sequences in it."""
    if isinstance(module, nn.Sequential):
        for layer in module:
            yield from _flat(layer)
    else:
        yield module


def _steps(layers: list[nn.Module]) -> tuple[Step, ...] | None:
    """One or more for every layer, or None if one is something else."""
    steps: list[Step] = []
    for layer in layers:
        step = _step(layer)
        # A block adds to the buffer that it reads; an activation would miss its own output.
        block = None if steps and isinstance(steps[-1], Activation) else _block(layer)
        found = block if step is None else (step,)
        if found is None or not (steps or isinstance(step, Linear)):
            return None
        steps += found
    return tuple(steps)


def _step(layer: nn.Module) -> Step | None:
    if _is_linear(layer):
        return Linear(layer)  # type: ignore[arg-type]
    if type(layer) is nn.LayerNorm:
        return Norm(layer)
    if type(layer) is nn.ReLU:
        return Activation(0.0)
    # A layer's side is known by its output's sign.
    if type(layer) is nn.LeakyReLU and layer.negative_slope >= 0.0:
        return Activation(float(layer.negative_slope))
    return None


def _block(module: nn.Module) -> tuple[Step, ...] | None:
    """``x + contract(relu(expand(norm(x))))``, by its parts; None for other modules."""
    parts = dict(module.named_children())
    if list(parts) != ["norm", "expand", "activation", "contract"]:
        return None
    norm, expand, activation, contract = map(_step, parts.values())
    if not (
        isinstance(norm, Norm) and isinstance(expand, Linear) and isinstance(activation, Activation)
    ):
        return None
    return (
        (norm, expand, activation, Linear(contract.layer, adds=True))
        if isinstance(contract, Linear)
        else None
    )


def _is_linear(layer: nn.Module) -> bool:
    # Products of rounded factors are for batches: the kernels for rows do not round.
    return type(layer) is nn.Linear or (type(layer) is SparseLinear and not layer.bf16)


def _fits(net: Feedforward) -> bool:
    """Whether each layer reads what the one before it gives."""
    width = held = net.linears[0].in_features
    for step in net.steps:
        match step:
            case Norm(layer):
                if tuple(layer.normalized_shape) != (width,):
                    return False
                held = width
            case Linear(layer, adds):
                if layer.in_features != width or (adds and layer.out_features != held):
                    return False
                width = layer.out_features
    return all(head.in_features == width for head in net.heads)
