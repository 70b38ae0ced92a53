"""What other masks do to an optimizer's state."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from core.api import Refreshable, shaped_like


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
