"""Probes of tiny agents for tests."""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDictBase

from core.agent.agent import Agent
from core.agent.learner import Learner
from core.agent.masks import MaskSet
from core.agent.networks import MaskedNetworks
from core.api import NetworkContext, OptimizerContext
from core.training.agent_view import CurrentAgent
from core.training.recent_transitions import RecentTransitions
from plugins.networks import register_networks
from plugins.optimizers import register_optimizers
from plugins.optimizers.options import AdamWOptions
from tests.support.agents import CPU, build, make_batch, make_execution, make_loss, spec_of


class Held:
    """A data source that always gives the same transitions."""

    def __init__(self, batch: TensorDictBase) -> None:
        self.held = batch

    def __len__(self) -> int:
        return len(self.held)

    def sample(self, size: int, seed: int) -> TensorDictBase:
        assert size <= len(self.held)
        return self.held[:size]


def make_agent(options: Any, network: Any, schemes: Any = (), seed: int = 0) -> Agent:
    """An agent as an experiment wires it, with AdamW."""
    torch.manual_seed(seed)
    spec, execution, masks = spec_of(network), make_execution(), MaskSet(1)
    networks = build(register_networks(), network, NetworkContext(spec))
    parts = MaskedNetworks(networks, masks, schemes, execution, CPU)
    loss = make_loss(options, network, parts=parts)
    make = build(register_optimizers(), AdamWOptions(), OptimizerContext(CPU))
    learner = Learner(loss, make, execution, CPU)
    return Agent(spec, parts, masks, learner, CPU)


def make_view(agent: Agent, batch: TensorDictBase | None = None, **wiring: Any) -> CurrentAgent:
    """A probe whose replay gives ``batch`` (default: 64 random transitions)."""
    held = make_batch(agent.spec, 64) if batch is None else batch
    return CurrentAgent(
        agent,
        wiring.get("data", Held(held)),  # type: ignore[arg-type]
        wiring.get("recent", RecentTransitions(0, 0.99)),
        wiring.get("environments"),  # type: ignore[arg-type]
        wiring.get("frame", 0),
        wiring.get("seed", 0),
    )
