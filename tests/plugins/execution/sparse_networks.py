"""A small network with layers of several kinds, made sparse."""

from __future__ import annotations

import torch
from torch import nn

from plugins.execution.sparse import Sparse


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3),
        nn.Flatten(),
        nn.Linear(12, 20),
        nn.ReLU(),
        nn.Linear(20, 8, bias=False),
        nn.LayerNorm(8),
        nn.Linear(8, 2),
    )


def masks_of(module, density=0.4):
    torch.manual_seed(1)
    return {n: torch.rand(p.shape) < density for n, p in module.named_parameters() if p.ndim > 1}


def attached(**options):
    module = network()
    masks = masks_of(module)
    execution = Sparse(**options)
    return execution.attach(module, masks, "critic"), masks, execution


IMAGES = torch.randn(5, 2, 4, 4, generator=torch.Generator().manual_seed(2))
