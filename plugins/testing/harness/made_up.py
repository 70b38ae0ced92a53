"""Networks that a design makes, called with made-up observations."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from core.agent.masks import MaskSet
from core.api.environments import EnvironmentSpec
from core.api.execution import ExecutionContext
from core.api.networks import Networks
from plugins.testing.harness import agents
from plugins.testing.harness import catalogue as offered

ROWS, MEMBERS = 7, 3
OUTPUTS = 13
"""A number that no hidden layer has, so that a critic's heads are known by it."""
HEADS = {"mean": 3, "log_std": 2}


def modules(networks: Networks) -> dict[str, nn.Module]:
    """One of each network by role."""
    encoder = networks.encoder()
    made = {} if encoder is None else {"encoder": encoder}
    return {**made, "actor": networks.actor(HEADS), "critic": networks.critic(MEMBERS, OUTPUTS)}


def inputs(
    networks: Networks, spec: EnvironmentSpec, made: Mapping[str, nn.Module]
) -> dict[str, Any]:
    """What each network is called with, by role."""
    seen = agents.observations(spec, ROWS, seed=1)
    normaliser: Any = networks.normaliser()
    if normaliser is not None:
        normaliser.update(seen)
        seen = normaliser(seen)
    with torch.no_grad():
        features = made["encoder"](seen) if "encoder" in made else seen
    action = torch.rand(ROWS, spec.action, generator=torch.Generator().manual_seed(2)) * 2 - 1
    return {"encoder": (seen,), "actor": (features,), "critic": (features, action)}


def joined(role: str, answer: Any) -> Tensor:
    """``[B, ...]``: heads side by side, members behind the rows."""
    if role == "actor":
        return torch.cat(answer, -1)
    whole: Tensor = answer.transpose(0, 1) if role == "critic" else answer
    return whole


def _gradients(answer: Tensor, module: nn.Module) -> dict[str, Tensor | None]:
    named = dict(module.named_parameters())
    found = torch.autograd.grad(answer, list(named.values()), allow_unused=True, retain_graph=True)
    return dict(zip(named, found, strict=True))


def reached(answer: Tensor, module: nn.Module) -> set[str]:
    """The parameters in the graph of the answer, by name."""
    return {name for name, g in _gradients(answer, module).items() if g is not None}


def moved(answer: Tensor, module: nn.Module) -> set[str]:
    """The parameters whose gradient is not zero, by name."""
    found = _gradients(answer, module).items()
    return {name for name, g in found if g is not None and bool(g.any())}


def parameters(made: Mapping[str, nn.Module]) -> dict[str, nn.Parameter]:
    """Every parameter, by role and name."""
    return {f"{r}.{n}": p for r, m in made.items() for n, p in m.named_parameters()}


def weights(made: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Their values."""
    return {name: parameter.detach() for name, parameter in parameters(made).items()}


def equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Whether two sets of answers are the same, bit for bit."""
    return all(torch.equal(value, second[role]) for role, value in first.items())


def attached(made: Mapping[str, nn.Module]) -> dict[str, dict[str, nn.Module]]:
    """Copies of the networks by backend, with the same masks in force."""
    plugins, masks = offered.built_ins(), MaskSet(0)
    options = {"sparsity": 0.4, "counted": "kernels"}
    scheme = offered.build(plugins, "masks", "uniform", options, None)
    drawn = {role: masks.draw(role, module, scheme) for role, module in made.items()}
    found: dict[str, dict[str, nn.Module]] = {}
    for backend in ("masked", "sparse"):
        context = ExecutionContext(agents.CPU, ROWS)
        execution = offered.build(plugins, "execution", backend, {}, context)
        found[backend] = {
            role: execution.attach(copy.deepcopy(module), drawn[role], role)
            for role, module in made.items()
        }
    return found
