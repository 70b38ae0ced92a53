"""Losses that are each wrong in one way."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from core.api import AnalysisBatch, Phase, Returns
from tests.plugins.testing.faulty import Fault


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


class TwoOfOneName(Plain):
    @property
    def phases(self):
        return (*super().phases, Phase("critic", lambda batch: (None, {})))


class Outside(Plain):
    def __init__(self, options, context):
        super().__init__(options, context)
        self.held = [nn.Linear(1, 1)]

    @property
    def phases(self):
        (layer,) = self.held
        return (*super().phases, Phase("own", lambda b: (layer(b["reward"]).mean(), {}), (layer,)))


class Idle(Plain):
    def __init__(self, options, context):
        super().__init__(options, context)
        self.idle = nn.Linear(1, 1)


class Still(Plain):
    @property
    def phases(self):
        critic, actor = super().phases
        return Phase(critic.name, critic.run, critic.modules, {"lr": 0.0}), actor


class Running(Plain):
    """Away from what it is at."""

    def goal(self, batch):
        return 3 * self.critic(batch["observation"], batch["action"])[0].detach() + 1


class Immortal(Plain):
    def prepare(self, batch):
        return {**super().prepare(batch), "discount": torch.full_like(batch["next", "reward"], 0.9)}


class Unstated(Plain):
    returns = Returns(0.9, 3)


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


class Wide(Plain):
    def policy(self, observation):
        return 3 + super().policy(observation)


class WithGraph(Plain):
    def act(self, observation, *, explore):
        return self.policy(observation)


class Unsure(Plain):
    def act(self, observation, *, explore):
        return super().act(observation, explore=explore) * torch.rand(())


class Forgetful(Plain):
    """Scales by a number that no checkpoint has."""

    def __init__(self, options, context):
        super().__init__(options, context)
        self.scale = 1.0

    def move_critic(self, batch):
        self.scale *= 1.01
        objective, metrics = super().move_critic(batch)
        return self.scale * objective, metrics


class Shaking(Plain):
    def set_progress(self, agent_steps):
        with torch.no_grad():
            for parameter in self.actor.parameters():
                parameter.add_(0.001)


class FusedToNothing(Plain):
    def fuse(self, row, optimizers):
        return lambda batch: {"train/value": 0.0}


class Showing(Plain):
    """Shows a batch without its rewards."""

    targets: dict[str, nn.Module] = {}  # noqa: RUF012 (as a property would answer)

    def examine(self, batch):
        shown = {k: v for k, v in self.prepare(batch).items() if k != "reward"}
        seen = shown["observation"]
        return AnalysisBatch(seen, shown, {"actor": (seen,), "critic": (seen, shown["action"])})

    def predict(self, batch):
        return self.critic(batch["observation"], batch["action"]).squeeze(-1)


INSPECTION = {"provides": frozenset({"inspection"})}
_fault = partial(Fault, "losses")
FAULTS = [
    _fault("phases_have_names_of_their_own", TwoOfOneName, "one name"),
    _fault("phases_move_parts_of_the_loss", Outside, "checkpoints lack it"),
    _fault("every_parameter_is_moved_by_one_phase", Idle, "idle.weight"),
    _fault("every_phase_moves_its_parameters", Still, "phase 'critic'"),
    _fault("learns_from_one_batch", Running, "is a sign wrong", suite={"falling": ("critic",)}),
    _fault("terminations_cut_the_future_off", Immortal, "batch['next', 'discount']"),
    _fault("says_how_rewards_are_summed", Unstated, "n-step returns"),
    _fault("metrics_are_finite_scalars", Graph, "detach it"),
    _fault("batches_stay_as_they_are", Scaling, "next.reward"),
    _fault("reads_nothing_on_the_host", Reading, "torch.where"),
    _fault("acts", Wide, "not in [-1, 1]"),
    _fault("acts", WithGraph, "no_grad"),
    _fault("acts_alike_without_exploring", Unsure, "explore=False"),
    _fault("goes_on_alike_from_a_checkpoint", Forgetful, "critic"),
    _fault("works_with_masks", Shaking, "not zero"),
    _fault("one_call_does_what_the_phases_do", FusedToNothing, "fuse()"),
    _fault("can_be_looked_into", Plain, "lacks examine()", component=INSPECTION),
    _fault("can_be_looked_into", Showing, "no 'reward'", component=INSPECTION),
]
