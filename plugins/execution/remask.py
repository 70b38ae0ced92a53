"""What other masks do to networks that are being trained: to layers, and to optimizers' state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn

from core.api import Refreshable, shaped_like
from plugins.execution.convert import compact_like, convertible, dense_like, give, replaced
from plugins.execution.linear.sparse_linear import SparseLinear
from plugins.execution.pattern import order
from plugins.execution.pattern.build import pattern_of

if TYPE_CHECKING:
    from plugins.execution.pattern.index import Pattern

Change = Callable[[Tensor], Tensor]
"""A weight, or what is remembered of it with leading dimensions, from one form to another."""


def reformable(networks: Sequence[nn.Module], name: str) -> bool:
    """Whether the weight ``name`` may change its form in all of these networks.

    A network that is a layer itself keeps its form: whoever has it would not find out.
    """
    return "." in name and all(convertible(network, name) for network in networks)


def is_compact(network: nn.Module, name: str) -> bool:
    """Whether the parameter ``name`` is stored compactly."""
    path, _, attribute = name.rpartition(".")
    return attribute == "weight" and isinstance(network.get_submodule(path), SparseLinear)


@final
class Weight:
    """One weight of a network and of its copies.

    The parameter objects stay, with other data, so that optimizers know them; gradients that
    they hold are dropped. What optimizers remember of them goes where they go.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        name: str,
        optimizers: Sequence[torch.optim.Optimizer],
    ) -> None:
        self._networks, self._optimizers = networks, optimizers
        path = name.rpartition(".")[0]
        self._layers = [network.get_submodule(path) for network in networks]

    def store(self, mask: Tensor, **options: bool) -> None:
        """Make it compact with this mask, whatever it is now; what begins to live is zero.

        ``options`` are :class:`SparseLinear`'s, for layers that are dense.
        """
        pattern = pattern_of(mask)
        self._change(lambda layer: _storing(layer, pattern))
        for network, layer in zip(self._networks, self._layers, strict=True):
            if isinstance(layer, SparseLinear):
                layer.exchange_pattern(pattern)
            else:
                replaced(network, layer, compact_like(layer, pattern, **options))

    def expand(self) -> None:
        """Make it dense, zero where it was removed."""
        self._change(_expanding)
        for network, layer in zip(self._networks, self._layers, strict=True):
            replaced(network, layer, dense_like(layer))

    def _change(self, changing: Callable[[nn.Module], Change]) -> None:
        made: dict[int, Change] = {}  # copies share a pattern: where entries go is found once
        for layer in self._layers:
            key = layer.pattern.number if isinstance(layer, SparseLinear) else 0
            if key not in made:
                made[key] = changing(layer)
            weight = layer.get_parameter("weight")
            change_state(self._optimizers, weight, made[key])
            weight.grad = None
            give(weight, made[key](weight.data))


def _storing(layer: nn.Module, pattern: Pattern) -> Change:
    """From the form that ``layer`` has to the order of ``pattern``."""
    if isinstance(layer, SparseLinear):
        return layer.pattern.carrying(pattern)
    pattern.expect(layer.get_parameter("weight").shape, pattern.nnz)
    places = pattern.positions()
    return lambda matrix: order.gathered(matrix.flatten(-2), places)


def _expanding(layer: nn.Module) -> Change:
    """From the form that ``layer`` has to matrices."""
    if not isinstance(layer, SparseLinear):
        return lambda matrix: matrix
    pattern = layer.pattern
    places = pattern.positions()

    def expanded(values: Tensor) -> Tensor:
        flat = order.scattered(values, places, pattern.shape.numel())
        return flat.view(*values.shape[:-1], *pattern.shape)

    return expanded


# --- what optimizers remember -----------------------------------------------------------


def change_state(
    optimizers: Iterable[torch.optim.Optimizer],
    parameter: nn.Parameter,
    change: Callable[[Tensor], Tensor],
) -> None:
    """Put ``change(state)`` for every state tensor shaped like ``parameter``.

    Call it while ``parameter`` has the shape that its state has.
    """
    for optimizer in optimizers:
        state = optimizer.state.get(parameter, {})
        for name, value in state.items():
            if isinstance(value, Tensor) and shaped_like(value, parameter):
                state[name] = change(value)


def refresh(optimizers: Iterable[torch.optim.Optimizer]) -> None:
    """Tell them that state or parameters' data were replaced."""
    for optimizer in optimizers:
        if isinstance(optimizer, Refreshable):
            optimizer.refresh()
