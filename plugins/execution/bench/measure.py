"""What ``bench-execution`` measures: a SimBa block in every form, on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import final

import torch
from torch import Tensor, nn

from core.api import in_turn
from plugins.execution.auto import machine
from plugins.execution.auto.backend import setting
from plugins.execution.auto.rule import Choice, LayerShape, choose
from plugins.execution.bench.timing import Case, ratios, take_turns
from plugins.execution.linear import native_product
from plugins.execution.pattern.validate import SIDE
from plugins.execution.sparse import Sparse

DENSE, PRODUCT, MEDIUM = "dense", "weight x mask", "dense, bfloat16"
SPARSE, BLOCKS, DENSIFIED = "sparse", "sparse blocks", "densified"
LINEAR = ("expand", "contract")
EXPANSION = 4
"""Inner width of a block over its outer width."""

Key = tuple[float | None, str]
"""Sparsity (None: any) and form."""


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    widths: tuple[int, ...] = (512, 1024)
    sparsities: tuple[float, ...] = (0.8, 0.9, 0.95)
    batch: int = 256
    blocks: bool = False
    """Masks of whole 16 x 16 blocks too."""
    seconds: float = 20.0
    """Process CPU time for one width, building left out."""


@dataclass(frozen=True)
class Line:
    """One form of the block, measured; ratios are lower quartile, median, upper quartile."""

    width: int
    sparsity: float | None
    """None: of any."""
    form: str
    seconds: float
    """Process CPU time of a forward and backward pass, median."""
    than_dense: tuple[float, float, float]
    """How many times faster than the dense block."""
    than_product: tuple[float, float, float]
    """How many times faster than the block that multiplies weights by masks."""
    choice: Choice | None = None
    """What ``auto`` does with such layers."""


def _block(width: int) -> nn.ModuleDict:
    """The layers of a SimBa block (:func:`_forward`), ``[B, width] -> [B, width]``."""
    inner = EXPANSION * width
    layers = {"norm": nn.LayerNorm(width), "expand": nn.Linear(width, inner)}
    return nn.ModuleDict(layers | {"activation": nn.ReLU(), "contract": nn.Linear(inner, width)})


@final
class Product(nn.Module):
    """A linear layer that multiplies its weight by a mask, as published code does."""

    def __init__(self, linear: nn.Module, mask: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = linear.get_parameter("weight"), linear.get_parameter("bias")
        self.mask = mask.to(self.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight * self.mask, self.bias)


def measure(
    plan: Plan, told: Callable[[int, float], object] = lambda width, share: None
) -> Iterator[Line]:
    """Every width in turn; ``told`` hears which one it is at, and what share of it is done."""
    for width in plan.widths:
        cases = dict(_cases(plan, width))
        names = {str(key): case for key, case in cases.items()}
        times = take_turns(names, plan.seconds, told=partial(told, width))
        for sparsity, form in cases:
            name, dense, product = map(str, ((sparsity, form), (None, DENSE), (None, PRODUCT)))
            yield Line(
                width,
                sparsity,
                form,
                median(times[name]),
                ratios(times, dense, name),
                ratios(times, product, name),
                _choice(plan, width, (sparsity, form)),
            )


def _choice(plan: Plan, width: int, key: Key) -> Choice | None:
    sparsity, form = key
    if sparsity is None or form not in (SPARSE, BLOCKS):
        return None
    layers = tuple(_shapes(width, sparsity, form == BLOCKS).values())
    return choose(layers, setting(torch.device("cpu"), plan.batch))


def _shapes(width: int, sparsity: float, blocks: bool = False) -> dict[str, LayerShape]:
    inner, density = EXPANSION * width, 1 - sparsity
    return {
        "expand.weight": LayerShape(inner, width, density, blocks),
        "contract.weight": LayerShape(width, inner, density, blocks),
    }


def _cases(plan: Plan, width: int) -> Iterator[tuple[Key, Case]]:
    """The forms to compare, dense first."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(plan.batch, width, generator=generator, requires_grad=True)
    gradient = torch.randn(plan.batch, width, generator=generator)
    dense = _block(width)
    once = partial(_pass, x=x, gradient=gradient)
    yield (None, DENSE), partial(once, dense)
    masks = _masks(width, plan.sparsities[0], generator)
    yield (None, PRODUCT), partial(once, _multiplied(dense, masks))
    if machine.matrix_units():
        yield (None, MEDIUM), partial(_in_bfloat16, partial(once, dense))
    for sparsity in plan.sparsities:
        masks = _masks(width, sparsity, generator)
        if native_product.available() is None:
            yield (sparsity, SPARSE), partial(once, _compact(dense, masks))
            if plan.blocks:
                blocks = _masks(width, sparsity, generator, blocks=True)
                yield (sparsity, BLOCKS), partial(once, _compact(dense, blocks))
        yield (sparsity, DENSIFIED), partial(once, _compact(dense, masks, product="densified"))


def _draw(shape: LayerShape, generator: torch.Generator) -> Tensor:
    """A random mask ``[outputs, inputs]`` of this density, of whole blocks where it says so."""
    side = SIDE if shape.blocks else 1
    rows, columns = shape.outputs // side, shape.inputs // side
    kept = max(1, round(shape.density * rows * columns))
    places = torch.randperm(rows * columns, generator=generator)[:kept]
    mask = torch.zeros(rows * columns, dtype=torch.bool).index_fill_(0, places, True)
    grid = mask.view(rows, columns)
    return grid.repeat_interleave(side, 0).repeat_interleave(side, 1)


def _masks(
    width: int, sparsity: float, generator: torch.Generator, blocks: bool = False
) -> dict[str, Tensor]:
    shapes = _shapes(width, sparsity, blocks)
    return {name: _draw(shape, generator) for name, shape in shapes.items()}


def _multiplied(block: nn.ModuleDict, masks: dict[str, Tensor]) -> nn.ModuleDict:
    """Over the same weights."""
    products = {name: Product(block[name], masks[f"{name}.weight"]) for name in LINEAR}
    return nn.ModuleDict(dict(block.items()) | products)


def _compact(
    block: nn.ModuleDict, masks: dict[str, Tensor], product: str = "native"
) -> nn.ModuleDict:
    """A copy that stores what is kept."""
    copy = deepcopy(block)
    Sparse(product=product).attach(copy, masks)
    return copy


def _forward(block: nn.ModuleDict, x: Tensor) -> Tensor:
    """``x + W2 relu(W1 LN(x) + b1) + b2``."""
    norm, *inner = block.values()
    return x + in_turn(norm(x), *inner)


def _pass(block: nn.ModuleDict, x: Tensor, gradient: Tensor) -> None:
    torch.autograd.grad(_forward(block, x), [x, *block.parameters()], gradient)


def _in_bfloat16(case: Case) -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        case()
    finally:
        torch.set_float32_matmul_precision(before)
