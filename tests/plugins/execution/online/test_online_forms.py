"""Rows of networks whose layers become others while they run."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.plugins.execution.online.dense_networks import jacobian_product
from tests.plugins.execution.online.kept_networks import BACKENDS, perceptron, simba, some_masks

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def compiled(find):
    """Rows by the compiled kernels."""
    find("compiled")


def test_layers_that_become_compact_and_dense_again_are_followed():
    torch.manual_seed(0)
    module = perceptron(10, (40, 24), (2, 1), False, nn.ReLU)
    execution = BACKENDS["sparse"]()
    assert execution.attach(module, {}) is module
    row = execution.online(module)
    shapes = perceptron(10, (40, 24), (2, 1), False, nn.ReLU)
    for density in (0.5, 0.2, 1.1, 0.3):
        masks = some_masks(shapes, density)
        execution.remask([module], masks, [])
        assert row.parameters == sum(p.numel() for p in module.parameters())
        inputs = torch.randn(10)
        outputs = torch.cat(module(inputs[None]), -1).detach().flatten()
        torch.testing.assert_close(row.forward(inputs), outputs, rtol=1e-4, atol=1e-5)
        trace = torch.zeros(row.parameters)
        row.accumulate(torch.ones(3), trace, 0.0)
        _, product = jacobian_product(module, inputs, torch.ones(3))
        torch.testing.assert_close(trace.double(), product.double(), rtol=1e-3, atol=1e-4)
        row.move(trace, 0.01)


def test_layers_that_no_row_has_are_refused():
    torch.manual_seed(0)
    module = simba(10, 40)
    row = BACKENDS["masked"]().online(module)
    module.members[0].head = nn.Bilinear(2, 20, 1)
    with pytest.raises(RuntimeError, match="layers must stay of kinds known there"):
        row.bind()
