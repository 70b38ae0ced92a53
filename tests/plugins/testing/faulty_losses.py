"""Losses that are each wrong in one way."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from core.api import AnalysisBatch, Phase, Returns
from tests.plugins.testing.faulty import Fault, but


class Plain(nn.Module):
    """A good loss: a critic that follows its own values, an actor that climbs it."""

    returns = Returns(0.9)

    def __init__(self, options, context):
        super().__init__()
        self.actor = context.parts.actor({"mean": context.spec.action})
        self.critic = context.parts.critic(1)

    @property
    def phases(self):
        return (
            Phase("critic", self.move_critic, (self.critic,)),
            Phase("actor", self.move_actor, (self.actor,)),
        )

    def prepare(self, batch):
        return {
            "observation": batch["observation"],
            "next_observation": batch["next", "observation"],
            "action": batch["action"],
            "reward": batch["next", "reward"],
            "discount": batch["next", "discount"],
        }

    def policy(self, observation):
        (mean,) = self.actor(observation)
        return mean.tanh()

    @torch.no_grad()
    def goal(self, batch):
        following = batch["next_observation"]
        value = self.critic(following, self.policy(following))[0]
        return batch["reward"] + batch["discount"] * value

    def move_critic(self, batch):
        value = self.critic(batch["observation"], batch["action"])[0]
        objective = F.mse_loss(value, self.goal(batch))
        return objective, {"train/value": value.detach().mean()}

    def move_actor(self, batch):
        seen = batch["observation"]
        return -self.critic(seen, self.policy(seen)).mean(), {}

    def observe(self, observation, begins):
        pass

    @torch.no_grad()
    def act(self, observation, *, explore):
        return self.policy(observation)

    def set_progress(self, agent_steps):
        pass


class Idle(Plain):
    def __init__(self, options, context):
        super().__init__(options, context)
        self.idle = nn.Linear(1, 1)


class Immortal(Plain):
    def prepare(self, batch):
        return {**super().prepare(batch), "discount": torch.full_like(batch["next", "reward"], 0.9)}


class Graph(Plain):
    def move_critic(self, batch):
        objective, _ = super().move_critic(batch)
        return objective, {"train/twice": 2 * objective}


class Scaling(Plain):
    def prepare(self, batch):
        batch["next", "reward"].mul_(0.1)
        return super().prepare(batch)


class Reading(Plain):
    def goal(self, batch):
        return super().goal(batch) if batch["reward"].mean() > 0 else batch["reward"]


class Forgetful(Plain):
    """Scales by a number that no checkpoint has."""

    scale = 1.0

    def move_critic(self, batch):
        self.scale *= 1.01
        objective, metrics = super().move_critic(batch)
        return self.scale * objective, metrics


class Shaking(Plain):
    @torch.no_grad()
    def set_progress(self, agent_steps):
        for parameter in self.actor.parameters():
            parameter.add_(0.001)


class Showing(Plain):
    """Shows a batch without its rewards."""

    targets: dict[str, nn.Module] = {}  # noqa: RUF012 (as a property would answer)

    def analyse(self, batch):
        shown = {k: v for k, v in self.prepare(batch).items() if k != "reward"}
        seen = shown["observation"]
        return AnalysisBatch(seen, shown, {"actor": (seen,), "critic": (seen, shown["action"])})

    def predict(self, batch):
        return self.critic(batch["observation"], batch["action"]).squeeze(-1)


INSPECTION = {"provides": frozenset({"inspection"})}
MOVED = "every_parameter_is_moved_by_one_phase"
_fault = partial(Fault, "losses")
FAULTS = [
    _fault(MOVED, "idle.weight", Idle),
    _fault(
        *("learns_from_one_batch", "is a sign wrong"),
        but(Plain, goal=lambda s, b: 3 * s.critic(b["observation"], b["action"])[0].detach() + 1),
        suite={"falling": ("critic",)},
    ),
    _fault("terminations_cut_the_future_off", "batch['next', 'discount']", Immortal),
    _fault("says_how_rewards_are_summed", "n-step", but(Plain, returns=Returns(0.9, 3))),
    _fault("an_update_gives_scalars_and_leaves_its_batch", "detach it", Graph),
    _fault("an_update_gives_scalars_and_leaves_its_batch", "next.reward", Scaling),
    _fault("reads_nothing_on_the_host", "torch.where", Reading),
    _fault(
        *("acts", "explore=False"),
        but(Plain, act=lambda s, seen, explore: Plain.act(s, seen, explore=0) * torch.rand(())),
    ),
    _fault("goes_on_alike_from_a_checkpoint", "continued differs", Forgetful),
    _fault("removed_weights_stay_zero", "not zero", Shaking),
    _fault("can_be_looked_into", "no 'reward'", Showing, component=INSPECTION),
]
