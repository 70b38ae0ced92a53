"""ObGD and AdaptiveObGD against their formulas in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from plugins.optimizers.adaptive_obgd import AdaptiveObGD
from plugins.optimizers.obgd import ObGD
from tests.plugins.optimizers.obgd_oracle import (
    DOUBLE,
    OPTIMIZERS,
    SHAPES,
    TOLERANCE,
    LinearRow,
    Oracle,
    assert_close,
    flat,
    gradients,
    parameters,
    traces,
)

torch.set_num_threads(1)

# --- one step -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("delta", [0.0, 0.3, -5.0])
@pytest.mark.parametrize(("lr", "active"), [(1.0, True), (1e-3, False)])
def test_one_step_is_the_formula(lr, active, delta, dtype):
    ps = parameters(SHAPES, dtype)
    w = flat(ps)
    for p in ps:
        p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    g = flat([p.grad for p in ps])
    optimizer = ObGD(ps, lr=lr, kappa=3.0)
    optimizer.step(delta)
    m = lr * 3.0 * max(abs(delta), 1) * np.abs(g).sum()
    assert (m > 1) == active
    size = min(lr, lr / m)
    assert_close(flat(ps), w - size * delta * g, TOLERANCE[dtype])
    report = {name: value.item() for name, value in optimizer.report.items()}
    assert report == pytest.approx(
        {"trace_norm": np.abs(g).sum(), "step_size": size, "bound_active": float(active)}, rel=1e-6
    )


def test_a_step_worked_by_hand():
    """w 1, g 2, delta 3: M = 1 * 2 * 3 * 2 = 12, so the weight moves by 3 * 2 / 12."""
    p = nn.Parameter(torch.tensor([1.0], dtype=DOUBLE))
    optimizer = ObGD([p], gamma=0.5, lamda=0.5, kappa=2.0)
    p.grad = torch.tensor([2.0], dtype=DOUBLE)
    optimizer.step(3.0)
    assert p.item() == pytest.approx(0.5, rel=1e-15)
    # The trace is 0.25 * 2 + 2 = 2.5, as if the first step had not been bounded.
    optimizer.step(-1.0)
    assert optimizer.state[p]["trace"].item() == 2.5
    assert p.item() == pytest.approx(0.5 + 2.5 / (2 * 2.5), rel=1e-15)


def test_lr_cancels_while_the_bound_is_active():
    moved = []
    for lr in (0.1, 1.0, 10.0):
        ps = parameters(SHAPES)
        optimizer = ObGD(ps, lr=lr)
        optimizer.step(2.0, gradients=gradients([p.shape for p in ps], 1, np.random.default_rng(0)))
        assert optimizer.report["bound_active"] == 1
        moved.append(flat(ps))
    assert_close(moved[0], moved[1], 1e-13)
    assert_close(moved[2], moved[1], 1e-13)


def test_maximising_is_minimising_the_negative():
    down, up = parameters(SHAPES), parameters(SHAPES)
    g = gradients(SHAPES, 1, np.random.default_rng(0))
    ObGD(down).step(0.7, gradients=g)
    ObGD(up, maximize=True).step(0.7, gradients=[-x for x in g])
    np.testing.assert_array_equal(flat(down), flat(up))


def test_the_learning_rate_is_read_at_every_step():
    ps = parameters([(2,)])
    optimizer = ObGD(ps, lr=1e-3)
    halve = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    sizes = []
    for _ in range(3):
        optimizer.step(1.0, gradients=gradients([(2,)], 1, np.random.default_rng(0)))
        halve.step()
        sizes.append(optimizer.report["step_size"].item())
    assert sizes == pytest.approx([1e-3, 5e-4, 2.5e-4], rel=1e-12)


# --- sequences ----------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(
    adaptive=st.booleans(),
    shapes=st.lists(st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1, max_size=4),
    n=st.integers(1, 3),
    dtype=st.sampled_from(list(TOLERANCE)),
    lr=st.sampled_from([1.0, 0.3, 1e-3]),
    lamda=st.sampled_from([0.0, 0.8, 1.0]),
    seed=st.integers(0, 10_000),
)
def test_sequences_equal_the_formulas(adaptive, shapes, n, dtype, lr, lamda, seed):
    """Environments end, and cut their traces, each at its own times."""
    rng, ps = np.random.default_rng(seed), parameters(shapes, dtype, seed)
    options = {"lr": lr, "gamma": 0.95, "lamda": lamda, "kappa": 1.5}
    moment = {"beta2": 0.9, "eps": 1e-3} if adaptive else {}
    optimizer = OPTIMIZERS[adaptive](ps, **options, **moment, environments=n)
    oracle = Oracle(flat(ps), n, **options, **moment)
    for _ in range(6):
        g = gradients(shapes, n, rng, dtype)
        delta = rng.normal(scale=2, size=n)
        reset, cut = rng.random((2, n)) < 0.25
        flags = {"reset": torch.from_numpy(reset), "cut": torch.from_numpy(cut)}
        delta_in = torch.from_numpy(delta).to(dtype)
        oracle.step(flat(g, 1), delta_in.double().numpy(), reset, cut)
        optimizer.step(delta_in, **flags, gradients=g)
        tolerance = 10 * TOLERANCE[dtype]
        assert_close(traces(optimizer), oracle.z, tolerance)
        assert_close(flat(ps), oracle.w, tolerance)
        report = {name: value.item() for name, value in optimizer.report.items()}
        assert report["trace_norm"] == pytest.approx(np.mean(oracle.norms), rel=tolerance)
        assert report["step_size"] == pytest.approx(oracle.size, rel=tolerance)
        assert report["bound_active"] == oracle.active


@pytest.mark.parametrize("optimizer_class", OPTIMIZERS)
def test_two_episodes_of_float32_steps(optimizer_class):
    """Update with the whole trace first, empty it then; numbers and bools for flags."""
    shapes, rng, ps = (
        [(8, 5), (8,)],
        np.random.default_rng(3),
        parameters([(8, 5), (8,)], torch.float32),
    )
    adaptive = {"beta2": 0.999} if optimizer_class is AdaptiveObGD else {}
    optimizer, oracle = optimizer_class(ps), Oracle(flat(ps), **adaptive)
    for ended in (False, False, True, False, True):
        (delta,), g = rng.normal(size=1), gradients(shapes, 1, rng, torch.float32)
        for p, x in zip(ps, g, strict=True):
            p.grad = x[0]
        before = flat(ps)
        optimizer.step(float(delta), reset=ended)
        oracle.step(flat(g, 1), np.array([delta]), np.array([ended]), np.array([False]))
        assert_close(flat(ps), oracle.w, 1e-6)
        assert_close(traces(optimizer), oracle.z, 1e-6)
        assert not np.allclose(before, flat(ps))
        assert np.any(traces(optimizer)) != ended


def test_cutting_comes_before_the_gradient_and_resetting_after_the_step():
    g, kept = [torch.ones(1, 2, dtype=DOUBLE)], {}
    for name in ("neither", "cut", "reset"):
        (p,) = parameters([(2,)])
        optimizer = ObGD([p], gamma=1.0, lamda=0.5, lr=1e-3)
        optimizer.step(1.0, gradients=g)
        before = p.detach().clone()
        optimizer.step(1.0, **({} if name == "neither" else {name: True}), gradients=g)
        kept[name] = ((before - p.detach())[0].item() / 1e-3, optimizer.state[p]["trace"][0, 0])
    assert kept["neither"] == pytest.approx((1.5, 1.5))
    assert kept["cut"] == pytest.approx((1.0, 1.0))
    assert kept["reset"] == pytest.approx((1.5, 0.0))


def test_the_bound_never_scales_the_trace():
    (p,), rng, wanted = parameters([(5,)]), np.random.default_rng(0), np.zeros(5)
    optimizer = ObGD([p], gamma=0.9, lamda=0.9)
    for _ in range(10):
        (g,) = gradients([(5,)], 1, rng)
        optimizer.step(100.0, gradients=[g])
        wanted = 0.81 * wanted + g[0].numpy()
        assert optimizer.report["step_size"] < 1e-2
    assert_close(traces(optimizer)[0], wanted, 1e-14)


@pytest.mark.parametrize("optimizer_class", OPTIMIZERS)
def test_environments_never_see_each_others_traces(optimizer_class):
    (p,) = parameters([(4,)])
    optimizer, rng = optimizer_class([p], environments=3), np.random.default_rng(0)
    for _ in range(3):
        optimizer.step(torch.randn(3, dtype=DOUBLE), gradients=gradients([(4,)], 3, rng))
    before = traces(optimizer)
    optimizer.step(
        1.0, torch.tensor([False, True, False]), gradients=[torch.zeros(3, 4, dtype=DOUBLE)]
    )
    assert_close(traces(optimizer), 0.99 * 0.8 * before * [[1], [0], [1]], 1e-14)


@pytest.mark.parametrize("optimizer_class", OPTIMIZERS)
def test_removed_weights_neither_carry_traces_nor_move(optimizer_class):
    """Their gradients come as zeros: they do not count in the norm, as if they did not exist."""
    lives = torch.tensor([1.0, 0, 1, 0, 1], dtype=DOUBLE)
    (whole,), rng = parameters([(5,)]), np.random.default_rng(0)
    kept = nn.Parameter(whole.detach()[lives.bool()])
    full, small = optimizer_class([whole]), optimizer_class([kept])
    removed = whole.detach()[~lives.bool()].clone()
    for _ in range(5):
        (g,) = gradients([(5,)], 1, rng)
        full.step(1.3, gradients=[g * lives])
        small.step(1.3, gradients=[g[:, lives.bool()]])
    assert torch.equal(whole.detach()[~lives.bool()], removed)
    assert not traces(full)[0][~lives.bool().numpy()].any()
    assert_close(whole.detach()[lives.bool()].numpy(), kept.detach().numpy(), 1e-14)
    assert full.report["trace_norm"] == pytest.approx(small.report["trace_norm"].item(), rel=1e-14)


def test_a_parameter_without_a_gradient_still_follows_its_trace():
    a, b = parameters([(2,), (2,)])
    optimizer, before = ObGD([a, b], lamda=0.5, gamma=1.0), b.detach().clone()
    a.grad, b.grad = torch.ones(2, dtype=DOUBLE), torch.ones(2, dtype=DOUBLE)
    optimizer.step(1.0)
    moved, b.grad = before - b.detach(), None
    optimizer.step(1.0)
    assert optimizer.state[b]["trace"].tolist() == [[0.5, 0.5]]
    assert torch.all(before - b.detach() > moved)


@pytest.mark.parametrize("optimizer_class", OPTIMIZERS)
@pytest.mark.parametrize("delta", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("environments", [1, 2])
def test_a_non_finite_error_is_not_hidden(optimizer_class, delta, environments):
    (p,) = parameters([(3,)])
    optimizer = optimizer_class([p], environments=environments)
    deltas = torch.ones(environments, dtype=DOUBLE)
    deltas[-1] = delta
    optimizer.step(deltas, gradients=[torch.ones(environments, 3, dtype=DOUBLE)])
    assert p.isnan().all()
    if environments == 1:
        network = LinearRow([p.detach().float()])
        network.forward(torch.ones(3))
        row = optimizer_class([nn.Parameter(torch.zeros(3))])
        report = row.online_step(network, torch.ones(1), delta)
        assert network.weights.isnan().all()
        assert np.isnan(report["step_size"]) or not np.isnan(delta)
    assert optimizer.report["step_size"].isnan() or not np.isnan(delta)
