"""What benchmarks are made of: networks, masks, backends and batches, without a preset."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from core.agent.masks import MaskSet, zero_removed
from core.api import EnvironmentSpec, ExecutionContext, NetworkContext, OptimizerContext
from plugins.execution import register_execution
from plugins.masks import register_masks
from plugins.networks import register_networks
from plugins.networks.options import SimbaSize
from plugins.optimizers import register_optimizers

CPU = torch.device("cpu")
OBSERVATIONS, ACTIONS, BATCH = 75, 21, 256
"""Together 96 inputs of a critic."""
SPEC = EnvironmentSpec((OBSERVATIONS,), ACTIONS)
BLOCK = 16
Pattern = Literal["single", "blocks"]
Masks = Mapping[str, Tensor]


def component(components: Any, name: str, context: Any, **options: Any) -> Any:
    """What the component of this name builds."""
    (found,) = [c for c in components if c.name == name]
    return found.build(found.options(**options), context)


def simba(width: int, blocks: int, actor: SimbaSize | None = None) -> Any:
    """SimBa networks with critics of this size."""
    sizes = {"critic": SimbaSize(width, blocks), "actor": actor or SimbaSize(width // 4, 1)}
    return component(register_networks(), "simba", NetworkContext(SPEC), **sizes)


def draw(role: str, network: nn.Module, sparsity: float, pattern: Pattern = "single") -> Masks:
    """Erdős-Rényi masks of a network, as presets have them, or whole blocks of 16 by 16.

    Blocks are drawn for the linear layers of the residual blocks alone, each of the same
    density; the small layers before and after stay dense.
    """
    if pattern == "single":
        scheme = component(register_masks(), "erdos_renyi", None, sparsity=sparsity)
        return MaskSet(0).draw(role, network, scheme)
    generator = torch.Generator().manual_seed(0)
    named = dict(network.named_parameters())
    return {
        name: whole_blocks(named[name].shape, 1 - sparsity, generator)
        for name in named
        if name.endswith(("expand.weight", "contract.weight"))
    }


def whole_blocks(shape: torch.Size, density: float, generator: torch.Generator) -> Tensor:
    """A mask of whole blocks, exactly this share of them."""
    rows, columns = shape
    count = rows // BLOCK * (columns // BLOCK)
    chosen = torch.zeros(count, dtype=torch.bool)
    chosen[torch.randperm(count, generator=generator)[: round(density * count)]] = True
    grid = chosen.view(rows // BLOCK, columns // BLOCK)
    return grid.repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)


def density(network: nn.Module, masks: Mapping[str, Tensor]) -> float:
    """Share of all parameters that live."""
    total = sum(p.numel() for p in network.parameters())
    removed = sum(m.numel() - int(m.count_nonzero()) for m in masks.values())
    return 1 - removed / total


def execution(name: str, batch: int = BATCH, **options: Any) -> Any:
    """A backend for the CPU."""
    context = ExecutionContext(CPU, batch_size=batch)
    return component(register_execution(), name, context, **options)


def optimizer(name: str = "adamw") -> Any:
    """A factory of optimizers."""
    return component(register_optimizers(), name, OptimizerContext(CPU))


def transitions(observations: int = OBSERVATIONS, actions: int = ACTIONS) -> TensorDict:
    """A batch of noise as a data source gives it."""
    no = torch.zeros(BATCH, 1, dtype=torch.bool)
    following = {"observation": torch.randn(BATCH, observations), "done": no, "terminated": no}
    following |= {"reward": torch.rand(BATCH, 1), "discount": torch.full((BATCH, 1), 0.99)}
    action = torch.rand(BATCH, actions) * 2 - 1
    observation = torch.randn(BATCH, observations)
    batch = {"observation": observation, "action": action, "next": following}
    return TensorDict(batch, [BATCH])


def masked_copy(network: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    """A dense copy of ``network``, removed weights zero."""
    copy = deepcopy(network)
    zero_removed(copy, masks)
    return copy


class Product(nn.Module):
    """A linear layer that multiplies its weight by its mask in every forward pass."""

    mask: Tensor

    def __init__(self, layer: nn.Linear, mask: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        # Booleans would be 2 to 4 times slower.
        self.register_buffer("mask", mask.to(layer.weight.dtype))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight * self.mask, self.bias)


def multiplied(network: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    """A copy of ``network`` that multiplies weights by masks: the usual emulation."""
    copy = masked_copy(network, masks)
    for name, mask in masks.items():
        path = name.removesuffix(".weight")
        parent, _, child = path.rpartition(".")
        layer: Any = copy.get_submodule(path)
        setattr(copy.get_submodule(parent), child, Product(layer, mask))
    return copy


@cache
def matrix_units() -> bool:
    """Whether this CPU multiplies bfloat16 matrices in AMX units."""
    info = Path("/proc/cpuinfo")
    return info.is_file() and "amx_bf16" in info.read_text()
