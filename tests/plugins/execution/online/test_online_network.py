"""Rows equal autograd on one observation."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from plugins.execution.masked import Masked
from plugins.networks.modules import Actor
from tests.plugins.execution.online.dense_networks import (
    a_critic,
    an_actor,
    flat_mask,
    jacobian_product,
    networks,
    outputs_of,
    random_masks,
    stages,
)

torch.set_num_threads(1)


@pytest.fixture(scope="module", params=["compiled", "plain"])
def kind(request, find):
    """What runs the row: kernels at their best, or those of any machine."""
    find(request.param)
    return request.param


def assert_near(got, want, single=None):
    """To 1e-5 of the largest entry, or to a few times what float32 autograd itself is off by."""
    scale = want.abs().max().item() if want.numel() else 0.0
    own = 0.0 if single is None else (single.double() - want).abs().max().item()
    assert (got.double() - want).abs().max().item() <= 1e-5 * scale + 4 * own + 1e-12


@settings(max_examples=30, deadline=None, derandomize=True)
@given(networks(), st.sampled_from([0.0, 0.792, 1.0]))
def test_steps_equal_autograd(kind, drawn, decay):
    module, masks = drawn
    execution = Masked()
    execution.attach(module, masks)
    row = execution.online(module)
    assert row is not None
    keep = flat_mask(module, masks)
    trace = torch.zeros(row.parameters)
    weights = torch.cat([p.detach().flatten() for p in module.parameters()]).double()
    for _ in range(3):
        inputs, gradient = torch.randn(row.inputs), torch.randn(row.outputs)
        oracle = deepcopy(module).double()
        outputs, product = jacobian_product(oracle, inputs.double(), gradient.double())
        single_outputs, single = jacobian_product(module, inputs, gradient)
        assert_near(row.forward(inputs), outputs, single_outputs)
        before = trace.double()
        norm = row.accumulate(gradient, trace, decay)
        want = (decay * before + product) * keep
        assert_near(trace, want, (decay * before + single) * keep)
        assert not trace[keep == 0].any()
        assert norm == pytest.approx(trace.double().abs().sum().item(), rel=1e-6)
        row.move(trace, -0.01)
        weights -= 0.01 * trace.double()
        got = torch.cat([p.detach().flatten() for p in module.parameters()])
        assert_near(got, weights)
        weights = got.double()


@pytest.mark.parametrize("masked", [False, True])
def test_all_kinds_agree_and_repeat(find, masked):
    def run(kind):
        find(kind)
        torch.manual_seed(0)
        module = an_actor(27, (130, 70), (6, 6))
        execution = Masked()
        if masked:
            execution.attach(module, random_masks(module, 0.3, torch.Generator().manual_seed(1)))
        row = execution.online(module)
        trace = torch.zeros(row.parameters)
        for _ in range(5):
            outputs = row.forward(torch.randn(27)).clone()
            norm = row.accumulate(torch.randn(12), trace, 0.8)
            row.move(trace, 0.1 / norm)
        return outputs, trace, torch.tensor(norm)

    ways = run("compiled"), run("compiled"), run("plain"), run("plain")
    for first, again, second, once_more in zip(*ways, strict=True):
        assert torch.equal(first, again)
        assert torch.equal(second, once_more)
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_many_updates_move_no_removed_weight(kind):
    torch.manual_seed(0)
    module = an_actor(9, (20, 20), (2, 2))
    masks = random_masks(module, 0.2, torch.Generator().manual_seed(0))
    execution = Masked()
    execution.attach(module, masks)
    start = torch.cat([p.detach().flatten().clone() for p in module.parameters()])
    row = execution.online(module)
    trace = torch.zeros(row.parameters)
    for _ in range(200):
        row.forward(torch.randn(9))
        norm = row.accumulate(torch.randn(4), trace, 0.8)
        row.move(trace, torch.randn(()).item() / norm)
    removed = flat_mask(module, masks) == 0
    end = torch.cat([p.detach().flatten() for p in module.parameters()])
    assert removed.float().mean() > 0.7
    assert not end[removed].any()
    assert not trace[removed].any()
    assert (end != start)[~removed].all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["inputs", "gradient", "trace", "weight"])
def test_what_is_not_finite_shows_in_the_norm_and_nowhere_removed(kind, bad, where):
    torch.manual_seed(0)
    module = a_critic(20, (33, 17))
    masks = random_masks(module, 0.5, torch.Generator().manual_seed(3))
    masks["members.0.trunk.0.weight"][:, 4] = True
    execution = Masked()
    execution.attach(module, masks)
    row = execution.online(module)
    inputs, gradient, trace = torch.randn(20), torch.ones(1), torch.zeros(row.parameters)
    if where == "weight":
        with torch.no_grad():
            module.members[0].trunk[0].weight[2, 4] = bad
    else:
        {"inputs": inputs, "gradient": gradient, "trace": trace}[where][
            4 if where != "gradient" else 0
        ] = bad
    outputs = row.forward(inputs)
    norm = row.accumulate(gradient, trace, 0.8)
    assert not torch.tensor(norm).isfinite()
    assert torch.tensor(norm).isnan() or bad == float("inf")
    assert outputs.isfinite().all() == (where in ("gradient", "trace"))
    assert not trace[flat_mask(module, masks) == 0].any()


def test_a_faded_trace_becomes_zero_instead_of_subnormal(kind):
    module = an_actor()
    row = Masked().online(module)
    trace = torch.full((row.parameters,), 2e-38)
    row.forward(torch.randn(row.inputs))
    norm = row.accumulate(torch.zeros(row.outputs), trace, 0.9)
    assert norm == pytest.approx(row.parameters * 1.8e-38, rel=1e-5)
    assert row.accumulate(torch.zeros(row.outputs), trace, 0.5) == 0.0
    assert not trace.any()


def test_masks_changed_in_place_and_reapplied_are_followed(kind):
    torch.manual_seed(0)
    module = an_actor()
    name = "trunk.0.weight"
    mask = torch.rand(module.trunk[0].weight.shape) < 0.5
    execution = Masked()
    execution.attach(module, {name: mask})
    row = execution.online(module)
    kept = []
    for change in (lambda: None, mask.logical_not_, lambda: mask.fill_(True)):
        change()
        execution.reapply()
        row.forward(torch.randn(row.inputs))
        trace = torch.zeros(row.parameters)
        row.accumulate(torch.randn(row.outputs), trace, 0.0)
        kept.append(trace[: mask.numel()].view(mask.shape) != 0)
        assert torch.equal(kept[-1], mask)
    assert torch.equal(kept[0], ~kept[1])


def test_weights_are_followed_where_they_go(kind):
    torch.manual_seed(0)
    module, other = an_actor(), an_actor()
    row, inputs = Masked().online(module), torch.randn(5)
    module.load_state_dict(other.state_dict())
    torch.testing.assert_close(row.forward(inputs), outputs_of(other, inputs).detach())
    for parameter in module.parameters():
        parameter.data = parameter.data * 2
    torch.testing.assert_close(row.forward(inputs), outputs_of(module, inputs).detach())
    module.double()
    with pytest.raises(RuntimeError, match="moved or converted"):
        row.forward(inputs)


def test_the_row_does_not_draw_from_the_global_generator(kind):
    module = an_actor()
    state = torch.get_rng_state()
    assert Masked().online(module) is not None
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "bad",
    [
        torch.zeros(6),
        torch.zeros(5, dtype=torch.float64),
        torch.zeros(10)[::2],
        torch.zeros(5, device="meta"),
    ],
    ids=["size", "type", "stride", "device"],
)
def test_tensors_that_would_be_misread_are_refused(kind, bad):
    row = Masked().online(a_critic(outputs=5))
    with pytest.raises(ValueError, match="contiguous float32"):
        row.forward(bad)
    with pytest.raises(ValueError, match="contiguous float32"):
        row.accumulate(bad, torch.zeros(row.parameters), 0.5)
    with pytest.raises(ValueError, match="contiguous float32"):
        row.accumulate(torch.zeros(5), bad, 0.5)
    with pytest.raises(ValueError, match="contiguous float32"):
        row.move(bad, 0.5)


def test_layers_without_bias(kind):
    torch.manual_seed(0)
    trunk, width = stages(5, (7, 9), True, nn.LeakyReLU, bias=False)
    module = Actor(trunk, {"a": nn.Linear(width, 2, bias=False), "b": nn.Linear(width, 3)})
    row, inputs, gradient = Masked().online(module), torch.randn(5), torch.randn(5)
    outputs, product = jacobian_product(module, inputs, gradient)
    torch.testing.assert_close(row.forward(inputs), outputs)
    trace = torch.zeros(row.parameters)
    row.accumulate(gradient, trace, 0.5)
    torch.testing.assert_close(trace, product)


def test_an_infinite_output_of_relu_stays_infinite(kind):
    module = an_actor(3, (4,), (2,), norm=False, activation=nn.ReLU)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.abs_()
    inputs = torch.full((3,), 3e38)
    assert outputs_of(module, inputs).isposinf().all()
    assert Masked().online(module).forward(inputs).isposinf().all()
