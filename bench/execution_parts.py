"""What the parts of ``bench/execution.py`` share: networks, masks, backends, taking turns."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
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
Way = Callable[[], object]
Clock = Callable[[], float]
Times = dict[str, list[float]]
"""Seconds of one call by way, one number per round."""


# --- networks, masks and backends -------------------------------------------------------


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


# --- taking turns -----------------------------------------------------------------------


def say(text: str) -> None:
    """Progress, apart from the results."""
    print(text, file=sys.stderr, flush=True)


def clock(threads: int) -> Clock:
    """CPU time of the process; with several threads, which wait in it too, wall time."""
    return time.process_time if threads == 1 else time.perf_counter


def take_turns(ways: Mapping[str, Way], rounds: int, clock: Clock, least: float = 0.1) -> Times:
    """Seconds per call. In every round each way is called for ``least`` seconds, at least once.

    The order moves on by one from round to round. Every way was called before.
    """
    calls = {}
    for name, way in ways.items():
        started = clock()
        way()
        calls[name] = max(1, round(least / max(clock() - started, 1e-7)))
    names, times = list(ways), {name: list[float]() for name in ways}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            started = clock()
            for _ in range(calls[name]):
                ways[name]()
            times[name].append((clock() - started) / calls[name])
    return times


def spread(values: list[float]) -> tuple[float, float, float]:
    """Median and quartiles."""
    if len(values) == 1:
        return (values[0],) * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high


def times_faster(times: Times, rival: str, way: str) -> tuple[float, float, float]:
    """How many times faster than ``rival``, round by round: median and quartiles."""
    return spread([a / b for a, b in zip(times[rival], times[way], strict=True)])


def shown(ratio: tuple[float, float, float]) -> str:
    middle, low, high = ratio
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def table(title: str, headings: list[str], rows: list[list[str]]) -> None:
    """Print a table, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    print(f"\n{title}")
    for row in (headings, *rows):
        cells = [c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]
        print("  ".join([row[0].ljust(widths[0]), *cells]).rstrip(), flush=True)
