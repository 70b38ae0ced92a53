"""The parts of streaming losses: formulas, reward scaling, options, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Normal

from core.api import (
    EnvironmentSpec,
    LossContext,
    OptionError,
    UserError,
)
from plugins.losses import gaussian, noise, register_losses
from plugins.losses.options import (
    DDPGOptions,
    EpsilonOptions,
    SACOptions,
    StreamACOptions,
    StreamQOptions,
)
from plugins.losses.reward_scaling import RewardScaler
from tests.support import streaming_oracle as oracle
from tests.support.agents import CPU, PIXELS, build

torch.set_num_threads(1)
DOUBLE = torch.float64
CONTINUOUS = EnvironmentSpec((oracle.FEATURES,), oracle.ACTIONS)
DISCRETE = EnvironmentSpec((oracle.FEATURES,), 3, discrete=True)
number = st.floats(-3, 3)


@given(mean=number, raw=st.floats(-6, 6), action=number, weight=st.floats(-1, 1))
def test_gaussian_formulas_are_those_of_the_distribution(mean, raw, action, weight):
    means = torch.tensor([[mean, 0.3]], dtype=DOUBLE, requires_grad=True)
    raws = torch.tensor([[raw, -1.0]], dtype=DOUBLE, requires_grad=True)
    actions = torch.tensor([[action, 0.9]], dtype=DOUBLE)
    policy = Normal(means, nn.functional.softplus(raws))
    log_prob, entropy = policy.log_prob(actions).sum(-1), policy.entropy().sum(-1)
    torch.testing.assert_close(gaussian.log_probability(means, policy.stddev, actions), log_prob)
    torch.testing.assert_close(gaussian.entropy(policy.stddev.log()), entropy)
    gradients = torch.autograd.grad(-log_prob - weight * entropy, (means, raws))
    arrays = [x.detach().numpy()[0].astype(np.float32) for x in (means, policy.stddev, actions)]
    got = gaussian.objective_gradient(*arrays, weight)
    want = torch.cat(gradients, 1)[0].numpy()
    # z^2 - 1 cancels near |z| = 1: the error is relative to the terms, not to their sum.
    z = (actions - means).detach().numpy()[0] / arrays[1]
    room = 1e-5 * np.tile(1 + z**2, 2) / np.tile(arrays[1], 2)
    assert (np.abs(got - want) <= room).all()
    np.testing.assert_allclose(
        gaussian.softplus(raws.detach().numpy()[0].astype(np.float32)), arrays[1], rtol=1e-6
    )


@pytest.mark.parametrize("leak", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_reward_scaler_is_the_deviation_of_the_running_sums(leak, count):
    draw = np.random.default_rng(1)
    scaler = RewardScaler(count, 0.9, leak, CPU)
    sums, seen = np.zeros(count), []
    for _ in range(50):
        reward, ended = draw.normal(1, 2, count), draw.random(count) < 0.2
        divisor = scaler.fold(torch.from_numpy(reward), torch.from_numpy(ended))
        u = 0.9 * (sums * ~ended if leak else sums) + reward
        seen += list(u)
        sums = u if leak else u * ~ended
        want = np.sqrt((np.var(seen, ddof=1) if len(seen) > 1 else 1.0) + 1e-8)
        assert divisor.item() == pytest.approx(want, rel=1e-12)
    assert scaler.state.dtype == DOUBLE
    np.testing.assert_allclose(scaler.state[3:], sums, rtol=1e-12)


@pytest.mark.parametrize("leak", [False, True])
def test_reward_scaler_is_the_same_in_plain_numbers(leak):
    scalers = [RewardScaler(1, 0.9, leak, CPU) for _ in range(2)]
    for reward, ended in [(1.0, False), (-2.0, True), (0.5, False), (3.0, False), (1.0, True)]:
        one = scalers[1].fold_one(reward, ended)
        both = scalers[0].fold(torch.tensor([reward]), torch.tensor([ended]))
        assert one == pytest.approx(both.item(), rel=1e-14)
    torch.testing.assert_close(scalers[0].state, scalers[1].state, rtol=1e-14, atol=0)


def test_the_last_reward_leaks_only_when_asked_to():
    for leak, want in ((False, 1.0), (True, 1.0 + 0.5 * 8.0)):
        scaler = RewardScaler(1, 0.5, leak, CPU)
        scaler.fold_one(8.0, True)
        scaler.fold_one(1.0, False)
        assert scaler.state[3].item() == want


def test_random_choices_are_drawn_per_environment_and_uniformly():
    torch.manual_seed(0)
    greedy = torch.full((40_000,), 2)
    drawn = noise.sometimes_random(greedy, torch.tensor(0.4), 4)
    shares = torch.bincount(drawn, minlength=4) / 40_000
    torch.testing.assert_close(shares, torch.tensor([0.1, 0.1, 0.7, 0.1]), rtol=0, atol=0.01)
    assert torch.equal(noise.sometimes_random(greedy, torch.tensor(0.0), 4), greedy)


# --- refusals ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "spec", "said"),
    [("stream_ac", DISCRETE, "continuous"), ("stream_q", CONTINUOUS, "discrete")],
)
def test_the_wrong_kind_of_actions_is_refused(name, spec, said):
    options = StreamACOptions() if name == "stream_ac" else StreamQOptions()
    with pytest.raises(UserError, match=f"'{name}' needs {said} actions"):
        build(register_losses(), options, LossContext(spec, oracle.LinearParts(), CPU), name)


def test_a_shared_encoder_is_refused():
    parts = oracle.LinearParts()
    parts.encoder = nn.Identity
    context = LossContext(replace(PIXELS), parts, CPU)
    with pytest.raises(UserError, match="Choose network stream_cnn"):
        build(register_losses(), StreamACOptions(), context, "stream_ac")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (lambda: StreamACOptions(gamma=1.1), "gamma"),
        (lambda: StreamACOptions(entropy=-1), "entropy"),
        (lambda: StreamQOptions(gamma=-0.1), "gamma"),
        (lambda: EpsilonOptions(initial=1.5), "initial"),
        (lambda: EpsilonOptions(final=-0.5), "final"),
        (lambda: EpsilonOptions(steps=0), "steps"),
    ],
)
def test_options_out_of_range_are_refused(options, field):
    with pytest.raises(OptionError) as caught:
        options()
    assert caught.value.field == field


def test_needs_follow_the_options():
    found = {component.name: component for component in register_losses()}
    for name, options in (("sac", SACOptions), ("ddpg", DDPGOptions)):
        assert found[name].needs(options()) == set()
        assert found[name].needs(options(n_step=2)) == {"n-step returns"}
    for name in ("stream_ac", "stream_q"):
        assert found[name].needs == {"eligibility traces", "transitions in order"}
        assert found[name].provides == {"TD errors", "inspection"}
