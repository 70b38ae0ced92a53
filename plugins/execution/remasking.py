"""What other masks do to an optimizer's state."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from core.api import Refreshable


def change_state(
    optimizers: Iterable[torch.optim.Optimizer],
    parameter: nn.Parameter,
    change: Callable[[Tensor], Tensor],
) -> None:
    """Put ``change(state)`` for every state tensor shaped like ``parameter``.

    That is of its shape, perhaps with leading dimensions (traces of several environments).
    Call it while ``parameter`` has the shape that its state has.
    """
    for optimizer in optimizers:
        state = optimizer.state.get(parameter, {})
        for name, value in state.items():
            if isinstance(value, Tensor) and _ends_with(value.shape, parameter.shape):
                state[name] = change(value)


def refresh(optimizers: Iterable[torch.optim.Optimizer]) -> None:
    """Tell them that state or parameters' data were replaced."""
    for optimizer in optimizers:
        if isinstance(optimizer, Refreshable):
            optimizer.refresh()


def _ends_with(shape: torch.Size, end: torch.Size) -> bool:
    return len(shape) >= len(end) and shape[len(shape) - len(end) :] == end
