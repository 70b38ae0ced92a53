"""Adam in one native pass in use: saved, copied, given other memory, refused, not built."""

from __future__ import annotations

import copy
import pickle
import warnings

import pytest
import torch
from torch import nn

from core.api import Averaging, OptimizerContext, Refreshable
from plugins.optimizers import AdamOptions, AdamWOptions, kernels, register_optimizers
from plugins.optimizers.one_pass import OnePassAdam
from tests.plugins.test_adam_native import Pair, assert_same

torch.set_num_threads(1)
built = pytest.mark.skipif(kernels.adam() is None, reason="built without a compiler")
OPTIONS = {"adamw": AdamWOptions, "adam": AdamOptions}


def factory(name="adamw", device="cpu", **options):
    (component,) = [c for c in register_optimizers() if c.name == name]
    return component.build(OPTIONS[name](**options), OptimizerContext(torch.device(device)))


def module(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.Linear(8, 3))


def drive(optimizer, net, seeds):
    for seed in seeds:
        x = torch.randn(4, 5, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        net(x).square().sum().backward()
        optimizer.step()


def values(net):
    return torch.cat([p.detach().view(-1) for p in net.parameters()])


# --- state ------------------------------------------------------------------------------


@built
@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True), (True, True)])
def test_state_dicts_load_both_ways(name, first, second):
    straight, net = module(), module()
    make = factory(name, weight_decay=0.1, native=first)
    drive(make(list(straight.parameters()), {}, "c"), straight, range(6))
    before = make(list(net.parameters()), {}, "c")
    drive(before, net, range(3))
    after = factory(name, weight_decay=0.9, native=second)(list(net.parameters()), {}, "c")
    saved = copy.deepcopy(before.state_dict())
    after.load_state_dict(saved)
    drive(after, net, range(3, 6))
    assert_same(values(net), values(straight))
    names = {"step", "exp_avg", "exp_avg_sq"}
    assert all(set(state) == names for state in after.state_dict()["state"].values())
    assert before.state_dict()["param_groups"] == after.state_dict()["param_groups"]


@built
def test_a_loaded_state_is_a_copy_and_one_vector():
    net, other = module(), module()
    first, second = OnePassAdam(net.parameters()), OnePassAdam(other.parameters())
    drive(first, net, range(2))
    second.load_state_dict(first.state_dict())
    kept = copy.deepcopy(first.state_dict()["state"])
    drive(second, other, range(2))
    for index, state in first.state_dict()["state"].items():
        assert all(torch.equal(value, kept[index][key]) for key, value in state.items())
    moments = [s[n] for s in second.state.values() for n in ("exp_avg", "exp_avg_sq")]
    assert len({moment.untyped_storage().data_ptr() for moment in moments}) == 1
    assert moments[0].untyped_storage().nbytes() == sum(moment.nbytes for moment in moments)


@built
def test_the_state_of_an_unused_optimizer_makes_another_begin_anew():
    net = module()
    optimizer = OnePassAdam(net.parameters())
    fresh = optimizer.state_dict()
    drive(optimizer, net, range(2))
    optimizer.load_state_dict(fresh)
    drive(optimizer, net, [2])
    assert all(float(state["step"]) == 1 for state in optimizer.state.values())


COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda value: pickle.loads(pickle.dumps(value))}


@built
@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("begun", [False, True])
def test_a_copy_goes_on_alike_with_targets_of_its_own(how, begun):
    net, target = module(), module(1).requires_grad_(False)
    optimizer = OnePassAdam(net.parameters(), decoupled=True, weight_decay=0.1)
    pairs = list(zip(target.parameters(), net.parameters(), strict=True))
    assert optimizer.follow(pairs, 0.1)
    drive(optimizer, net, range(2 * begun))
    net2, target2, optimizer2 = COPIES[how]((net, target, optimizer))
    drive(optimizer, net, range(2, 5))
    seen = values(net), values(target)
    drive(optimizer2, net2, range(2, 5))
    assert torch.equal(values(net2), seen[0])
    assert torch.equal(values(target2), seen[1])
    assert torch.equal(values(target), seen[1])
    assert not torch.equal(seen[1], values(module(1)))


@built
def test_other_memory_and_state_zeroed_in_place_are_noticed():
    pair = Pair([(6, 7), 30], torch.float32, 0.1, decoupled=True)
    pair.step()
    for tensors in (pair.ours, pair.our_targets):
        for tensor in tensors:
            tensor.data = tensor.data.clone()
    pair.step()
    pair.check()
    for state in (pair.native.state[pair.ours[0]], pair.torch.state[pair.theirs[0]]):
        for value in state.values():
            value.zero_()
    pair.step()
    pair.check()
    for state in pair.native.state.values():  # replaced, not joined: still found
        state["exp_avg"] = state["exp_avg"].clone()
    pair.step()
    pair.check()


