"""Optimizers made to forget what they know of some weights, in place.

What they remember (moments, traces, counts of steps) goes to zero, where Adam, AdamW and the
optimizers with traces begin. It is zeroed where it is, not replaced: traces may be views of one
buffer, and a captured update goes on using the tensors that it saw.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from core.api import ChangeableAgent


def optimizers(agent: ChangeableAgent) -> list[torch.optim.Optimizer]:
    """Of all phases that have one."""
    return [optimizer for _, optimizer in agent.phases if optimizer is not None]


@torch.no_grad()
def forget(agent: ChangeableAgent, parameters: Collection[nn.Parameter]) -> None:
    """Forget all about ``parameters``.

    What they share with others, as the weights of one network share the count of steps under
    ``adaptive_obgd``, is kept unless all that share it are among them.
    """
    forgotten = {id(parameter) for parameter in parameters}
    for optimizer in optimizers(agent):
        kept = {
            id(value)
            for parameter, state in optimizer.state.items()
            if id(parameter) not in forgotten
            for value in state.values()
        }
        for parameter, state in optimizer.state.items():
            if id(parameter) in forgotten:
                for name, value in state.items():
                    if isinstance(value, Tensor) and id(value) not in kept:
                        value.zero_()
                    elif isinstance(value, int | float):
                        state[name] = type(value)(0)


@torch.no_grad()
def forget_entries(agent: ChangeableAgent, parameter: nn.Parameter, entries: Tensor) -> None:
    """Forget about the ``entries`` (boolean, of the parameter's shape) of one parameter.

    Counts of steps are kept, for they are of the whole parameter.
    """
    for value in _states(agent, parameter):
        dims = parameter.dim()
        if isinstance(value, Tensor) and dims and value.shape[-dims:] == parameter.shape:
            value.masked_fill_(entries, 0.0)


def _states(agent: ChangeableAgent, parameter: nn.Parameter) -> Iterator[Any]:
    for optimizer in optimizers(agent):
        yield from optimizer.state.get(parameter, {}).values()
