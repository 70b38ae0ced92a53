"""The losses' values against TorchRL's own losses, at equal settings."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from plugins.losses import noise
from plugins.losses.options import NoiseOptions, SACOptions
from tests.support.agents import SIMBA, SIMBA_DDPG, STATE, make_batch, make_loss

torch.set_num_threads(1)
# TorchRL warns of targets that nothing averages; here nothing should.
pytestmark = pytest.mark.filterwarnings("ignore:No target network updater")


class Side(nn.Module):
    """One member of a critic, called as TorchRL calls a Q network."""

    def __init__(self, critic: nn.Module, member: int) -> None:
        super().__init__()
        self.member = deepcopy(critic.members[member])

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        return self.member(torch.cat([observation, action], -1))


def as_torchrl(batch):
    """The batch with what TorchRL's value estimator reads; its discount is always gamma."""
    batch = batch.clone()
    ended = batch["next", "discount"] == 0
    batch["next", "terminated"] = batch["next", "done"] = ended
    return batch


@pytest.mark.parametrize("critics", [1, 2])
def test_sac_losses_equal_torchrls_at_equal_settings(monkeypatch, critics):
    from tensordict.nn import TensorDictModule
    from torchrl.modules import ProbabilisticActor, TanhNormal, ValueOperator
    from torchrl.objectives import SACLoss, ValueEstimators

    z = torch.randn(8, STATE.action)
    monkeypatch.setattr(noise, "standard_normal", z.to)
    options = SACOptions(critics=critics, initial_temperature=0.3, log_std_min=-3, log_std_max=-1)
    ours = make_loss(options, SIMBA)

    class Parameters(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.actor = deepcopy(ours.actor)

        def forward(self, observation):
            mean, raw = self.actor(observation)
            return mean, (torch.tanh(raw) - 2).exp()

    def fixed(self, shape=()):
        return self.loc + self.scale * z

    monkeypatch.setattr(Normal, "rsample", fixed)
    monkeypatch.setattr(Normal, "sample", fixed)
    actor = ProbabilisticActor(
        TensorDictModule(Parameters(), ["observation"], ["loc", "scale"]),
        in_keys=["loc", "scale"],
        distribution_class=TanhNormal,
        spec=None,
    )
    sides = [
        ValueOperator(Side(ours.critic, i), in_keys=["observation", "action"])
        for i in range(critics)
    ]
    theirs = SACLoss(
        actor,
        sides,
        num_qvalue_nets=critics,
        loss_function="l2",
        alpha_init=0.3,
        target_entropy=-0.5 * STATE.action,
        action_spec=None,
        deactivate_vmap=True,
    )
    theirs.make_value_estimator(ValueEstimators.TD0, gamma=0.97)
    batch = make_batch(STATE)
    want, got = theirs(as_torchrl(batch)), ours(batch)
    torch.testing.assert_close(got["loss_actor"], want["loss_actor"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got["loss_critic"], want["loss_qvalue"], rtol=1e-4, atol=1e-5)
    # TorchRL's is log(alpha) times the same gap, ours (the paper's) alpha times it.
    gap = want["loss_alpha"] / math.log(0.3)
    torch.testing.assert_close(got["loss_temperature"], 0.3 * gap, rtol=1e-4, atol=1e-5)


def test_ddpg_losses_equal_torchrls_at_equal_settings():
    from tensordict.nn import TensorDictModule
    from torchrl.modules import ValueOperator
    from torchrl.objectives import DDPGLoss, ValueEstimators

    ours = make_loss(replace(SIMBA_DDPG, noise=NoiseOptions(0.0, 0.0)), SIMBA)

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.actor = deepcopy(ours.actor)

        def forward(self, observation):
            return torch.tanh(self.actor(observation)[0])

    theirs = DDPGLoss(
        TensorDictModule(Mean(), ["observation"], ["action"]),
        ValueOperator(Side(ours.critic, 0), in_keys=["observation", "action"]),
        loss_function="l2",
    )
    theirs.make_value_estimator(ValueEstimators.TD0, gamma=0.97)
    batch = make_batch(STATE)
    want, got = theirs(as_torchrl(batch)), ours(batch)
    torch.testing.assert_close(got["loss_actor"], want["loss_actor"])
    torch.testing.assert_close(got["loss_critic"], want["loss_value"])


def test_a_called_loss_can_be_summed_and_differentiated_at_once():
    loss, batch = make_loss(SACOptions(critics=2), SIMBA), make_batch(STATE)
    torch.manual_seed(1)
    sum(loss(batch).values()).backward()
    together = {name: p.grad.clone() for name, p in loss.named_parameters() if p.grad is not None}
    torch.manual_seed(1)
    values = loss(batch)
    for own in ("actor", "temperature", "critic"):
        parameters = dict(getattr(loss, own).named_parameters())
        alone = torch.autograd.grad(values[f"loss_{own}"], list(parameters.values()))
        for name, gradient in zip(parameters, alone, strict=True):
            torch.testing.assert_close(together[f"{own}.{name}"], gradient)
    assert all(p.requires_grad for p in loss.critic.parameters())
    assert not any(p.requires_grad for p in loss.target_critic.parameters())
