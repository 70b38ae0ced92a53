"""Deterministic policy gradient: SimBa's DDPG and DrQ-v2 in one loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch
from torchrl.objectives import LossModule

from core.api import Phase, Returns
from plugins.losses import inputs, noise
from plugins.losses.noise import linear
from plugins.losses.targets import averaging, least, squared_error, target_copy, td_target

if TYPE_CHECKING:
    from tensordict import TensorDictBase
    from torch import Tensor, nn

    from core.api import AnalysisBatch, Batch, LossContext, Metrics
    from plugins.losses.options import DDPGOptions

INSIDE = 1 - 1e-6
"""Bound of DrQ-v2's actions: just inside the action range."""


def straight_through(action: Tensor) -> Tensor:
    """Clamp to ``[-INSIDE, INSIDE]``; the gradient passes as if nothing were clamped."""
    return action + (action.clamp(-INSIDE, INSIDE) - action).detach()


@final
class DDPG(LossModule):
    """Deterministic policy gradient with Gaussian noise, in phases.

    ``actor_first`` (SimBa's ``ddpg_agent.py``): actor, critic, target; the critic's target
    uses the updated actor. ``critic_first`` (DrQ-v2's ``drqv2.py``): critic with encoder,
    actor, target; the actor is judged by the updated critic, on features from before the
    critic's step. The same noise, freshly drawn, enters exploration, the actor's objective
    and the target; there is no target actor. An encoder is trained by the critic alone.

    Where this differs from ``torchrl.objectives.DDPGLoss``: there the error is smooth L1 by
    default, updates are one joint forward, there is one critic, and no noise within updates.
    Networks stay plain modules: ``convert_to_functional`` draws new weights when it makes an
    ensemble of one module, and gives every member the same mask.
    Calling the loss on a TensorDict gives both objectives at the present weights, as
    ``loss_actor`` and ``loss_critic``.
    """

    sigma: Tensor

    def __init__(self, options: DDPGOptions, context: LossContext) -> None:
        super().__init__()
        inputs.check_actions("ddpg", context)
        self.in_keys = list(inputs.IN_KEYS)
        self.out_keys = ["loss_actor", "loss_critic"]
        self.options = options
        parts = context.parts
        self.inputs = inputs.BatchInputs("ddpg", options.shift, context)
        self.normaliser, self.encoder = self.inputs.normaliser, self.inputs.encoder
        self.actor = parts.actor({"action": context.spec.action})
        self.critic = parts.critic(options.critics)
        self.target_critic = target_copy(self.critic)
        # A tensor, so that a compiled or captured update follows the schedule.
        self.register_buffer("sigma", torch.full((), options.noise.initial, device=context.device))

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Actor, critic (with the encoder, if there is one), target; or critic first."""
        trained = self.inputs.trained_with(self.critic)
        actor = Phase("actor", self._move_actor, (self.actor,))
        critic = Phase("critic", self._move_critic, trained)
        both = (actor, critic) if self.options.order == "actor_first" else (critic, actor)
        target = averaging(self.target_critic, self.critic, self.options.tau)
        return (*both, Phase("target", target))

    @property
    def returns(self) -> Returns:
        """How the data source is to sum rewards."""
        return Returns(self.options.gamma, self.options.n_step)

    def prepare(self, batch: TensorDictBase) -> Batch:
        """See :meth:`core.api.Loss.prepare`."""
        return self.inputs.prepare(batch, self.options.shift)

    def analyse(self, batch: TensorDictBase) -> AnalysisBatch:
        """See :meth:`core.api.Inspectable.analyse`."""
        return self.inputs.analyse(batch)

    def predict(self, batch: Batch) -> Tensor:
        """``[M, B]``: each critic's value of the stored actions."""
        return self.critic(batch["features"], batch["action"]).squeeze(-1)  # type: ignore[no-any-return]

    @property
    def targets(self) -> dict[str, nn.Module]:
        """The target critic."""
        return {"critic": self.target_critic}

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Both objectives at the present weights: scalars ``loss_actor``, ``loss_critic``."""
        return inputs.joint_losses(self, self.phases, self.prepare(tensordict))

    def observe(self, observation: Tensor, begins: Tensor) -> None:
        """See :meth:`core.api.Loss.observe`; every observation acted on enters the statistics."""
        self.inputs.observe(observation)

    @torch.no_grad()
    def act(self, observation: Tensor, *, explore: bool) -> Tensor:
        """``[N, A]`` in [-1, 1]: the mean, with unclipped noise when exploring."""
        mean = self._mean(self.inputs.features(observation))
        return self._noisy(mean, clip=None) if explore else mean

    def set_progress(self, agent_steps: int) -> None:
        """Move the noise to where its schedule is at ``agent_steps``; no sync."""
        schedule = self.options.noise
        self.sigma.fill_(linear(schedule.initial, schedule.final, schedule.steps, agent_steps))

    def _mean(self, features: Tensor) -> Tensor:
        (head,) = self.actor(features)
        return torch.tanh(head)

    def _noisy(self, mean: Tensor, clip: float | None) -> Tensor:
        disturbance = self.sigma * noise.standard_normal(mean)
        if clip is not None:
            disturbance = disturbance.clamp(-clip, clip)
        action = mean + disturbance
        return action.clamp(-1, 1) if self.options.clip == "hard" else straight_through(action)

    def _move_actor(self, batch: Batch) -> tuple[Tensor, Metrics]:
        features = batch["features"].detach()
        action = self._noisy(self._mean(features), self.options.noise_clip)
        objective = -least(self.critic(features, action)).mean()
        return objective, {"train/action": action.detach().abs().mean()}

    def _move_critic(self, batch: Batch) -> tuple[Tensor, Metrics]:
        values = self.critic(batch["features"], batch["action"])
        target = self._target(batch)
        metrics = {
            "train/q": values.detach().mean(),
            "train/target_q": target.mean(),
            "train/noise": self.sigma,
        }
        return squared_error(values, target), metrics

    @torch.no_grad()
    def _target(self, batch: Batch) -> Tensor:
        features = batch["next_features"]
        action = self._noisy(self._mean(features), self.options.noise_clip)
        value = least(self.target_critic(features, action))
        return td_target(batch["reward"], batch["discount"], value)
