"""What an agent takes of memory while it learns, reckoned without a step being taken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from core.agent.agent import Agent
    from core.api.losses import Phase
    from core.api.optimizers import OptimizerFactory


@dataclass(frozen=True)
class Footprint:
    """Bytes of what follows the weights. Activations and the data source come on top."""

    weights: int
    """Of all that some phase trains, as the backend stores it."""
    gradients: int
    """Of the phase that has most of them: phases run one after the other."""
    optimizer: int
    """Moments or eligibility traces."""
    targets: int
    """What the loss holds besides: target networks above all."""
    masks: int
    """A bit for every weight of a masked parameter."""
    index: int
    """What the backend holds besides the weights: where they belong, or masks of its own."""

    @property
    def total(self) -> int:
        return sum(vars(self).values())


def footprint(agent: Agent, make: OptimizerFactory) -> Footprint:
    """Of an agent as it was built; ``make`` is what makes its optimizers."""
    phases = [step for step in agent.learner.steps if step.parameters]
    sizes = [_bytes(step.parameters) for step in phases]
    trained = {id(p): p for step in phases for p in step.parameters}
    others = (p for p in agent.loss.parameters() if id(p) not in trained)
    states = [
        round(size * remembered(make, step.phase)) for size, step in zip(sizes, phases, strict=True)
    ]
    masks = agent.masks.masks.values()
    return Footprint(
        weights=_bytes(trained.values()),
        gradients=max(sizes, default=0),
        optimizer=sum(states),
        targets=_bytes(others),
        masks=sum(-(-of_role.shape(name).numel() // 8) for of_role in masks for name in of_role),
        index=int(agent.learner.execution.report().get("index_bytes", 0)),
    )


def remembered(make: OptimizerFactory, phase: Phase) -> float:
    """How many numbers an optimizer keeps for each weight, found out on a small one."""
    weight = nn.Parameter(torch.zeros(2, 3))
    optimizer = make([weight], phase.optimizer, phase.name)
    if phase.step is None:  # with eligibility traces there is state before the first step
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
    state: dict[str, Any] = optimizer.state[weight]
    like = [v for v in state.values() if getattr(v, "shape", ())[-2:] == weight.shape]
    return float(sum(value.nbytes for value in like) / weight.nbytes)


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)
