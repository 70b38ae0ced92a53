"""Agents whose removed weights are held at zero, and the same with none of them stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from core.agent.agent import Agent
from core.agent.state import agent_state, dense_weights, restore_agent
from core.api.layers import compact_layers
from plugins.execution.masked import Masked
from plugins.execution.sparse import Sparse
from tests.support.intervened import make_agent, train

BACKENDS: dict[str, Any] = {"masked": Masked, "sparse": Sparse}


def agent_of(kind: str, backend: str, **wiring: Any) -> Agent:
    """Of one of :data:`tests.support.intervened.KINDS`."""
    agent = make_agent(kind, execution=BACKENDS[backend](), **wiring)
    assert bool(compact_layers(agent.loss)) == (backend == "sparse")
    return agent


def learned(kind: str, **wiring: Any) -> dict[str, Any]:
    """What an agent knows after a few updates."""
    agent = agent_of(kind, "sparse", **wiring)
    train(agent, 3, count=wiring.get("count", 1))
    return agent_state(agent)


def twins(kind: str, **wiring: Any) -> tuple[Agent, Agent]:
    """A masked and a sparse agent that know the very same."""
    state = learned(kind, **wiring)
    pair = agent_of(kind, "masked", seed=3, **wiring), agent_of(kind, "sparse", seed=4, **wiring)
    for agent in pair:
        restore_agent(agent, state)
    return pair


def dense(agent: Agent) -> dict[str, Tensor]:
    """Every tensor of the loss, weights as matrices."""
    return dense_weights(agent_state(agent))


def same(a: Any, b: Any) -> bool:
    """Whether two states are equal in all they hold, bit for bit."""
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, Tensor):
        return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)
    if hasattr(a, "shape"):
        return bool((a == b).all())
    return bool(a == b)
