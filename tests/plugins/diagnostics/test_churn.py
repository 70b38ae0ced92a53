"""Churn: the metric against NumPy, and the diagnostic around real updates."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.api import BatchOptions, Bracketing, Component, DiagnosticContext
from plugins.diagnostics import register_diagnostics
from plugins.diagnostics.churn import churn, greedy_churn, relative_churn
from plugins.diagnostics.options import ChurnOptions
from tests.support.agents import make_batch
from tests.support.inspected import EVERY, lived, stream_batch, transitions, view_of
from tests.support.streaming_oracle import World

torch.set_num_threads(1)
HELD = ChurnOptions(batch=BatchOptions(size=8))
COMPONENT: Component = {c.name: c for c in register_diagnostics()}["churn"]
numbers = st.lists(st.integers(-3, 3), min_size=12, max_size=12)


# --- the metric -------------------------------------------------------------------------


@settings(deadline=None)
@given(before=numbers, after=numbers)
def test_churn_is_the_mean_distance(before, after):
    a, b = (np.array(x, np.float64).reshape(2, 3, 2) / 4 for x in (before, after))
    distances = [np.sqrt(((a[m, i] - b[m, i]) ** 2).sum()) for m in range(2) for i in range(3)]
    found = churn(torch.from_numpy(a).float(), torch.from_numpy(b).float())
    assert found.item() == pytest.approx(np.mean(distances), abs=1e-12)
    norms = np.sqrt((a**2).sum(-1)).mean()
    if norms:
        relative = relative_churn(torch.from_numpy(a), torch.from_numpy(b)).item()
        assert relative == pytest.approx(np.mean(distances) / norms, rel=1e-9)


@settings(deadline=None)
@given(before=numbers, after=numbers)
def test_greedy_churn_is_the_share_of_states_with_another_choice(before, after):
    a, b = (np.array(x, np.float32).reshape(4, 3) for x in (before, after))
    changed = [a[i].tolist().index(max(a[i])) != b[i].tolist().index(max(b[i])) for i in range(4)]
    found = greedy_churn(torch.from_numpy(a), torch.from_numpy(b)).item()
    assert found == pytest.approx(np.mean(changed))


def test_small_changes_of_large_values_are_seen():
    before = torch.full((1, 5, 1), 1000.0)
    after = before + 2.0**-13
    assert churn(before, after).item() == 2.0**-13
    assert relative_churn(before, after).item() == pytest.approx(2.0**-13 / 1000)


# --- the diagnostic ---------------------------------------------------------------------


def make(options=HELD):
    return COMPONENT.build(options, DiagnosticContext(None, None, {}, 0.99))


def update(learner, spec, name):
    if name.startswith("stream"):
        learner.update(stream_batch(World(2, 12, seed=9), 4, spec))
    else:
        learner.update(make_batch(spec, seed=7))


def through(networks, analysed):
    """Values and policy of frozen copies of the networks on held inputs, in plain PyTorch."""
    inputs = dict(analysed.inputs)
    if "encoder" in networks:
        features = networks["encoder"](*inputs["encoder"])
        inputs["actor"] = (features,)
        inputs["critic"] = (features, inputs["critic"][1])
    values = networks["critic"](*inputs["critic"]).detach().double().numpy()
    if "actor" not in networks:
        return values, None
    return values, networks["actor"](*inputs["actor"])[0].detach().double().numpy()


@pytest.mark.parametrize("name", EVERY)
def test_one_update_moves_what_the_diagnostic_says(name):
    learner, spec = lived(name)
    view = view_of(learner, spec, transitions(spec))
    analysed = view.batch(HELD.batch)
    diagnostic = make()
    assert isinstance(diagnostic, Bracketing)
    old = deepcopy(view.networks)
    drawn = torch.get_rng_state()
    diagnostic.before_update(view)
    assert torch.equal(torch.get_rng_state(), drawn)
    update(learner, spec, name)
    state = deepcopy(learner.loss.state_dict())
    found = {key: float(value) for key, value in diagnostic.measure(view).items()}
    (values, policy), (new_values, new_policy) = (
        through(networks, analysed) for networks in (old, view.networks)
    )
    if policy is None:
        taken = transitions(spec)["action"].numpy()
        assert found.pop("policy") == np.mean(values[0].argmax(-1) != new_values[0].argmax(-1))
        values, new_values = (v[0][np.arange(8), taken] for v in (values, new_values))
    else:
        moved = np.linalg.norm(new_policy - policy, axis=-1).mean()
        assert moved > 0
        assert found.pop("policy") == pytest.approx(moved, rel=1e-5)
        relative = moved / np.linalg.norm(policy, axis=-1).mean()
        assert found.pop("policy_relative") == pytest.approx(relative, rel=1e-5)
    moved = np.abs(new_values - values).mean()
    assert moved > 0
    assert found.pop("value") == pytest.approx(moved, rel=1e-5)
    assert found.pop("value_relative") == pytest.approx(moved / np.abs(values).mean(), rel=1e-5)
    assert not found
    assert all(torch.equal(learner.loss.state_dict()[key], state[key]) for key in state)
    assert all(p.grad is None and p.is_leaf for p in learner.loss.parameters())
    assert not any(module._forward_hooks for module in learner.loss.modules())


@pytest.mark.parametrize("name", ["stream_ac", "stream_q"])
def test_statistics_that_move_count_for_nothing(name):
    learner, spec = lived(name)
    view = view_of(learner, spec, transitions(spec))
    diagnostic = make()
    diagnostic.before_update(view)
    learner.loss.observe(50 * torch.ones(2, *spec.observation), torch.ones(2) > 0)
    learner.loss.prepare(stream_batch(World(2, 12, seed=9), 4, spec))
    analysed = view.batch(HELD.batch)
    before = diagnostic._held[0]
    assert not torch.equal(analysed.batch["observation"], before.batch["observation"])
    assert {key: float(value) for key, value in diagnostic.measure(view).items()} == dict.fromkeys(
        ("value", "value_relative", "policy", "policy_relative")
        if name == "stream_ac"
        else ("value", "value_relative", "policy"),
        0.0,
    )


def test_greedy_actions_that_change_are_counted():
    learner, spec = lived("stream_q")
    view = view_of(learner, spec, transitions(spec))
    scores = view.networks["critic"](*view.batch(HELD.batch).inputs["critic"])[0].detach()
    seldom = scores.argmax(-1).bincount(minlength=3).argmin()
    gaps = scores.amax(-1) - scores[:, seldom]
    bonus = gaps.sort().values[4:6].mean()
    diagnostic = make()
    diagnostic.before_update(view)
    with torch.no_grad():
        learner.loss.critic.members[0].head.bias[seldom] += bonus
    changed = ((gaps > 0) & (gaps < bonus)).double().mean().item()
    assert 0 < changed < 1
    assert float(diagnostic.measure(view)["policy"]) == changed


def test_nothing_is_measured_without_an_update():
    learner, spec = lived("ddpg")
    view = view_of(learner, spec, transitions(spec))
    diagnostic = make()
    assert diagnostic.measure(view) == {}
    diagnostic.before_update(view)
    assert set(diagnostic.measure(view)) == {
        "value",
        "value_relative",
        "policy",
        "policy_relative",
    }
    assert diagnostic.measure(view) == {}