@built
def test_refreshed_after_parameters_and_state_changed_size():
    pair = Pair([30, 12], torch.float32, 0.1)
    pair.step()
    kept = torch.arange(0, 30, 2)
    for optimizer, parameters, targets in (
        (pair.native, pair.ours, pair.our_targets),
        (pair.torch, pair.theirs, pair.their_targets),
    ):
        parameters[0].data = parameters[0].data[kept]
        parameters[0].grad = None
        targets[0].data = targets[0].data[kept]
        state = optimizer.state[parameters[0]]
        for name in ("exp_avg", "exp_avg_sq"):
            state[name] = state[name][kept]
    assert isinstance(pair.native, Refreshable)
    pair.native.refresh()
    for _ in range(2):
        pair.step()
    pair.check()
    assert pair.native.state[pair.ours[0]]["exp_avg"].shape == (15,)


@built
def test_a_stale_graph_is_refused_as_after_any_operation_in_place():
    net, target = module(), module(1)
    optimizer = OnePassAdam(net.parameters())
    optimizer.follow(list(zip(target.parameters(), net.parameters(), strict=True)), 0.5)
    stale = net(torch.ones(1, 5)).sum(), target(torch.ones(1, 5)).sum()
    drive(optimizer, net, [0])
    for objective in stale:
        with pytest.raises(RuntimeError, match="inplace operation"):
            objective.backward()


# --- refusals ---------------------------------------------------------------------------


@built
def test_what_cannot_be_followed_is_not():
    net, target = module(), module(1)
    optimizer = OnePassAdam(list(net.parameters())[:2])
    pairs = list(zip(target.parameters(), net.parameters(), strict=True))
    double = nn.Parameter(pairs[0][0].double())
    strided = nn.Parameter(torch.zeros(5, 8).t())
    for wrong in (
        pairs,  # not all its own
        [(target[0].weight, net[0].bias)],
        [(double, net[0].weight)],
        [(strided, net[0].weight)],
        [pairs[0], (nn.Parameter(torch.zeros(8, 5)), net[0].weight)],
        [(pairs[1][0], net[0].bias), (pairs[1][0], net[0].bias)],
    ):
        assert not optimizer.follow(wrong, 0.1)
    assert isinstance(optimizer, Averaging)
    assert optimizer.follow(pairs[:2], 0.1)
    assert not optimizer.follow(pairs[:2], 0.1)  # once


@built
@pytest.mark.parametrize(
    "parameter",
    [
        torch.zeros(3, dtype=torch.float16),
        torch.zeros(3, 4).t(),
        torch.zeros(3, device="meta"),
    ],
)
def test_other_parameters_are_pytorchs(parameter):
    parameters = [nn.Parameter(parameter)]
    with pytest.raises(ValueError, match="contiguous, on the CPU"):
        OnePassAdam(parameters)
    assert type(factory()(parameters, {}, "c")) is torch.optim.AdamW


@built
def test_memory_that_no_longer_fits_is_refused_before_the_kernel_sees_it():
    net = module()
    optimizer = OnePassAdam(net.parameters())
    drive(optimizer, net, [0])
    before = values(net).clone()
    net[1].bias.data = torch.zeros(6)[::2]
    with pytest.raises(ValueError, match="no longer contiguous"):
        optimizer.step()
    net[1].bias.data = torch.zeros(4)
    with pytest.raises(ValueError, match="a gradient"):
        optimizer.step()
    net[1].bias.grad = None
    with pytest.raises(ValueError, match="of one shape"):
        optimizer.step()
    net[1].bias.data = before[-3:].clone()
    assert torch.equal(values(net), before)
    state = optimizer.state_dict()
    state["state"][0]["exp_avg"] = torch.zeros(3)
    with pytest.raises(ValueError, match=r"a state \[3\] for a parameter \[8, 5\]"):
        OnePassAdam(module().parameters()).load_state_dict(state)


@built
@pytest.mark.parametrize("option", ["amsgrad", "maximize"])
def test_a_state_that_asks_for_more_is_refused(option):
    theirs = torch.optim.Adam(module().parameters(), **{option: True})
    with pytest.raises(ValueError, match=option):
        OnePassAdam(module().parameters()).load_state_dict(theirs.state_dict())


# --- the component ----------------------------------------------------------------------


@built
@pytest.mark.parametrize("name", OPTIONS)
def test_native_unless_told_otherwise_or_on_another_device(name):
    p = [nn.Parameter(torch.zeros(2))]
    assert type(factory(name)(p, {}, "c")) is OnePassAdam
    theirs = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[name]
    for made in (factory(name, native=False), factory(name, device="cuda")):
        optimizer = made(p, {}, "c")
        assert type(optimizer) is theirs
        assert not isinstance(optimizer, Averaging)
    groups = [factory(name, native=native)(p, {}, "c").param_groups for native in (True, False)]
    assert groups[0] == groups[1]


def test_without_the_library_one_line_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(kernels, "__file__", str(tmp_path / "kernels.py"))
    kernels.adam.cache_clear()
    try:
        with pytest.warns(RuntimeWarning, match="compiled optimizer were not built") as caught:
            made = factory()
        assert len(caught) == 1
        assert type(made([nn.Parameter(torch.zeros(2))], {}, "c")) is torch.optim.AdamW
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            factory()
            factory(native=False)
    finally:
        kernels.adam.cache_clear()


@built
def test_a_library_of_another_version_is_as_good_as_absent(monkeypatch):
    found = kernels.library(kernels.__file__, "_adam")
    assert kernels.declared(found) is found
    monkeypatch.setattr(kernels, "ABI", kernels.ABI + 1)
    assert kernels.declared(found) == "are of another version"
