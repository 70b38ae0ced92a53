"""The parts of the losses: formulas, acting, order, options."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Normal

from core.api import EnvironmentSpec, LossContext, OptionError, UserError
from plugins.losses import noise, register_losses, tanh_normal
from plugins.losses.noise import linear
from plugins.losses.options import DDPGOptions, NoiseOptions, SACOptions
from plugins.losses.targets import averaging, least, squared_error
from tests.support.agents import (
    DRQ_DDPG,
    SIMBA,
    SIMBA_DDPG,
    STATE,
    build,
    make_batch,
    make_loss,
)

DOUBLE = torch.float64
torch.set_num_threads(1)


@given(mean=st.floats(-4, 4), log_std=st.floats(-5, 2), z=st.floats(-3, 3), other=st.floats(-3, 3))
def test_log_probability_is_that_of_the_squashed_gaussian(mean, log_std, z, other):
    means = torch.tensor([[mean, 0.5]], dtype=DOUBLE)
    log_stds = torch.tensor([[log_std, -1.0]], dtype=DOUBLE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            noise, "standard_normal", lambda like: torch.tensor([[z, other]], dtype=DOUBLE)
        )
        action, log_prob = tanh_normal.sample(means, log_stds)
    u = means + log_stds.exp() * torch.tensor([[z, other]], dtype=DOUBLE)
    # The density by its definition: p(u) du/da, with du/da = cosh(u)^2.
    density = Normal(means, log_stds.exp()).log_prob(u) + 2 * torch.log(torch.cosh(u))
    torch.testing.assert_close(action, torch.tanh(u))
    torch.testing.assert_close(log_prob, density.sum(-1, keepdim=True))


def test_log_probability_stays_finite_far_out():
    action, log_prob = tanh_normal.sample(torch.full((1, 1), 60.0), torch.zeros(1, 1))
    assert action.item() == 1
    assert math.isfinite(log_prob.item())


def test_log_std_spans_its_range():
    raw = torch.tensor([-50.0, 0.0, 50.0])
    assert tanh_normal.bounded_log_std(raw, -10, 2).tolist() == [-10, -4, 2]


def test_least_and_squared_error_over_an_ensemble():
    values = torch.tensor([[[1.0], [5.0]], [[3.0], [2.0]]])
    assert least(values).tolist() == [[1.0], [2.0]]
    assert least(values[:1]).tolist() == [[1.0], [5.0]]
    target = torch.tensor([[0.0], [1.0]])
    assert squared_error(values, target).item() == (1 + 16) / 2 + (9 + 1) / 2


@given(tau=st.floats(0.001, 1.0))
def test_polyak_average(tau):
    online, target = nn.Linear(3, 2), nn.Linear(3, 2)
    want = [
        (1 - tau) * t + tau * p
        for t, p in zip(target.parameters(), online.parameters(), strict=True)
    ]
    assert averaging(target, online, tau)({}) == (None, {})
    for t, w in zip(target.parameters(), want, strict=True):
        torch.testing.assert_close(t, w, rtol=1e-5, atol=1e-6)


def test_linear_schedule():
    assert [linear(1.0, 0.1, 10, step) for step in (0, 5, 10, 99)] == [1.0, 0.55, 0.1, 0.1]


# --- acting -----------------------------------------------------------------------------


def test_ddpg_acts_with_the_scheduled_noise_unclipped_and_evaluates_with_the_mean(tape):
    options = DDPGOptions(
        noise=NoiseOptions(1.0, 0.2, 100), noise_clip=0.05, clip="straight_through"
    )
    loss, observation = make_loss(options, SIMBA), make_batch(STATE)["observation"]
    mean = torch.tanh(loss.actor(observation)[0])
    assert torch.equal(loss.act(observation, explore=False), mean)
    assert not tape
    for step, sigma in ((0, 1.0), (50, 0.6), (1000, 0.2)):
        loss.set_progress(step)
        action = loss.act(observation, explore=True)
        want = (mean + sigma * tape[-1].float()).clamp(-1 + 1e-6, 1 - 1e-6)
        torch.testing.assert_close(action, want)
        assert not action.requires_grad
        assert action.abs().max() < 1


def test_sac_acts_with_a_sample_and_evaluates_with_the_mean(tape):
    loss, observation = make_loss(SACOptions(), SIMBA), make_batch(STATE)["observation"]
    mean, raw = loss.actor(observation)
    assert torch.equal(loss.act(observation, explore=False), torch.tanh(mean))
    got = loss.act(observation, explore=True)
    std = (-10 + 6 * (torch.tanh(raw) + 1)).exp()
    torch.testing.assert_close(got, torch.tanh(mean + std * tape[0].float()))


@pytest.mark.parametrize("options", [SACOptions(), SIMBA_DDPG], ids=["sac", "ddpg"])
def test_observations_are_normalised_for_acting_and_learning(options):
    network = replace(SIMBA, normalise=True)
    torch.manual_seed(0)
    loss, batch = make_loss(options, network), make_batch(STATE)
    loss.normaliser.update(3 + 2 * torch.randn(500, 5))
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    prepared = loss.prepare(batch)
    for key, raw in (("features", "observation"), ("next_features", ("next", "observation"))):
        torch.testing.assert_close(prepared[key], loss.normaliser(batch[raw]))
    torch.testing.assert_close(
        loss.act(batch["observation"], explore=False),
        torch.tanh(loss.actor(prepared["features"])[0]),
    )
    assert all(torch.equal(before[name], value) for name, value in loss.state_dict().items())
    assert "normaliser.mean" in before


# --- what else must hold ----------------------------------------------------------------


def test_phases_are_in_the_papers_order():
    names = [phase.name for phase in make_loss(SACOptions(), SIMBA).phases]
    assert names == ["actor", "temperature", "critic", "target"]
    names = [phase.name for phase in make_loss(SIMBA_DDPG, SIMBA).phases]
    assert names == ["actor", "critic", "target"]
    names = [phase.name for phase in make_loss(replace(DRQ_DDPG, shift=0), SIMBA).phases]
    assert names == ["critic", "actor", "target"]


def test_critics_keep_their_own_initialisation():
    torch.manual_seed(3)
    loss = make_loss(SACOptions(critics=2), SIMBA)
    one, two = (member.trunk.input.weight for member in loss.critic.members)
    assert not torch.equal(one, two)
    # Orthogonal, as built: TorchRL's conversion would have redrawn it uniformly.
    torch.testing.assert_close(one.T @ one, torch.eye(one.shape[1]), rtol=0, atol=1e-5)
    for t, p in zip(loss.target_critic.parameters(), loss.critic.parameters(), strict=True):
        assert torch.equal(t, p)
        assert t.data_ptr() != p.data_ptr()


def test_returns_pass_on_discount_and_n_step():
    returns = make_loss(DDPGOptions(gamma=0.9, n_step=3), SIMBA).returns
    assert (returns.gamma, returns.n_step) == (0.9, 3)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (lambda: SACOptions(gamma=1.1), "gamma"),
        (lambda: SACOptions(critics=0), "critics"),
        (lambda: SACOptions(initial_temperature=0), "initial_temperature"),
        (lambda: SACOptions(log_std_min=3), "log_std_max"),
        (lambda: DDPGOptions(tau=0), "tau"),
        (lambda: DDPGOptions(noise_clip=0), "noise_clip"),
        (lambda: DDPGOptions(shift=-1), "shift"),
        (lambda: DDPGOptions(n_step=0), "n_step"),
        (lambda: NoiseOptions(steps=0), "steps"),
        (lambda: NoiseOptions(initial=-1), "initial"),
    ],
)
def test_options_out_of_range_are_refused(options, field):
    with pytest.raises(OptionError) as caught:
        options()
    assert caught.value.field == field


@pytest.mark.parametrize("options", [SACOptions(), DDPGOptions()], ids=["sac", "ddpg"])
def test_what_does_not_fit_the_environment_is_refused(options):
    device = torch.device("cpu")
    discrete = LossContext(EnvironmentSpec((5,), 3, discrete=True), None, device)
    with pytest.raises(UserError, match="continuous"):
        build(register_losses(), options, discrete)
    state = LossContext(STATE, None, device)
    with pytest.raises(UserError, match="shift"):
        build(register_losses(), replace(options, shift=4), state)
