"""Between a network with dense weights and one that stores the kept entries only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from plugins.execution.linear.sparse_linear import SparseLinear, is_watched
from plugins.execution.pattern.build import pattern_of
from plugins.execution.pattern.index import Pattern

Wanted = Callable[[str, torch.Size, float], bool]
"""Whether to store a layer compactly, by its parameter's name, shape and density."""


def convertible(module: nn.Module, name: str) -> bool:
    """Whether the parameter ``name`` is the weight of a linear layer that may change its form.

    That is a plain one, dense or compact. It may not if another layer has the same weight, or
    if hooks watch the layer: a layer of another kind would run without them.
    """
    path, _, attribute = name.rpartition(".")
    owner = module.get_submodule(path)
    if attribute != "weight" or type(owner) not in (nn.Linear, SparseLinear) or is_watched(owner):
        return False
    return sum(other is owner.weight for other in _every_parameter(module)) == 1


def convert(
    module: nn.Module,
    masks: Mapping[str, Tensor],
    wanted: Wanted,
    **options: bool,
) -> tuple[nn.Module, list[str]]:
    """Replace linear layers by compact ones, where ``masks`` remove something.

    The parameter objects stay, with other data; a dense weight is freed before the next one is
    looked at. ``options`` are :class:`SparseLinear`'s.

    Returns:
        the module (another one if it was a layer itself), and the names of the weights that
        are compact now.
    """
    done = []
    for name, mask in masks.items():
        if convertible(module, name) and is_wanted(name, mask, wanted):
            layer, pattern = module.get_submodule(_path(name)), pattern_of(mask)
            weight = layer.get_parameter("weight")
            give(weight, pattern.compacted(weight.data))
            module = replaced(module, layer, compact_like(layer, pattern, **options))
            done.append(name)
    return module, done


def is_wanted(name: str, mask: Tensor, wanted: Wanted) -> bool:
    """Whether a weight with this mask can and should be compact."""
    density = mask.count_nonzero().item() / mask.numel()
    # A weight that keeps nothing has no numbers to name.
    return 0 < density < 1 and wanted(name, mask.shape, density)


def compact_like(layer: nn.Module, pattern: Pattern, **options: bool) -> SparseLinear:
    """A compact layer of the parameters of ``layer``, whose weight is in compact order."""
    weight, bias = layer.get_parameter("weight"), layer._parameters["bias"]
    return SparseLinear(pattern, weight, bias, **options).train(layer.training)


def dense_like(layer: nn.Module) -> nn.Linear:
    """A dense layer of the parameters of ``layer``, whose weight is a matrix."""
    weight, bias = layer.get_parameter("weight"), layer._parameters["bias"]
    outputs, inputs = weight.shape
    made = nn.Linear(inputs, outputs, bias=bias is not None, device="meta")  # draws no numbers
    made.weight = weight
    made.register_parameter("bias", bias)
    return made.train(layer.training)


def replaced(module: nn.Module, old: nn.Module, new: nn.Module) -> nn.Module:
    """``module`` with ``new`` wherever ``old`` was; another module if that was itself ``old``."""
    if old is module:
        return new
    for parent in module.modules():
        for name, child in parent._modules.items():
            if child is old:
                parent._modules[name] = new
    return module


def _path(name: str) -> str:
    """Of the module that has the parameter ``name``."""
    return name.rpartition(".")[0]


def give(parameter: nn.Parameter, data: Tensor) -> None:
    """Make ``data``, perhaps of another shape, that of ``parameter``, which remains a leaf.

    A graph that somebody holds keeps the parameter's node in it alive, which would go on
    demanding gradients of the former shape; a change of type makes autograd forget it.
    """
    other = torch.float32 if data.dtype is torch.bfloat16 else torch.bfloat16
    parameter.data = data.new_empty(0, dtype=other)
    parameter.data = data


def _every_parameter(module: nn.Module) -> Iterator[nn.Parameter | None]:
    """As often as there are layers that have it."""
    for part in module.modules():
        yield from part._parameters.values()


@torch.no_grad()
def flatten(module: nn.Module) -> None:
    """Lay the parameters side by side: views of one vector, in the module's order.

    Left as they are where they differ in type or device.
    """
    parameters = list(module.parameters())
    if len(Counter((p.dtype, p.device) for p in parameters)) != 1:
        return
    vector = parameters[0].new_empty(sum(p.numel() for p in parameters))
    at = 0
    for parameter in parameters:
        view = vector[at : at + parameter.numel()].view(parameter.shape)
        view.copy_(parameter)
        parameter.data = view
        at += parameter.numel()


def described(layer: SparseLinear) -> dict[str, Any]:
    """A compact layer in plain Python, for the run's record."""
    pattern: Pattern = layer.pattern
    return {
        "choice": "compact",
        "form": "blocks of 16 x 16" if pattern.kind else "panels",
        "shape": list(pattern.shape),
        "density": round(pattern.density, 6),
        "panel": pattern.panel,
        "block": pattern.block,
        "bytes": pattern.bytes + layer.weight.nbytes,
    }
