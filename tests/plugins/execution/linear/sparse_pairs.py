"""Compact layers beside the dense ones that they must equal."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from core.api import in_turn
from plugins.execution.linear import native_product
from plugins.execution.linear.sparse_linear import SparseLinear
from plugins.execution.pattern.build import pattern_of

WAYS = [
    pytest.param(
        True,
        id="native",
        marks=pytest.mark.skipif(
            native_product.available() is not None, reason="kernels were not built"
        ),
    ),
    pytest.param(False, id="densified"),
]
"""Values of ``SparseLinear.native``."""


def random_mask(outputs: int, inputs: int, density: float) -> Tensor:
    """At least one entry is kept."""
    mask = torch.rand(outputs, inputs) < density
    mask[0, -1] = True
    return mask


def pair(
    mask: Tensor,
    *,
    bias: bool = True,
    native: bool = True,
    bf16: bool = False,
    dtype: torch.dtype = torch.float64,
) -> tuple[nn.Linear, SparseLinear]:
    """A dense layer with zeros where ``mask`` is False, and the compact one, of equal numbers."""
    outputs, inputs = mask.shape
    dense = nn.Linear(inputs, outputs, bias=bias, dtype=dtype)
    with torch.no_grad():
        dense.weight.mul_(mask)
    pattern = pattern_of(mask)
    weight = nn.Parameter(pattern.compacted(dense.weight.detach()))
    own = nn.Parameter(dense.bias.detach().clone()) if bias else None
    return dense, SparseLinear(pattern, weight, own, native=native, bf16=bf16)


class InTurn(nn.Module):
    """Layers run as networks run theirs."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        return in_turn(x, *self.layers)


def chains(
    widths: Sequence[int],
    relu: Sequence[bool],
    densities: Sequence[float],
    *,
    bias: Sequence[bool] | None = None,
    native: bool = True,
    dtype: torch.dtype = torch.float64,
) -> tuple[InTurn, InTurn]:
    """Several layers, dense and compact."""
    dense: list[nn.Module] = []
    compact: list[nn.Module] = []
    for i, density in enumerate(densities):
        mask = random_mask(widths[i + 1], widths[i], density)
        has_bias = bias is None or bias[i]
        both = pair(mask, bias=has_bias, native=native, dtype=dtype)
        for layers, layer in zip((dense, compact), both, strict=True):
            layers.extend([layer, nn.ReLU()] if relu[i] else [layer])
    return InTurn(dense), InTurn(compact)


def kept(compact: nn.Module, name: str, tensor: Tensor) -> Tensor:
    """What a dense ``tensor`` of parameter ``name`` is in the compact network."""
    path, _, attribute = name.rpartition(".")
    owner = compact.get_submodule(path)
    if attribute == "weight" and isinstance(owner, SparseLinear):
        return owner.compacted(tensor)
    return tensor
