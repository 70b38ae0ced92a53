"""Tiny networks with masks, beside the dense ones that they must equal, for execution backends."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from core.agent.randomness import seed_everything, untouched_randomness
from core.api.environments import EnvironmentSpec
from core.api.layers import compact_owner, dense
from core.api.networks import NetworkContext
from core.api.optimizers import OptimizerContext
from plugins.testing.harness import catalogue

if TYPE_CHECKING:
    from torch import Tensor, nn

    from core.api.networks import Networks
    from core.plugins import Plugins

STATES = EnvironmentSpec((7,), 3)
PIXELS = EnvironmentSpec((3, 20, 20), 2, pixels=True, frame_stack=3)
DENSITY = 0.4
_SIMBA = {"actor": {"width": 12, "blocks": 1}, "critic": {"width": 16, "blocks": 1}}
_DRQ = {"channels": 4, "feature_dim": 5, "actor": {"hidden": 8}, "critic": {"hidden": 8}}
_STREAM = {"width": 14, "time_input": False, "sparse_init": {"sparsity": 0.2}}


@dataclass(frozen=True)
class Kind:
    """A kind of network: who makes it, and what it is called with."""

    network: str
    options: Mapping[str, Any]
    spec: EnvironmentSpec
    make: Callable[[Networks], Any]
    inputs: tuple[tuple[int, ...], ...]
    role: str


def _actor(networks: Networks) -> Any:
    return networks.actor({"mean": 3, "spread": 3})


KINDS = {
    "a SimBa actor": Kind("simba", _SIMBA, STATES, _actor, ((7,),), "actor"),
    "two SimBa critics": Kind(
        *("simba", _SIMBA, STATES, lambda n: n.critic(2), ((7,), (3,)), "critic")
    ),
    "a convolutional encoder": Kind(
        *("drq_cnn", _DRQ, PIXELS, lambda n: n.encoder(), ((3, 20, 20),), "encoder")
    ),
    "a streaming actor": Kind("stream_mlp", _STREAM, STATES, _actor, ((7,),), "actor"),
    "a streaming critic": Kind(
        *("stream_mlp", _STREAM, STATES, lambda n: n.critic(1, action=False), ((7,),), "critic")
    ),
}
ROWS = ("a streaming actor", "a streaming critic")


@dataclass
class Pair:
    """A dense network with zeros where its masks remove weights, and the one attached."""

    name: str
    oracle: nn.Module
    module: nn.Module
    masks: dict[str, Tensor]
    execution: Any
    plugins: Plugins

    def inputs(self, rows: int, seed: int = 0) -> list[Tensor]:
        """Random inputs of the network."""
        draw = torch.Generator().manual_seed(seed)
        return [torch.randn(rows, *shape, generator=draw) for shape in KINDS[self.name].inputs]

    def optimizer(self, name: str, module: nn.Module) -> Any:
        """A built-in optimizer of the module's parameters."""
        values = {"adamw": {"lr": 1e-3, "weight_decay": 0.1}, "obgd": {"lr": 1.0}}[name]
        context = OptimizerContext(torch.device("cpu"))
        factory = catalogue.build(self.plugins, "optimizers", name, values, context)
        return factory(list(module.parameters()), {}, KINDS[self.name].role)

    def train(self, module: nn.Module, optimizer: Any, steps: int, first: int = 0) -> None:
        """Learn from random inputs; the oracle's gradients are masked by hand."""
        parameters = list(module.parameters())
        for step in range(first, first + steps):
            traced = hasattr(optimizer, "report")
            objective = outputs(module, self.inputs(1 if traced else 6, step)).pow(2).sum()
            gradients = [g.clone() for g in torch.autograd.grad(objective, parameters)]
            if module is self.oracle:
                self._mask(gradients)
            else:
                self.execution.constrain_gradients(parameters, gradients)
            if traced:
                rows = [gradient.unsqueeze(0) for gradient in gradients]
                optimizer.step(gradients=rows, delta=torch.tensor([0.3]), reset=step % 7 == 0)
                continue
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()
            for parameter in parameters:
                parameter.grad = None

    def _mask(self, gradients: Sequence[Tensor]) -> None:
        for (name, _), gradient in zip(self.oracle.named_parameters(), gradients, strict=True):
            if name in self.masks:
                gradient.mul_(self.masks[name])


def pair(
    name: str,
    plugins: Plugins,
    execution: Any,
    density: float | Callable[[str], float] = DENSITY,
    *,
    masked: bool = True,
) -> Pair:
    """A network of this kind, and the same attached to ``execution`` with the same masks."""
    kind = KINDS[name]
    with untouched_randomness():
        seed_everything(3)
        context = NetworkContext(kind.spec)
        networks = catalogue.build(plugins, "networks", kind.network, kind.options, context)
        oracle = kind.make(networks)
    masks = random_masks(oracle, density) if masked else {}
    module = copy.deepcopy(oracle)
    with torch.no_grad():
        for parameter_name, mask in masks.items():
            oracle.get_parameter(parameter_name).mul_(mask)
    given = {key: mask.clone() for key, mask in masks.items()}
    attached = execution.attach(module, given, kind.role)
    return Pair(name, oracle, attached, masks, execution, plugins)


def random_masks(
    module: nn.Module, density: float | Callable[[str], float], seed: int = 1
) -> dict[str, Tensor]:
    """Of every parameter with two or more dimensions, the same for the same seed."""
    draw = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(p.shape, generator=draw)
        < (density(name) if callable(density) else density)
        for name, p in module.named_parameters()
        if p.dim() >= 2
    }


def outputs(module: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    """All outputs of a network, flat."""
    given = module(*inputs)
    parts = given if isinstance(given, tuple) else (given,)
    return torch.cat([part.reshape(-1) for part in parts])


def gradients(module: nn.Module, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
    """Of the sum of squared outputs, by parameter, in dense form."""
    names = [name for name, _ in module.named_parameters()]
    found = torch.autograd.grad(outputs(module, inputs).pow(2).sum(), list(module.parameters()))
    return {name: dense(module, name, g) for name, g in zip(names, found, strict=True)}


def slots(module: nn.Module, name: str, optimizer: Any) -> dict[str, Tensor]:
    """What an optimizer remembers of each entry of a parameter, in dense form."""
    parameter = module.get_parameter(name)
    state = optimizer.state.get(parameter, {})
    return {
        key: dense(module, name, value)
        for key, value in state.items()
        if isinstance(value, torch.Tensor) and value.shape[-parameter.dim() :] == parameter.shape
    }


def apart(one: Tensor, other: Tensor) -> float:
    """The largest difference, relative to the largest entry."""
    one, other = one.detach(), other.detach()
    if one.shape != other.shape:
        return float("inf")
    if one.numel() == 0:
        return 0.0
    scale = max(float(one.abs().max()), 1e-12)
    return float((one - other).abs().max()) / scale


def is_compact(module: nn.Module, name: str) -> bool:
    """Whether only the kept entries of a parameter are stored."""
    return compact_owner(module, name) is not None
