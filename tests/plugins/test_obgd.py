"""ObGD and AdaptiveObGD against their formulas in NumPy, and on their own outside Openwork."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from plugins.optimizers.adaptive_obgd import AdaptiveObGD
from plugins.optimizers.obgd import ObGD
from tests.fake_cuda import CUDA, LAZY, claim_module, fake_device

torch.set_num_threads(1)
OPTIMIZERS = [ObGD, AdaptiveObGD]
DOUBLE = torch.float64
TOLERANCE = {torch.float32: 1e-6, DOUBLE: 1e-12}


class Oracle:
    """The formulas in float64, on flat arrays."""

    def __init__(self, w, n=1, *, lr=1.0, gamma=0.99, lamda=0.8, kappa=2.0, beta2=None, eps=1e-8):
        self.w, self.z = np.array(w, dtype=np.float64), np.zeros((n, len(w)))
        self.v, self.t = np.zeros(len(w)), 0
        self.lr, self.decay, self.kappa, self.beta2, self.eps = lr, gamma * lamda, kappa, beta2, eps

    def step(self, g, delta, reset, cut):
        n, scale = len(self.z), np.ones_like(self.w)
        self.z = self.decay * self.z * (1 - cut[:, None]) + g
        direction = sum(delta[i] * self.z[i] for i in range(n)) / n
        if self.beta2 is not None:
            self.t += 1
            self.v = self.beta2 * self.v + (1 - self.beta2) * direction**2
            scale = np.sqrt(self.v / (1 - self.beta2**self.t) + self.eps)
        self.norms = [np.sum(np.abs(self.z[i] / scale)) for i in range(n)]
        reach = sum(max(abs(delta[i]), 1) * self.norms[i] for i in range(n)) / n
        m = self.lr * self.kappa * reach
        self.size = min(self.lr, self.lr / m) if m > 0 else self.lr
        self.w = self.w - self.size * direction / scale
        self.z = self.z * (1 - reset[:, None])
        self.active = m > 1


def parameters(shapes, dtype=DOUBLE, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(s, generator=draw, dtype=DOUBLE).to(dtype)) for s in shapes]


def flat(tensors, lead=0):
    return np.concatenate(
        [t.detach().double().reshape(*t.shape[:lead], -1).numpy() for t in tensors], lead
    )


def traces(optimizer):
    ps = optimizer.param_groups[0]["params"]
    return flat([optimizer.state[p]["trace"] for p in ps], 1)


def gradients(shapes, n, rng, dtype=DOUBLE):
    return [torch.from_numpy(rng.normal(size=(n, *s))).to(dtype) for s in shapes]


def assert_close(got, wanted, tolerance):
    scale = max(np.abs(wanted).max(), 1e-30)
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * scale)


SHAPES = [(3, 4), (3,), (2, 3), ()]


# --- one step -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("delta", [0.0, 0.3, -0.3, 5.0, -5.0])
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


@settings(max_examples=40, deadline=None)
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
    for _ in range(8):
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
        report = row.row_step(network, torch.ones(1), delta)
        assert network.weights.isnan().all()
        assert np.isnan(report["step_size"]) or not np.isnan(delta)
    assert optimizer.report["step_size"].isnan() or not np.isnan(delta)


# --- state --------------------------------------------------------------------------------


def by_state_dict(optimizer, ps):
    """A file in between."""
    file = io.BytesIO()
    torch.save({"state": optimizer.state_dict(), "ps": ps}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=False)
    fresh = type(optimizer)(saved["ps"], lr=0.1, environments=2)
    fresh.load_state_dict(saved["state"])
    return fresh


COPIES = {
    "state_dict": by_state_dict,
    "deepcopy": lambda optimizer, ps: copy.deepcopy(optimizer),
    "pickle": lambda optimizer, ps: pickle.loads(pickle.dumps(optimizer)),
}


@pytest.mark.parametrize("optimizer_class", OPTIMIZERS)
@pytest.mark.parametrize("how", COPIES)
def test_a_copy_in_mid_episode_goes_on_bit_for_bit(optimizer_class, how):
    ps, rng = parameters(SHAPES, torch.float32), np.random.default_rng(0)
    optimizer = optimizer_class(ps, lr=0.7, gamma=0.9, environments=2)

    def drive(which):
        for x in steps:
            which.step(torch.tensor([0.3, -2.0]), torch.tensor([False, True]), gradients=x)

    steps = [gradients(SHAPES, 2, rng, torch.float32) for _ in range(3)]
    drive(optimizer)
    other = COPIES[how](optimizer, ps)
    theirs = other.param_groups[0]["params"]
    assert all(a is not b and torch.equal(a, b) for a, b in zip(ps, theirs, strict=True))
    frozen = copy.deepcopy(optimizer.state_dict()["state"])
    drive(other)
    for index, slots in optimizer.state_dict()["state"].items():
        for name, slot in slots.items():
            assert torch.equal(slot, frozen[index][name]), "the copy moved the original"
    drive(optimizer)
    assert all(torch.equal(a, b) for a, b in zip(ps, theirs, strict=True))
    np.testing.assert_array_equal(traces(optimizer), traces(other))
    assert traces(other).any()
    assert other.param_groups[0]["lr"] == 0.7


def test_loading_leaves_the_loaded_state_alone():
    ps = parameters([(3,)])
    state = AdaptiveObGD(ps).state_dict()
    optimizer = AdaptiveObGD(ps)
    optimizer.load_state_dict(state)
    optimizer.step(1.0, gradients=[torch.ones(1, 3, dtype=DOUBLE)])
    assert all(not slot.any() for slots in state["state"].values() for slot in slots.values())
    assert optimizer.state[ps[0]]["step"] == 1


# --- refusals -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [{"lr": -1}, {"gamma": 1.1}, {"lamda": -0.1}, {"kappa": 0}, {"environments": 0}],
    ids=lambda wrong: next(iter(wrong)),
)
@pytest.mark.parametrize("optimizer_class", OPTIMIZERS)
def test_options_out_of_range_are_refused(optimizer_class, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        optimizer_class(parameters([(2,)]), **wrong)


@pytest.mark.parametrize("wrong", [{"beta2": 1.0}, {"eps": 0.0}], ids=["beta2", "eps"])
def test_a_second_moment_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AdaptiveObGD(parameters([(2,)]), **wrong)


def test_what_one_bound_cannot_span_is_refused():
    a, b = parameters([(2,), (2,)])
    with pytest.raises(ValueError, match="one parameter group"):
        ObGD([{"params": [a]}, {"params": [b]}])
    with pytest.raises(ValueError, match="one type"):
        ObGD([a, nn.Parameter(b.detach().float())])


def test_a_state_of_other_environments_is_refused():
    ps = parameters([(2,)])
    with pytest.raises(ValueError, match="3 environments, not of 1"):
        ObGD(ps).load_state_dict(ObGD(ps, environments=3).state_dict())


def test_every_environment_needs_its_gradient():
    with pytest.raises(ValueError, match="every environment"):
        ObGD(parameters([(2,)]), environments=2).step(0.0)


def test_a_row_step_is_for_one_environment():
    with pytest.raises(ValueError, match="one environment"):
        ObGD(parameters([(2,)]), environments=2).row_step(None, None, 0.0)


# --- by a network's own kernels -----------------------------------------------------------


class LinearRow:
    """A :class:`core.api.RowNetwork`: a bias-free linear layer of one or more outputs."""

    def __init__(self, weights):
        self.weights = torch.cat([w.reshape(-1) for w in weights])
        self.inputs = weights[0].shape[-1]
        self.outputs = len(self.weights) // self.inputs

    def forward(self, inputs):
        self.seen = inputs.clone()
        return self.weights.view(self.outputs, self.inputs) @ inputs

    def accumulate(self, gradient, trace, decay):
        assert trace.shape == self.weights.shape
        assert trace.is_contiguous()
        trace.copy_(decay * trace + torch.outer(gradient, self.seen).reshape(-1))
        return trace.abs().sum().item()

    def move(self, direction, scale):
        self.weights += scale * direction


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("lr", [1.0, 1e-3])
@pytest.mark.parametrize("optimizer_class", OPTIMIZERS)
def test_the_row_path_equals_the_tensor_path(optimizer_class, lr, maximize):
    rng, layer = np.random.default_rng(0), nn.Linear(5, 2, bias=False)
    row = LinearRow([layer.weight.detach()])
    by_rows = optimizer_class([nn.Parameter(layer.weight.detach().clone())], lr, maximize=maximize)
    by_tensors = optimizer_class(layer.parameters(), lr, maximize=maximize)
    for t in range(12):
        inputs = torch.from_numpy(rng.normal(size=5)).float()
        gradient = torch.from_numpy(rng.normal(size=2)).float()
        flags = {"reset": t == 6, "cut": t in (3, 9)}
        delta = float(rng.normal(scale=2))
        by_tensors.zero_grad()
        layer(inputs).backward(gradient)
        by_tensors.step(delta, **flags)
        row.forward(inputs)
        report = by_rows.row_step(row, gradient, delta, **flags)
        assert_close(row.weights.numpy(), flat([layer.weight]), 1e-6)
        assert_close(traces(by_rows), traces(by_tensors), 1e-6)
        assert report == pytest.approx(
            {k: v.item() for k, v in by_tensors.report.items()}, rel=1e-5
        )
        assert all(type(value) is float for value in report.values())


# --- on a GPU, and on its own -------------------------------------------------------------


@pytest.mark.parametrize("device", [LAZY, CUDA], ids=str)
@pytest.mark.parametrize("environments", [1, 3])
@pytest.mark.parametrize("optimizer_class", OPTIMIZERS)
def test_a_step_stays_on_the_device_without_a_sync(optimizer_class, environments, device):
    with fake_device(device) as mode:
        ps = list(claim_module(mode, nn.Linear(3, 2)).parameters())
        optimizer = optimizer_class(ps, environments=environments)
        g = [torch.ones(environments, *p.shape, device=device) for p in ps]
        flags = torch.ones(environments, dtype=torch.bool, device=device)
        optimizer.step(torch.ones(environments, device=device), flags, cut=flags, gradients=g)
        optimizer.step(0.5, True, gradients=g)
        slots = [slot for slots in optimizer.state.values() for slot in slots.values()]
        assert {t.device for t in [*slots, *optimizer.report.values()]} == {device}


@pytest.mark.parametrize("optimizer_class", OPTIMIZERS)
def test_td_lambda_finds_the_values_of_a_chain(optimizer_class):
    """Outside Openwork: 0 -> 1 -> 2 -> 3 -> end, with a reward of 1 at the end.

    The value of a state is the discount to the power of the steps before the last.
    """
    value, states, gamma = nn.Linear(4, 1, bias=False), torch.eye(4), 0.9
    optimizer = optimizer_class(value.parameters(), lr=0.3, gamma=gamma, lamda=0.8, kappa=2.0)
    for _ in range(300):
        for s in range(4):
            last = s == 3
            with torch.no_grad():
                target = 1.0 if last else gamma * value(states[s + 1]).item()
            v = value(states[s])
            optimizer.zero_grad()
            (-v).sum().backward()
            optimizer.step(target - v.item(), reset=last)
    found = value(states).detach()[:, 0]
    torch.testing.assert_close(found, gamma ** torch.arange(3.0, -1, -1), rtol=1e-4, atol=0)
