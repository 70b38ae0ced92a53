"""Which networks the compiled kernels and NumPy can run: chains of plain linear layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Stage:
    """A linear layer, then perhaps a layer norm without parameters, then an activation."""

    linear: nn.Linear
    epsilon: float | None
    """Of the layer norm; None without one."""
    slope: float
    """Of the activation below zero: 1 is none, 0 is ReLU."""


@dataclass(frozen=True)
class Chain:
    """Hidden layers one after the other, and linear heads that all read the last."""

    hidden: tuple[Stage, ...]
    heads: tuple[nn.Linear, ...]

    @property
    def linears(self) -> list[nn.Linear]:
        """In the order of their parameters."""
        return [*(stage.linear for stage in self.hidden), *self.heads]

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [parameter for linear in self.linears for parameter in linear.parameters()]


def recognise(module: nn.Module) -> Chain | None:
    """The chain that a ``module`` is, by its parts' names and exact types, or None.

    An actor has a ``trunk`` and ``heads``, a critic ``members``, one here, each with a
    ``trunk`` and a ``head``. Its parameters are those of the chain and no others, trainable,
    and float32 on the CPU. That nothing else happens between the parts cannot be seen: compare
    outputs (:func:`agrees`).
    """
    parts = _parts(module)
    if parts is None:
        return None
    trunk, heads = parts
    hidden = _stages(list(_flat(trunk)))
    if hidden is None or not heads or any(type(head) is not nn.Linear for head in heads):
        return None
    chain = Chain(hidden, heads)
    same = [id(p) for p in module.parameters()] == [id(p) for p in chain.parameters]
    return chain if same and _fits(chain) and all(map(is_plain, chain.parameters)) else None


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


def _parts(module: nn.Module) -> tuple[nn.Module, tuple[nn.Linear, ...]] | None:
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
    if type(module) is nn.Sequential:
        for layer in module:
            yield from _flat(layer)
    else:
        yield module


def _stages(layers: list[nn.Module]) -> tuple[Stage, ...] | None:
    """``[Linear, LayerNorm?, activation?]*``, or None if it is anything else."""
    stages: list[Stage] = []
    while layers:
        linear = layers.pop(0)
        if type(linear) is not nn.Linear:
            return None
        epsilon = _epsilon(layers[0], linear.out_features) if layers else None
        if epsilon is not None:
            layers.pop(0)
        slope = _slope(layers[0]) if layers else None
        if slope is not None:
            layers.pop(0)
        stages.append(Stage(linear, epsilon, 1.0 if slope is None else slope))
    return tuple(stages)


def _epsilon(layer: nn.Module, width: int) -> float | None:
    """Of a layer norm over the whole width that has no parameters; None for other layers."""
    if type(layer) is not nn.LayerNorm or layer.elementwise_affine:
        return None
    return layer.eps if layer.normalized_shape == (width,) else None


def _slope(layer: nn.Module) -> float | None:
    """Below zero; None for other layers. A layer's side is known by its output's sign."""
    if type(layer) is nn.ReLU:
        return 0.0
    if type(layer) is nn.LeakyReLU and layer.negative_slope >= 0.0:
        return float(layer.negative_slope)
    return None


def _fits(chain: Chain) -> bool:
    """Whether each layer reads what the one before it gives."""
    width = chain.linears[0].in_features
    for stage in chain.hidden:
        if stage.linear.in_features != width:
            return False
        width = stage.linear.out_features
    return all(head.in_features == width for head in chain.heads)
