"""Fixtures of the tests of plugins."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from plugins.losses import noise


@pytest.fixture
def tape(monkeypatch):
    """Every draw of noise, in order, so that an oracle can use the same."""
    drawn: list[Tensor] = []
    generator = torch.Generator().manual_seed(7)

    def record(like: Tensor) -> Tensor:
        drawn.append(torch.randn(like.shape, generator=generator, dtype=torch.float64))
        return drawn[-1].to(like)

    monkeypatch.setattr(noise, "standard_normal", record)
    return drawn
