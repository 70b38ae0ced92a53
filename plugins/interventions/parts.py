"""What of an agent can be drawn anew, and which of its entries are the last layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from core.api import DiagnosticContext


def other_modules(context: DiagnosticContext) -> dict[str, nn.Module]:
    """What the loss learns besides its networks, such as SAC's ``temperature``, by name."""
    loss: Any = context.loss
    trained = {id(module) for phase in context.loss.phases for module in phase.modules}
    trained -= {id(network) for network in context.networks.values()}
    return {name: child for name, child in loss.named_children() if id(child) in trained}


def living(network: nn.Module, masks: Mapping[str, Tensor], names: set[str]) -> int:
    """How many weights of these parameters live."""
    return sum(
        int(masks[name].count_nonzero()) if name in masks else parameter.numel()
        for name, parameter in network.named_parameters()
        if name in names
    )


def last_layers(network: nn.Module, count: int) -> set[str]:
    """Names of the parameters of a network's last ``count`` layers with weights.

    Heads count as one layer, and so do the corresponding layers of a critic's members; norms
    belong to the layer that they follow. A network without heads or members is taken in the
    order of its modules. Layers beyond the first are the first's.
    """
    names: set[str] = set()
    for chain in _chains(network):
        left = count
        for group in reversed(chain):
            names |= {name for module in group for name in _own(network, module)}
            left -= any(_has_weights(network.get_submodule(module)) for module in group)
            if not left:
                break
    return names


def _chains(network: nn.Module) -> Iterator[list[list[str]]]:
    """Paths of the modules with parameters from input to output, side by side in groups."""
    children = {name for name, _ in network.named_children()}
    if {"trunk", "heads"} <= children:
        yield [*_in_order(network, "trunk"), [m for (m,) in _in_order(network, "heads")]]
    elif "members" in children:
        shared = _in_order(network, "projection") if "projection" in children else []
        for index, _ in network.get_submodule("members").named_children():
            yield [*shared, *_in_order(network, f"members.{index}")]
    else:
        yield _in_order(network, "")


def _in_order(network: nn.Module, path: str) -> list[list[str]]:
    """Every module below ``path`` that owns parameters, each in a group of its own."""
    part = network.get_submodule(path)
    return [
        [".".join(filter(None, (path, name)))]
        for name, module in part.named_modules()
        if any(True for _ in module.parameters(recurse=False))
    ]


def _own(network: nn.Module, path: str) -> Iterator[str]:
    for name, _ in network.get_submodule(path).named_parameters(recurse=False):
        yield ".".join(filter(None, (path, name)))


def _has_weights(module: nn.Module) -> bool:
    """Whether it is a layer, rather than a norm: one of its parameters is a matrix or more."""
    norm = isinstance(module, nn.LayerNorm | nn.GroupNorm)
    return not norm and any(p.dim() >= 2 for p in module.parameters(recurse=False))
