"""ObGD and AdaptiveObGD in use: copied, refused, by kernels, on a GPU, outside Openwork."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from core.api import Refreshable
from plugins.optimizers.adaptive_obgd import AdaptiveObGD
from plugins.optimizers.obgd import ObGD
from tests.plugins.optimizers.obgd_oracle import (
    DOUBLE,
    OPTIMIZERS,
    SHAPES,
    LinearRow,
    assert_close,
    flat,
    gradients,
    parameters,
    traces,
)
from tests.support.fake_cuda import CUDA, LAZY, claim_module, fake_device

torch.set_num_threads(1)

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


def test_a_online_step_is_for_one_environment():
    with pytest.raises(ValueError, match="one environment"):
        ObGD(parameters([(2,)]), environments=2).online_step(None, None, 0.0)


# --- by a network's own kernels -----------------------------------------------------------


@pytest.mark.parametrize(("lr", "maximize"), [(1.0, False), (1e-3, True)])
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
        row.forward(inputs)
        assert_close(row.weights.numpy(), flat([layer.weight]), 1e-6)
        by_tensors.zero_grad()
        layer(inputs).backward(gradient)
        by_tensors.step(delta, **flags)
        report = by_rows.online_step(row, gradient, delta, **flags)
        assert_close(traces(by_rows), traces(by_tensors), 1e-6)
        assert report == pytest.approx(
            {k: v.item() for k, v in by_tensors.report.items()}, rel=1e-5
        )
        assert all(type(value) is float for value in report.values())


@pytest.mark.parametrize("optimizer_class", OPTIMIZERS)
def test_traces_of_flat_parameters_are_those_of_matrices(optimizer_class):
    shapes, rng = [(3, 4), (5,)], np.random.default_rng(0)
    matrices = parameters(shapes)
    vectors = [nn.Parameter(p.detach().reshape(-1)) for p in matrices]
    ours, theirs = (
        optimizer_class(vectors, environments=2),
        optimizer_class(matrices, environments=2),
    )
    for _ in range(4):
        given = gradients(shapes, 2, rng)
        theirs.step(0.3, gradients=given)
        ours.step(0.3, gradients=[g.reshape(2, -1) for g in given])
    assert np.array_equal(flat(vectors), flat(matrices))
    assert np.array_equal(traces(ours), traces(theirs))


@pytest.mark.parametrize("optimizer_class", OPTIMIZERS)
def test_refreshed_after_parameters_and_state_changed_size(optimizer_class):
    """Then entries that cease to live are as if they had never been."""
    rng = np.random.default_rng(0)
    kept = torch.tensor([0, 2, 3, 7])
    changing, whole = parameters([(9,), (2, 3)]), parameters([(9,), (2, 3)])
    small = [nn.Parameter(whole[0].detach()[kept].clone()), nn.Parameter(whole[1].detach().clone())]
    ours, theirs = optimizer_class(changing, environments=2), optimizer_class(small, environments=2)
    for _ in range(3):
        given = gradients([(9,), (2, 3)], 2, rng)
        dropped = torch.ones(9, dtype=torch.bool)
        dropped[kept] = False
        given[0][:, dropped] = 0.0
        ours.step(0.3, gradients=given)
        theirs.step(0.3, gradients=[given[0][:, kept], given[1]])
    for name, value in ours.state[changing[0]].items():
        if value.dim():
            ours.state[changing[0]][name] = value[..., kept]
    changing[0].data = changing[0].data[kept]
    assert isinstance(ours, Refreshable)
    ours.refresh()
    for _ in range(3):
        given = gradients([(4,), (2, 3)], 2, rng)
        ours.step(-0.7, gradients=given, reset=torch.tensor([True, False]))
        theirs.step(-0.7, gradients=given, reset=torch.tensor([True, False]))
    assert_close(flat(changing), flat(small), 1e-12)
    assert_close(traces(ours), traces(theirs), 1e-12)


# --- on a GPU, and on its own -------------------------------------------------------------


@pytest.mark.parametrize(("environments", "device"), [(1, LAZY), (3, CUDA)], ids=str)
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
    """Outside Openwork: 0 -> 1 -> 2 -> end, with a reward of 1 at the end.

    The value of a state is the discount to the power of the steps before the last.
    """
    value, states, gamma = nn.Linear(3, 1, bias=False), torch.eye(3), 0.9
    optimizer = optimizer_class(value.parameters(), lr=0.3, gamma=gamma, lamda=0.8, kappa=2.0)
    for _ in range(100):
        for s in range(3):
            last = s == 2
            with torch.no_grad():
                target = 1.0 if last else gamma * value(states[s + 1]).item()
            v = value(states[s])
            optimizer.zero_grad()
            (-v).sum().backward()
            optimizer.step(target - v.item(), reset=last)
    found = value(states).detach()[:, 0]
    torch.testing.assert_close(found, gamma ** torch.arange(2.0, -1, -1), rtol=1e-2, atol=0)
