"""What a preset builds, in numbers: how a user checks it against a paper, without training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from core.api.layers import substituted
from core.api.optimizers import OptimizerContext
from core.training.summary import count_parameters
from plugins.commands.describe.memory import Footprint, footprint

if TYPE_CHECKING:
    from tensordict import TensorDict
    from torch import Tensor

    from core.agent.agent import Agent
    from core.config import RunConfig


FLAGS = ("done", "terminated", "truncated")


@dataclass(frozen=True)
class Layer:
    """One parameter tensor."""

    name: str
    shape: tuple[int, ...]
    density: float
    """Share of its weights that live."""
    norm: float
    """Initial L2 norm, mask applied."""


@dataclass(frozen=True)
class Network:
    """One network of the agent."""

    role: str
    parameters: int
    kept: int
    norm: float
    """Initial L2 norm over all parameters, biases and norms included."""
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Description:
    """Everything that ``describe`` prints."""

    environment: str
    networks: tuple[Network, ...]
    data: str
    data_bytes: int
    batch_size: int
    update_madds: int
    """Multiply-adds of one update as executed by dense kernels: forward and backward passes of
    every phase; element-wise work, optimizer and target averaging are not counted."""
    kept_madds: int
    """Those of them that involve weights that live."""
    execution: dict[str, Any]
    """What the execution backend reports on this machine's CPU (:class:`core.api.Execution`)."""
    memory: Footprint
    """With this backend."""


def describe(config: RunConfig) -> Description:
    """Build the agent on the CPU and take its measure; nothing is collected or trained."""
    from core.agent.agent import batch_size, build_agent, build_execution
    from core.training.experiment import build_data, build_environments

    environments, cpu = build_environments(config), torch.device("cpu")
    # for one environment: what the others add is only a factor
    execution = build_execution(config, cpu)
    agent = build_agent(replace(config, count=1), environments.spec, cpu, execution=execution)
    data = build_data(config, agent, run_dir=None)
    networks = tuple(_network(agent, role) for role in agent.parts.modules)
    dense, kept = count_update(agent, batch_size(config))
    return Description(
        environment=environments.description,
        networks=networks,
        data=config.data.component.name,
        data_bytes=data.bytes,
        batch_size=batch_size(config),
        update_madds=dense,
        kept_madds=kept,
        execution=dict(execution.report()),
        memory=footprint(agent, config.optimizer.build(OptimizerContext(cpu))),
    )


def _network(agent: Agent, role: str) -> Network:
    module = agent.parts.modules[role]
    layers = tuple(
        Layer(
            name,
            tuple(agent.parts.initial[role].get(name, parameter.shape)),
            agent.masks.density(role, name),
            parameter.detach().norm().item(),
        )
        for name, parameter in module.named_parameters()
    )
    total, alive = count_parameters(agent, role)
    norm = sum(layer.norm**2 for layer in layers) ** 0.5
    return Network(role, total, alive, norm, layers)


def example_batch(agent: Agent, size: int) -> TensorDict:
    """A batch of the shapes that a data source yields (:class:`core.api.data.DataSource`)."""
    from tensordict import TensorDict

    spec = agent.spec
    kind = torch.uint8 if spec.pixels else torch.float32
    action: Tensor = torch.zeros(size, spec.action)
    if spec.discrete:
        action = torch.zeros(size, dtype=torch.int64)
    following = {
        "observation": torch.zeros(size, *spec.observation, dtype=kind),
        "reward": torch.zeros(size, 1),
        "discount": torch.ones(size, 1),
        **{flag: torch.zeros(size, 1, dtype=torch.bool) for flag in FLAGS},
    }
    observation = torch.zeros(size, *spec.observation, dtype=kind)
    return TensorDict(
        {"observation": observation, "action": action, "next": following}, batch_size=[size]
    )


def count_update(agent: Agent, batch_size: int) -> tuple[int, int]:
    """Multiply-adds of one update: all, and those with weights that live.

    The update runs on one example; every product grows with the batch. A layer's share that
    lives is its weight's density, in the forward pass and in both products of the backward.
    """
    counter = FlopCounterMode(display=False, depth=1_000)
    with dense_products(agent.loss), counter:
        _differentiate(agent, example_batch(agent, 1))
    total = counter.get_total_flops() // 2
    by_module = counter.get_flop_counts()
    removed = sum(
        (1 - density) * sum(by_module[name].values()) / 2
        for name, density in _layer_densities(agent).items()
        if name in by_module
    )
    return total * batch_size, round((total - removed) * batch_size)


@final
class DenseProduct(nn.Module):
    """Stands in for a compact layer: the arithmetic of the dense one, with a single weight."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.shape: torch.Size = layer.dense_shape
        self.weight = nn.Parameter(layer.weight.new_zeros(1, 1), layer.weight.requires_grad)
        self.bias: nn.Parameter | None = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """``[..., inputs] -> [..., outputs]``."""
        return functional.linear(x, self.weight.expand(self.shape), self.bias)


@contextmanager
def dense_products(module: nn.Module) -> Iterator[None]:
    """Inside, the compact layers of ``module`` do the arithmetic of dense ones.

    What they give is of the right shape and nothing more. No dense matrix outlives its product.
    """
    with substituted(module, DenseProduct):
        yield


def _differentiate(agent: Agent, batch: TensorDict) -> None:
    """The forward and backward passes of one update; no weight moves."""
    shared = agent.loss.prepare(batch)
    for phase in agent.loss.phases:
        parameters = [p for module in phase.modules for p in module.parameters()]
        if parameters:
            objective, _ = phase.run(shared)
            torch.autograd.grad(objective, parameters)


def _layer_densities(agent: Agent) -> dict[str, float]:
    """Density of each masked layer by the name that the counter gives it."""
    found: dict[str, float] = {}
    for role, module in agent.parts.modules.items():
        for name in agent.masks.masks.get(role, {}):
            layer = f"{type(module).__name__}.{name.removesuffix('.weight')}"
            found[layer] = agent.masks.density(role, name)
    return found
