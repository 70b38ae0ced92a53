"""SAC and DDPG against updates written out by hand."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from plugins.losses.options import DDPGOptions, NoiseOptions, SACOptions
from plugins.optimizers.options import AdamWOptions
from tests.support.agents import SIMBA, SIMBA_DDPG, STATE, make_batch, make_learner

LR, DECAY = 3e-3, 1e-2
ADAMW = AdamWOptions(lr=LR, weight_decay=DECAY)
DOUBLE = torch.float64
torch.set_num_threads(1)


class HandAdamW:
    """Loshchilov and Hutter 2019, algorithm 2, in plain tensors."""

    def __init__(self, module: nn.Module, lr: float = LR, decay: float = DECAY) -> None:
        self.parameters = list(module.parameters())
        self.lr, self.decay, self.t = lr, decay, 0
        self.m = [torch.zeros_like(p) for p in self.parameters]
        self.v = [torch.zeros_like(p) for p in self.parameters]

    def minimise(self, objective: Tensor) -> None:
        self.t += 1
        gradients = torch.autograd.grad(objective, self.parameters)
        with torch.no_grad():
            for i, (p, g) in enumerate(zip(self.parameters, gradients, strict=True)):
                self.m[i] = 0.9 * self.m[i] + 0.1 * g
                self.v[i] = 0.999 * self.v[i] + 0.001 * g * g
                m, v = self.m[i] / (1 - 0.9**self.t), self.v[i] / (1 - 0.999**self.t)
                p.sub_(self.lr * (m / (v.sqrt() + 1e-8) + self.decay * p))


def average(target: nn.Module, online: nn.Module, tau: float) -> None:
    with torch.no_grad():
        for t, p in zip(target.parameters(), online.parameters(), strict=True):
            t.copy_(tau * p + (1 - tau) * t)


def assert_same_weights(module: nn.Module, oracle: nn.Module) -> None:
    for (name, p), q in zip(module.named_parameters(), oracle.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-11, msg=lambda m, n=name: f"{n}: {m}")


def gaussian(actor: nn.Module, observation: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """A SAC action and its log-probability, through torch.distributions."""
    mean, raw = actor(observation)
    std = (-10 + 12 * (torch.tanh(raw) + 1) / 2).exp()
    policy = TransformedDistribution(Normal(mean, std), TanhTransform(cache_size=1))
    action = torch.tanh(mean + std * z)
    return action, Independent(policy, 1).log_prob(action)[:, None]


@pytest.mark.parametrize("critics", [1, 2])
def test_sac_update_equals_one_written_by_hand(tape, critics):
    options = SACOptions(critics=critics, tau=0.05, temperature_lr=0.02, initial_temperature=0.3)
    learner = make_learner(options, SIMBA, optimizer=ADAMW, dtype=DOUBLE)
    actor, critic = deepcopy(learner.loss.actor), deepcopy(learner.loss.critic)
    target, log_alpha = deepcopy(critic), nn.Linear(1, 1, bias=False).double()
    log_alpha.weight.data.fill_(math.log(0.3))
    # The learner keeps it in float32 until the agent is cast.
    log_alpha.weight.data.copy_(learner.loss.temperature.log_alpha.data)
    move_actor, move_critic = HandAdamW(actor), HandAdamW(critic)
    move_alpha = HandAdamW(log_alpha, lr=0.02, decay=0.0)
    for update in range(3):
        batch = make_batch(STATE, seed=update).to(DOUBLE)
        learner.update(batch)
        z, z_next = tape[-2:]
        observation, following = batch["observation"], batch["next", "observation"]

        action, log_prob = gaussian(actor, observation, z)
        q = critic(observation, action).min(0).values
        alpha = log_alpha.weight.exp().detach()[0, 0]
        move_actor.minimise((alpha * log_prob - q).mean())
        entropy = -log_prob.detach().mean()
        move_alpha.minimise(log_alpha.weight.exp()[0, 0] * (entropy + 0.5 * STATE.action))

        alpha = log_alpha.weight.exp().detach()[0, 0]
        with torch.no_grad():
            action, log_prob = gaussian(actor, following, z_next)
            v = target(following, action).min(0).values - alpha * log_prob
            y = batch["next", "reward"] + batch["next", "discount"] * v
        q = critic(observation, batch["action"])
        move_critic.minimise(sum(((q[i] - y) ** 2).mean() for i in range(critics)))
        average(target, critic, 0.05)
    assert len(tape) == 6
    loss = learner.loss
    assert_same_weights(loss.actor, actor)
    assert_same_weights(loss.critic, critic)
    assert_same_weights(loss.target_critic, target)
    torch.testing.assert_close(
        loss.temperature.log_alpha, log_alpha.weight[0, 0], rtol=1e-9, atol=0
    )


FORMS = {
    "simba": replace(SIMBA_DDPG, noise=NoiseOptions(0.9, 0.9)),
    "drq": DDPGOptions(
        critics=2,
        noise=NoiseOptions(0.9, 0.9),
        noise_clip=0.3,
        clip="straight_through",
        order="critic_first",
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_ddpg_update_equals_one_written_by_hand(tape, form):
    options = FORMS[form]
    learner = make_learner(options, SIMBA, optimizer=ADAMW, dtype=DOUBLE)
    actor, critic = deepcopy(learner.loss.actor), deepcopy(learner.loss.critic)
    target, sigma = deepcopy(critic), learner.loss.sigma
    move_actor, move_critic = HandAdamW(actor), HandAdamW(critic)

    def noisy(observation: Tensor, z: Tensor) -> Tensor:
        mean = torch.tanh(actor(observation)[0])
        if form == "simba":
            return torch.minimum(torch.maximum(mean + sigma * z, -torch.ones(())), torch.ones(()))
        free = mean + torch.clip(sigma * z, -0.3, 0.3)
        bounded = free.detach().clip(-1 + 1e-6, 1 - 1e-6)
        return bounded + free - free.detach()

    def actor_step(batch, z):
        observation = batch["observation"]
        q = critic(observation, noisy(observation, z)).min(0).values
        move_actor.minimise(-q.mean())

    def critic_step(batch, z):
        following = batch["next", "observation"]
        with torch.no_grad():
            v = target(following, noisy(following, z)).min(0).values
            y = batch["next", "reward"] + batch["next", "discount"] * v
        q = critic(batch["observation"], batch["action"])
        move_critic.minimise(sum(((q[i] - y) ** 2).mean() for i in range(options.critics)))

    for update in range(3):
        batch = make_batch(STATE, seed=update).to(DOUBLE)
        learner.update(batch)
        steps = [actor_step, critic_step]
        for step, z in zip(steps if form == "simba" else steps[::-1], tape[-2:], strict=True):
            step(batch, z)
        average(target, critic, options.tau)
    assert (tape[0] * sigma + 1).abs().gt(2).any(), "the clip was never reached"
    assert_same_weights(learner.loss.actor, actor)
    assert_same_weights(learner.loss.critic, critic)
    assert_same_weights(learner.loss.target_critic, target)
