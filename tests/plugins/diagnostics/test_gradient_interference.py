"""Gradient interference on agents of every kind, against a loop of backward calls."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from plugins.diagnostics import gradient_interference
from plugins.losses import noise
from tests.plugins.diagnostics.differentiated import (
    KINDS,
    MASKED,
    ROWS,
    diagnostic,
    gradients_of,
    make,
    phases_of,
)


def stilled(like):
    """Noise that is the same for a row by itself as for the row within a batch."""
    return torch.cos(29 * like.detach()) + 0.3


def similarities_of(agent, batch, phase):
    """Cosines, from one backward call for each transition by itself."""
    rows = []
    for i in range(len(batch)):
        gradients = gradients_of(agent, batch[i : i + 1], phase)
        rows.append(torch.cat([gradient.flatten() for gradient in gradients.values()]).double())
    vectors = torch.stack(rows).numpy()
    length = np.linalg.norm(vectors, axis=1)
    return vectors @ vectors.T / (np.outer(length, length) + 1e-8)


@pytest.mark.parametrize("memory", [10**9, 20_000, 3_000])
@pytest.mark.parametrize("sparsity", MASKED)
@pytest.mark.parametrize("kind", KINDS)
def test_interference_is_that_of_a_loop_of_backward_calls(kind, sparsity, memory, monkeypatch):
    monkeypatch.setattr(noise, "standard_normal", stilled)
    products = gradient_interference.gradient_products

    def bounded(objective, parameters, batch, masks, _):
        return products(objective, parameters, batch, masks, memory)

    monkeypatch.setattr(gradient_interference, "gradient_products", bounded)
    agent, view, batch = make(kind, sparsity)
    samples = ROWS if memory == 10**9 else 3
    found = diagnostic("gradient_interference", view, samples=samples).measure(view)
    names = phases_of(agent)
    assert set(found) == {f"{p}{end}" for p in names for end in ("", "/mean_abs", "/negative")}
    for phase in names:
        expected = similarities_of(agent, batch[-samples:], phase)
        np.testing.assert_allclose(found[phase].numpy(), expected, atol=1e-5)
        off = expected[~np.eye(samples, dtype=bool)]
        assert found[f"{phase}/mean_abs"].item() == pytest.approx(np.abs(off).mean(), abs=1e-5)
        assert found[f"{phase}/negative"].item() == pytest.approx((off < 0).mean(), abs=1e-5)
