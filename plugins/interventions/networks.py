"""Which networks an intervention changes, what else can be drawn anew, and the last layers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from core.api import NetworkLayout, did_you_mean, require

if TYPE_CHECKING:
    from torch import Tensor

    from core.api import DiagnosticContext


def choose(wanted: Collection[str] | None, known: Collection[str]) -> tuple[str, ...]:
    """The networks that an option ``networks`` names, in the agent's order; None names all.

    Raises:
        OptionError: the agent has no such network, or none is named.
    """
    if wanted is None:
        return tuple(known)
    require(len(wanted) > 0, "networks", f"must name one of: {', '.join(known)}")
    for name in wanted:
        problem = f"names '{name}', which is not one of: {', '.join(known)}"
        hint = did_you_mean(name, known)
        require(name in known, "networks", f"{problem}.{hint}" if hint else problem)
    return tuple(name for name in known if name in wanted)


def other_modules(context: DiagnosticContext) -> dict[str, nn.Module]:
    """What the loss learns besides its networks, such as SAC's ``temperature``, by name."""
    loss: Any = context.loss
    trained = {id(module) for phase in context.loss.phases for module in phase.modules}
    trained -= {id(network) for network in context.networks.values()}
    return {name: child for name, child in loss.named_children() if id(child) in trained}


def count_living(network: nn.Module, masks: Mapping[str, Tensor], names: set[str]) -> int:
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
    for chain in NetworkLayout(network).chains():
        left = count
        for link in reversed(chain):
            names |= {name for path in link for name in _own(network, path)}
            left -= any(_has_weights(network.get_submodule(path)) for path in link)
            if not left:
                break
    return names


def _own(network: nn.Module, path: str) -> Iterator[str]:
    for name, _ in network.get_submodule(path).named_parameters(recurse=False):
        yield ".".join(filter(None, (path, name)))


def _has_weights(module: nn.Module) -> bool:
    """Whether it is a layer, rather than a norm: one of its parameters is a matrix or more."""
    norm = isinstance(module, nn.LayerNorm | nn.GroupNorm)
    return not norm and any(p.dim() >= 2 for p in module.parameters(recurse=False))
