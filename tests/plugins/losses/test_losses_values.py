"""What losses show of their critics: ``predict``, ``targets`` and ``bonus``."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.agent.masks import MaskSet
from core.agent.networks import MaskedNetworks
from core.api import EnvironmentSpec, LossContext, NetworkContext, Soft
from plugins.losses import register_losses
from plugins.losses.options import DDPGOptions, SACOptions
from plugins.networks import register_networks
from plugins.networks.options import MlpHidden, MlpOptions
from tests.support.agents import CPU, build, make_execution, make_learner
from tests.support.inspected import NORMALISING, REPLAYED, STREAMED, lived, transitions

torch.set_num_threads(1)


@pytest.mark.parametrize("name", REPLAYED)
def test_predictions_are_the_critics_values_of_stored_actions(name):
    learner, spec = lived(name)
    loss = learner.loss
    batch = transitions(spec)
    analysed = loss.analyse(batch)
    predicted = loss.predict(analysed.batch)
    features = batch["observation"]
    if loss.normaliser is not None:
        features = loss.normaliser(features)
    if loss.encoder is not None:
        features = loss.critic.projection(loss.encoder(features))
    inputs = torch.cat((features, batch["action"]), -1)
    expected = [member.head(member.trunk(inputs)).squeeze(1) for member in loss.critic.members]
    assert predicted.shape == (len(expected), 8)
    torch.testing.assert_close(predicted, torch.stack(expected))
    assert loss.targets["critic"] is loss.target_critic
    assert list(loss.targets) == ["critic"]
    assert not any(p.requires_grad for p in loss.targets["critic"].parameters())


@pytest.mark.parametrize("name", STREAMED)
def test_predictions_of_streaming_losses(name):
    learner, spec = lived(name)
    loss = learner.loss
    batch = transitions(spec)
    predicted = loss.predict(loss.analyse(batch).batch)
    (member,) = loss.critic.members
    values = member.head(member.trunk(loss.normaliser(batch["observation"])))
    column = [0] * 8 if name == "stream_ac" else batch["action"].tolist()
    expected = [values[row, entry] for row, entry in enumerate(column)]
    assert predicted.shape == (1, 8)
    torch.testing.assert_close(predicted[0], torch.stack(expected))
    assert loss.targets == {}
    assert not isinstance(loss, Soft)


# --- bonus ------------------------------------------------------------------------------


def expected_bonus(mean, log_std, temperature):
    """``-temperature E[log p(tanh(u))]``, each dimension integrated over its Gaussian."""
    z = np.linspace(-12, 12, 200_001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    total = 0.0
    for m, s in zip(mean, log_std, strict=True):
        u = m + np.exp(s) * z
        jacobian = -2 * np.logaddexp(u, -u) + 2 * np.log(2)  # log(1 - tanh(u)^2)
        log_p = -(z**2) / 2 - s - np.log(2 * np.pi) / 2 - jacobian
        total += np.trapezoid(density * log_p, z)
    return -temperature * total


def test_the_bonus_is_an_unbiased_draw_of_sacs_entropy():
    network = MlpOptions(actor=MlpHidden((16,)), critic=MlpHidden((4,)))
    torch.manual_seed(2)
    spec = EnvironmentSpec((5,), 3)
    networks = build(register_networks(), network, NetworkContext(spec), "mlp")
    parts = MaskedNetworks(networks, MaskSet(1), (), make_execution(), CPU)
    options = SACOptions(initial_temperature=0.3, log_std_min=-2, log_std_max=1)
    loss = build(register_losses(), options, LossContext(spec, parts, CPU))
    assert isinstance(loss, Soft)
    states = 2 * torch.randn(4, 5)
    draws = 20_000
    batch = {"features": states.repeat_interleave(draws, 0)}
    bonus = loss.bonus(batch)
    assert bonus.shape == (4 * draws,)
    assert not bonus.requires_grad
    with torch.no_grad():
        mean, raw = loss.actor(states)
    log_std = -2 + 1.5 * (1 + np.tanh(raw.double().numpy()))
    for found, m, s in zip(
        bonus.double().reshape(4, draws), mean.double().numpy(), log_std, strict=True
    ):
        error = found.std().item() / draws**0.5
        assert found.mean().item() == pytest.approx(expected_bonus(m, s, 0.3), abs=5 * error)
        assert error < 0.01


def test_losses_of_rewards_alone_have_no_bonus():
    assert not isinstance(make_learner(DDPGOptions(), NORMALISING).loss, Soft)
