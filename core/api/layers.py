"""Layers that store the kept entries of their weight only, seen as dense ones.

Such a layer's parameter ``weight`` is a vector of its kept entries, in an order of the layer's
own, under the name that the dense matrix had. What looks at matrices goes through here and
works with dense layers alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@runtime_checkable
class Compact(Protocol):
    """A module whose parameter ``weight`` is the vector of a matrix's kept entries, ``[K]``."""

    @property
    def dense_shape(self) -> torch.Size:
        """``[outputs, inputs]`` of the matrix."""

    def expanded(self, values: Tensor) -> Tensor:
        """``[..., K]`` in the weight's order to ``[..., outputs, inputs]``, zero elsewhere."""

    def compacted(self, matrix: Tensor) -> Tensor:
        """``[..., outputs, inputs]`` to its kept entries ``[..., K]``, in the weight's order."""

    def to_portable(self, values: Tensor) -> Tensor:
        """``[..., K]`` in the weight's order to that of the kept entries, row by row."""

    def from_portable(self, values: Tensor) -> Tensor:
        """``[..., K]`` in the order of the kept entries, row by row, to the weight's."""


def compact_layers(network: nn.Module) -> dict[int, Compact]:
    """The layers within ``network`` that store their weight compactly, by the weight's ``id``."""
    return {
        id(module.get_parameter("weight")): module
        for module in network.modules()
        if isinstance(module, Compact)
    }


def compact_owner(network: nn.Module, name: str) -> Compact | None:
    """The layer that stores the parameter ``name`` of ``network`` compactly, if one does."""
    path, _, attribute = name.rpartition(".")
    owner = network.get_submodule(path)
    return owner if attribute == "weight" and isinstance(owner, Compact) else None


def dense_shape(network: nn.Module, name: str) -> torch.Size:
    """Shape of the parameter ``name`` of ``network`` as a dense network has it."""
    owner = compact_owner(network, name)
    return network.get_parameter(name).shape if owner is None else owner.dense_shape


def dense(network: nn.Module, name: str, tensor: Tensor | None = None) -> Tensor:
    """The parameter ``name``, or a ``tensor`` like it (a gradient), in its dense shape.

    Leading dimensions are kept. Itself where the layer is dense.
    """
    value = network.get_parameter(name) if tensor is None else tensor
    owner = compact_owner(network, name)
    return value if owner is None else owner.expanded(value)


def stored(network: nn.Module, name: str, tensor: Tensor) -> Tensor:
    """A ``tensor`` of the dense shape of parameter ``name``, as it would be stored."""
    owner = compact_owner(network, name)
    return tensor if owner is None else owner.compacted(tensor)


def assign_dense(network: nn.Module, name: str, matrix: Tensor) -> None:
    """Copy a dense tensor into the parameter ``name``; entries that are not kept are dropped."""
    network.get_parameter(name).data.copy_(stored(network, name, matrix.detach()))


def shaped_like(value: Tensor, parameter: Tensor) -> bool:
    """Whether ``value`` is of the parameter's shape, perhaps with leading dimensions.

    So are moments, and traces of several environments; a count of steps is not.
    """
    leading = value.dim() - parameter.dim()
    return leading >= 0 and value.shape[leading:] == parameter.shape


@contextmanager
def substituted(module: nn.Module, make: Callable[[Any], nn.Module]) -> Iterator[None]:
    """Inside, ``make(layer)`` stands in for every compact layer within ``module``."""
    found = [
        (parent, name, layer)
        for parent in module.modules()
        for name, layer in parent.named_children()
        if isinstance(layer, Compact)
    ]
    try:
        for parent, name, layer in found:
            setattr(parent, name, make(layer))
        yield
    finally:
        for parent, name, layer in found:
            setattr(parent, name, layer)


class Joining(Protocol):
    """A layer that can run together with layers that follow it."""

    def together(self, x: Tensor, layers: Sequence[nn.Module]) -> tuple[Tensor, int]:
        """``layers``, of which it is the first, on ``x``: the output of the first n, and n >= 1.

        The same numbers as one after the other, and no layer is taken along whose output
        somebody watches (a forward hook).
        """


def in_turn(x: Tensor, *layers: Any) -> Tensor:
    """``x`` through ``layers`` in turn; one that is :class:`Joining` may take others along."""
    at = 0
    while at < len(layers):
        if hasattr(layers[at], "together"):
            x, taken = layers[at].together(x, layers[at:])
            at += taken
        else:
            x = layers[at](x)
            at += 1
    return x
