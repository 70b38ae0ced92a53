"""A trial on this machine: layers compact against masked, forward and backward."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from core.api import in_turn
from plugins.execution.auto import cache
from plugins.execution.auto.cache import Timing
from plugins.execution.auto.machine import question
from plugins.execution.auto.rule import LayerShape, rounded
from plugins.execution.bench.timing import take_turns
from plugins.execution.masked import Masked
from plugins.execution.pattern.validate import SIDE
from plugins.execution.sparse import Sparse

if TYPE_CHECKING:
    from core.api import Execution

LARGEST, LARGEST_BATCH = 1024, 256
"""Sides and batches above these are measured at these: beyond, the ratio hardly changes."""
BUDGET = 0.08
"""Seconds of process CPU time, warming up left out."""

Masks = Mapping[str, Tensor]


def trial(chain: tuple[LayerShape, ...], batch: int) -> Timing:
    """Times of ``chain``, ReLUs between its layers, on ``[batch, inputs]``; from the cache.

    They are of layers of nearly these densities, and not of its masks, so that one trial
    serves all that are alike. No random generator of the run is drawn from.
    """
    chain, batch = tuple(map(_like, chain)), min(batch, LARGEST_BATCH)
    key = question(f"batch {batch}", *map(_named, chain))
    found = cache.recall(key)
    if found is None:
        found = measure(chain, batch)
        cache.remember(key, found)
    return found


@torch.enable_grad()
def measure(chain: Sequence[LayerShape], batch: int, budget: float = BUDGET) -> Timing:
    """The same, measured now."""
    generator = torch.Generator().manual_seed(0)
    masks = {f"{at}.weight": draw(shape, generator) for at, shape in enumerate(chain)}
    x = torch.randn(batch, chain[0].inputs, generator=generator)
    gradient = torch.randn(batch, chain[-1].outputs, generator=generator)
    ways = {}
    for name, execution in (("masked", Masked()), ("compact", Sparse())):
        layers = execution.attach(_linears(chain, generator), masks)
        turns = [part for layer in layers.children() for part in (layer, nn.ReLU())][:-1]
        ways[name] = partial(_pass, execution, turns, x.clone().requires_grad_(), gradient)
    times = take_turns(ways, budget)
    return Timing(**{name: statistics.median(seconds) for name, seconds in times.items()})


def draw(shape: LayerShape, generator: torch.Generator) -> Tensor:
    """A random mask ``[outputs, inputs]`` of this density, of whole blocks where it says so."""
    side = SIDE if shape.blocks else 1
    rows, columns = shape.outputs // side, shape.inputs // side
    kept = max(1, round(shape.density * rows * columns))
    places = torch.randperm(rows * columns, generator=generator)[:kept]
    mask = torch.zeros(rows * columns, dtype=torch.bool).index_fill_(0, places, True)
    grid = mask.view(rows, columns)
    return grid.repeat_interleave(side, 0).repeat_interleave(side, 1)


def _linears(chain: Sequence[LayerShape], generator: torch.Generator) -> nn.Module:
    """Uninitialised at first: ``nn.Linear`` as such draws from the global generator."""
    layers = nn.ModuleList()
    for shape in chain:
        layer = nn.Linear(shape.inputs, shape.outputs, device="meta").to_empty(device="cpu")
        nn.init.normal_(layer.weight, 0.0, shape.inputs**-0.5, generator)
        nn.init.zeros_(layer.bias)
        layers.append(layer)
    return layers


def _pass(execution: Execution, layers: Sequence[nn.Module], x: Tensor, gradient: Tensor) -> None:
    """Forward, backward to input and parameters, and what the backend does to gradients."""
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    y = in_turn(x, *layers)
    _, *gradients = torch.autograd.grad(y, [x, *parameters], gradient)
    execution.constrain_gradients(parameters, gradients)


def _like(shape: LayerShape) -> LayerShape:
    """What is measured for it."""
    outputs, inputs = min(shape.outputs, LARGEST), min(shape.inputs, LARGEST)
    return replace(shape, outputs=outputs, inputs=inputs, density=rounded(shape.density))


def _named(shape: LayerShape) -> str:
    kind = " in blocks" if shape.blocks else ""
    return f"{shape.outputs} x {shape.inputs} at {shape.density:g}{kind}"
