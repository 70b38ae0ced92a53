"""Agents whose masks remove nothing at first and more and more in training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from core.agent.agent import Agent
from core.agent.masks import PackedMasks
from core.agent.state import agent_state, dense_weights, put_in_force
from plugins.execution.linear.sparse_linear import SparseLinear
from plugins.execution.masked import Masked
from plugins.execution.sparse import Sparse
from tests.support.intervened import make_agent, train, transitions

BACKENDS: dict[str, Any] = {"masked": Masked, "sparse": Sparse}
SCHEDULE = (1.0, 0.5, 0.1, 0.3)
"""Densities, one after the other; weights die, and some begin to live again."""


class Nothing:
    """Masks that keep every weight, or no masks at all."""

    target = "all"

    def __init__(self, *, absent: bool) -> None:
        self.absent = absent

    def draw(self, parameters: Any, generator: torch.Generator) -> dict[str, Tensor]:
        kept = {n: p for n, p in parameters.items() if p.ndim >= 2 and not self.absent}
        return {name: torch.ones(p.shape, dtype=torch.bool) for name, p in kept.items()}


def dense_at_first(
    kind: str, execution: Any, *, double: bool = False, absent: bool = False, **wiring: Any
) -> Agent:
    """One of :data:`tests.support.intervened.KINDS` that nothing is removed of."""
    agent = make_agent(kind, execution=execution, scheme=Nothing(absent=absent), **wiring)
    if double:
        agent.loss.double()
    assert not compact(agent.loss)
    return agent


def masks_at(agent: Agent, role: str, density: float, seed: int) -> PackedMasks:
    """Of every matrix and convolution of a network; the same for every backend."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {n: s for n, s in agent.parts.initial[role].items() if len(s) >= 2}
    masks = {n: torch.rand(s, generator=generator) < density for n, s in shapes.items()}
    for mask in masks.values() if 0 < density < 1 else ():
        mask.view(-1)[:2] = torch.tensor([True, False])  # neither all nor nothing
    return PackedMasks(masks)


def prune(agent: Agent, density: float, seed: int) -> None:
    """Other masks for every network, as core puts them in force."""
    for role in agent.parts.modules:
        put_in_force(agent, role, masks_at(agent, role, density, seed))


def train_through(
    agent: Agent, count: int = 1, updates: int = 3, schedule: Any = SCHEDULE
) -> list[dict[str, Tensor]]:
    """All tensors of the loss, weights as matrices, after the updates at each density."""
    found = []
    for seed, density in enumerate(schedule):
        prune(agent, density, seed)
        train(agent, updates, seed, count)
        found.append(snapshot(agent))
    return found


def acted_through(agent: Agent) -> list[dict[str, Tensor]]:
    """As a run does: act, then perhaps other masks, then learn from what came of the act."""
    found, observation = [], transitions(agent.spec, 1, 0)["observation"]
    agent.loss.observe(observation, torch.ones(1, dtype=torch.bool))
    for step in range(12):
        torch.manual_seed(step)
        action = agent.loss.act(observation, explore=True)
        batch = transitions(agent.spec, 1, step)
        batch["observation"], batch["action"] = observation, action
        observation = batch["next", "observation"]
        if step % 3 == 2:
            prune(agent, (1.0, 0.5, 0.1, 0.3)[step // 3], step)
        agent.learner.update(batch)
        found.append(snapshot(agent))
    return found


def snapshot(agent: Agent) -> dict[str, Tensor]:
    """Copies of all tensors of the loss, weights as matrices."""
    return {name: value.clone() for name, value in dense_weights(agent_state(agent)).items()}


def compact(module: torch.nn.Module) -> set[str]:
    """The compact layers, by path."""
    return {path for path, layer in module.named_modules() if isinstance(layer, SparseLinear)}


def distance(a: list[dict[str, Tensor]], b: list[dict[str, Tensor]]) -> float:
    """The largest difference of any entry."""
    assert len(a) == len(b)
    return max(
        (one[name].double() - other[name].double()).abs().max().item()
        for one, other in zip(a, b, strict=True)
        for name in one
    )
