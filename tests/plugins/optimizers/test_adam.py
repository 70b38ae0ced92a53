"""``FusedAdam`` against PyTorch's own step: the same bits, the same state."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.optim import Adam

from plugins.optimizers.adam import FusedAdam

torch.set_num_threads(1)
SIZES = [(8, 5), (), (70,)]


def pair(decoupled, **options):
    """Ours and PyTorch's, of the same weights."""
    weights = [torch.randn(size, generator=torch.Generator().manual_seed(0)) for size in SIZES]
    return [
        make([nn.Parameter(w.clone()) for w in weights], fused=True, weight_decay=0.1, **options)
        for make in (
            lambda ps, **o: FusedAdam(ps, decoupled_weight_decay=decoupled, **o),
            torch.optim.AdamW if decoupled else Adam,
        )
    ]


def drive(optimizers, seeds, without=()):
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        gradients = [torch.randn(size, generator=generator) for size in SIZES]
        for optimizer in optimizers:
            ps = [p for group in optimizer.param_groups for p in group["params"]]
            for index, (p, gradient) in enumerate(zip(ps, gradients, strict=True)):
                p.grad = None if index in without else gradient.clone()
            optimizer.step()


def assert_same(ours, theirs):
    for a, b in zip(ours.param_groups, theirs.param_groups, strict=True):
        for p, q in zip(a["params"], b["params"], strict=True):
            assert torch.equal(p, q)
            assert list(ours.state[p]) == list(theirs.state[q])
            for name, value in theirs.state[q].items():
                assert torch.equal(ours.state[p][name], value), name


@pytest.mark.parametrize("decoupled", [False, True])
def test_steps_are_pytorchs(decoupled):
    ours, theirs = pair(decoupled, lr=0.01, betas=(0.8, 0.95), eps=1e-4)
    drive((ours, theirs), range(3))
    drive((ours, theirs), range(3, 5), without=(1,))
    drive((ours, theirs), range(5, 20))
    assert_same(ours, theirs)


def test_a_parameter_that_begins_late_and_groups_with_options_of_their_own():
    ours, theirs = pair(True)
    for optimizer in (ours, theirs):
        first = optimizer.param_groups[0]["params"].pop()
        optimizer.add_param_group({"params": [first], "lr": 0.5, "weight_decay": 0.0})
    drive((ours, theirs), range(3), without=(2,))
    drive((ours, theirs), range(3, 6))
    assert_same(ours, theirs)


@pytest.mark.parametrize("ours_first", [False, True])
def test_states_load_either_way(ours_first):
    ours, theirs = pair(True)
    first, second = (ours, theirs) if ours_first else (theirs, ours)
    drive((first,), range(3))
    saved = first.state_dict()
    second.load_state_dict(saved if second is ours else copy.deepcopy(saved))
    with torch.no_grad():
        for p, q in zip(*(o.param_groups[0]["params"] for o in (first, second)), strict=True):
            q.copy_(p)
    drive((first, second), range(3, 6))
    assert_same(ours, theirs)


def test_state_and_memory_that_were_replaced_are_found():
    ours, theirs = pair(True)
    drive((ours, theirs), range(2))
    for optimizer in (ours, theirs):
        for p in optimizer.param_groups[0]["params"]:
            p.data = p.data.clone()
            state = optimizer.state[p]
            state["exp_avg"] = state["exp_avg"] * 0.5
    drive((ours, theirs), range(2, 4))
    assert_same(ours, theirs)


def test_a_closure_is_asked_for_gradients():
    ours, theirs = pair(False)
    for optimizer in (ours, theirs):

        def closure(optimizer=optimizer):
            objective = sum(p.square().sum() for p in optimizer.param_groups[0]["params"])
            optimizer.zero_grad()
            objective.backward()
            return objective

        assert optimizer.step(closure) > optimizer.step(closure)
    assert_same(ours, theirs)
