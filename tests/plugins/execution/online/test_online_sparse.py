"""Rows of sparse layers, SimBa's blocks and affine norms equal float64 autograd on the masked
dense network."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.execution.linear.sparse_linear import SparseLinear
from plugins.execution.online import program
from plugins.execution.online.network import CompiledNetwork
from plugins.execution.pattern import build
from plugins.execution.pattern.blocks16 import Blocks16
from plugins.optimizers.obgd import ObGD
from tests.plugins.execution.online.dense_networks import jacobian_product
from tests.plugins.execution.online.kept_networks import (
    BACKENDS,
    as_dense,
    dense_twin,
    drawn_networks,
    flat_weights,
    kept,
    perceptron,
    simba,
    some_masks,
)

torch.set_num_threads(1)


@pytest.fixture(scope="module", params=["compiled", "avx2", "plain"])
def kind(request, find):
    """The instruction set."""
    find(request.param)
    return request.param


def assert_near(got, want, scale=None, within=2e-5):
    scale = want.abs().max().item() if scale is None else scale
    assert (got.double() - want).abs().max().item() <= within * scale + 1e-12


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    drawn_networks(),
    st.sampled_from(list(BACKENDS)),
    st.sampled_from([0.0, 0.792]),
    st.sampled_from([1, 7, 16, 32, 50, 64, 100, 128, 256]),
)
def test_steps_equal_autograd(kind, drawn, backend, decay, panel):
    module, masks = drawn
    twin = dense_twin(module, masks)
    execution = BACKENDS[backend]()
    with mock.patch.object(build, "tile_sizes", return_value=(panel, panel)):
        module = execution.attach(module, masks)
    row = execution.online(module)
    assert isinstance(row, CompiledNetwork)
    trace = torch.zeros(row.parameters)
    want = torch.zeros(sum(p.numel() for p in twin.parameters()), dtype=torch.float64)
    weights = flat_weights(twin)
    for _ in range(3):
        inputs, others = torch.randn(2, row.inputs)
        gradient = torch.randn(row.outputs)
        outputs, product = jacobian_product(twin, inputs.double(), gradient.double())
        other, _ = jacobian_product(twin, others.double(), gradient.double())
        scale = max(outputs.abs().max().item(), other.abs().max().item())
        assert_near(row.forward(inputs), outputs, scale)
        both = row.forward_both(inputs, others)
        assert_near(both[0], outputs, scale)
        assert_near(both[1], other, scale)
        norm = row.accumulate(gradient, trace, decay)
        want = decay * want + product
        expected = kept(want, twin, masks)
        scale = want.abs().max().item()
        for name, part in as_dense(trace, module).items():
            assert_near(part, expected[name], scale, 1e-4)
            assert not part[expected[name] == 0].double().abs().gt(1e-5 * scale).any()
        assert norm == pytest.approx(trace.double().abs().sum().item(), rel=1e-6)
        row.move(trace, -0.01)
        for name, parameter in twin.named_parameters():
            moved = as_dense(trace, module)[name].double()
            parameter.data.add_(moved, alpha=-0.01)
        got = as_dense(flat_weights(module), module)
        for name, parameter in twin.named_parameters():
            assert_near(got[name], parameter, weights.abs().max().item(), 1e-6)


def test_a_removed_weight_never_moves_and_a_masked_norm_is_exact(kind):
    torch.manual_seed(0)
    module = simba(9, 32)
    masks = some_masks(module, 0.2)
    execution = BACKENDS["masked"]()
    row = execution.online(execution.attach(module, masks))
    trace = torch.zeros(row.parameters)
    for _ in range(20):
        row.forward(torch.randn(9))
        norm = row.accumulate(torch.randn(1), trace, 0.8)
        row.move(trace, 0.1 / norm)
    for name, mask in masks.items():
        assert not module.get_parameter(name)[~mask].any()
        assert not as_dense(trace, module)[name][~mask].any()


def a_walk(backend, module, masks, steps, seed=1):
    """ObGD updates on transitions of noise; the weights in the dense order at the end."""
    execution = BACKENDS[backend]()
    module = execution.attach(module, masks)
    row = execution.online(module)
    optimizer = ObGD(module.parameters(), 1.0, 0.99, 0.8, 2.0)
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        now, then = torch.randn(2, row.inputs, generator=generator)
        value, following = row.forward_both(now, then)
        delta = torch.randn((), generator=generator).item() + 0.99 * following.item() - value.item()
        optimizer.online_step(row, -torch.ones(1), delta, reset=step % 50 == 49)
    return as_dense(flat_weights(module), module)


@pytest.mark.parametrize("blocks", [False, True])
def test_many_updates_by_sparse_and_by_masked_networks_are_within_rounding(find, blocks):
    find("compiled")

    def made():
        torch.manual_seed(0)
        return simba(12, 48)

    torch.manual_seed(3)
    masks = some_masks(made(), 0.2, blocks)
    one, other = (a_walk(backend, made(), masks, 300) for backend in BACKENDS)
    start = dict(made().named_parameters())
    moved = max((one[name] - start[name] * masks.get(name, 1)).abs().max() for name in one)
    assert moved > 0.05
    for name, weights in one.items():
        assert (weights - other[name]).abs().max() < 2e-5 * moved.item() + 1e-6, name


def test_blocks_are_stored_as_blocks_and_others_in_panels():
    torch.manual_seed(0)
    for blocks in (True, False):
        module = simba(32, 320, 1)
        BACKENDS["sparse"]().attach(module, some_masks(module, 0.2, blocks))
        layers = [m for m in module.modules() if isinstance(m, SparseLinear)]
        assert len(layers) == 4
        assert any(isinstance(m.pattern, Blocks16) for m in layers) == blocks


@pytest.mark.parametrize(("density", "blocks"), [(0.02, False), (0.3, True), (1.1, False)])
def test_the_result_does_not_hang_on_the_number_of_threads(kind, density, blocks, monkeypatch):
    """And large layers are right: more than one panel, run of rows and slice."""

    def made():
        torch.manual_seed(0)
        return simba(32, 320, 1)

    monkeypatch.setattr(program, "LARGE", 1000)
    torch.manual_seed(1)
    masks = some_masks(made(), density, blocks)
    twin = dense_twin(made(), masks)

    def run(threads):
        torch.set_num_threads(threads)
        try:
            execution = BACKENDS["sparse"]()
            module = execution.attach(made(), masks)
            row = execution.online(module)
            torch.manual_seed(2)
            trace, norms = torch.zeros(row.parameters), []
            for step in range(3):
                inputs, others = torch.randn(2, 32)
                outputs = torch.cat(row.forward_both(inputs, others))
                norms.append(row.accumulate(torch.ones(1), trace, 0.8))
                if step == 0:
                    _, product = jacobian_product(twin, inputs.double(), torch.ones(1).double())
                    expected = kept(product, twin, masks)
                    for name, part in as_dense(trace, module).items():
                        assert_near(part, expected[name], product.abs().max().item(), 1e-4)
                row.move(trace, 1e-3)
            return outputs, trace, flat_weights(module), torch.tensor(norms)
        finally:
            torch.set_num_threads(1)

    for one, two, three in zip(run(1), run(2), run(3), strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)


def test_what_is_not_finite_reaches_only_what_is_joined_to_it(kind):
    torch.manual_seed(0)
    module = perceptron(40, (50,), (3,), None, torch.nn.ReLU)
    masks = some_masks(module, 0.2)
    masks["heads.h0.weight"][:] = True
    masks["heads.h0.weight"][0, 0] = False
    joined = masks["trunk.0.weight"][:, 7]
    module = BACKENDS["sparse"]().attach(module, masks)
    row = BACKENDS["masked"]().online(module)
    inputs = torch.randn(40)
    inputs[7] = float("nan")
    outputs = row.forward(inputs)
    assert outputs.isnan().all()
    trace = torch.zeros(row.parameters)
    assert row.accumulate(torch.ones(3), trace, 0.5) != 0
    seen = as_dense(trace, module)
    expected = torch.zeros(50, 40, dtype=torch.bool)
    expected[joined, 7] = True
    assert torch.equal(seen["trunk.0.weight"].isnan(), expected)
    expected = joined.expand(3, 50) & masks["heads.h0.weight"]
    assert torch.equal(seen["heads.h0.weight"].isnan(), expected)


def test_changed_masks_are_followed(kind):
    torch.manual_seed(0)
    module = simba(10, 40)
    execution = BACKENDS["sparse"]()
    masks = some_masks(module, 0.3)
    module = execution.attach(module, masks)
    row = execution.online(module)
    optimizer = ObGD(module.parameters(), 1.0, 0.99, 0.8, 2.0)
    for change in range(3):
        for _ in range(3):
            row.forward(torch.randn(10))
            optimizer.online_step(row, torch.ones(1), 0.5)
        others = some_masks(module_shapes(), 0.1 + 0.2 * change)
        execution.remask([module], others, [optimizer])
        assert row.parameters == sum(p.numel() for p in module.parameters())
        inputs = torch.randn(10)
        outputs = module(inputs[None]).detach().flatten()
        torch.testing.assert_close(row.forward(inputs), outputs, rtol=1e-4, atol=1e-5)
        trace = torch.zeros(row.parameters)
        row.accumulate(torch.ones(1), trace, 0.0)
        _, product = jacobian_product(module, inputs, torch.ones(1))
        assert_near(trace, product.double(), within=1e-4)


def module_shapes():
    """A dense network of the shapes of the one above, to draw masks for."""
    return simba(10, 40)
