"""Soft actor-critic, as SimBa runs it (Haarnoja et al. 2018; Lee et al. 2025)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, final

import torch
from torch import nn
from torchrl.objectives import LossModule

from core.api import Phase, Returns
from plugins.losses import inputs, tanh_normal
from plugins.losses.targets import averaging, least, squared_error, target_copy, td_target

if TYPE_CHECKING:
    from tensordict import TensorDictBase
    from torch import Tensor

    from core.api import AnalysisBatch, Batch, LossContext, Metrics
    from plugins.losses.options import SACOptions


@final
class Temperature(nn.Module):
    """The entropy temperature, learned as its logarithm."""

    def __init__(self, initial: float, device: torch.device) -> None:
        super().__init__()
        self.log_alpha = nn.Parameter(torch.full((), math.log(initial), device=device))

    def forward(self) -> Tensor:
        """The temperature, a scalar."""
        return self.log_alpha.exp()


@final
class SAC(LossModule):
    """Soft actor-critic in phases: actor, temperature, critic, target.

    Each phase sees what the earlier ones of the same update moved: the critic's target uses
    the updated actor and the updated temperature; the temperature follows the entropy that
    the actor phase measured before its step (order and equations: SimBa's ``sac_agent.py``
    and ``sac_update.py``).

    With an encoder, the critic's objective alone trains it; the actor takes its features
    detached.

    Where this differs from ``torchrl.objectives.SACLoss``: the error is squared (there: smooth
    L1 by default); updates go in phases (there: one forward at the weights from before the
    update); the temperature's objective is alpha times the entropy gap (there: log alpha times
    it); the target entropy defaults to -|A|/2 (there: -|A|), the first temperature to 0.01
    (there: 1), the critics to one (there: two); the log-probability is a plain formula (there:
    ``TanhNormal``, whose constructor reads tensors on the host). Networks stay plain modules:
    ``convert_to_functional`` draws new weights when it makes an ensemble of one module, and
    gives every member the same mask. Calling the loss on a TensorDict gives all objectives at
    the present weights, as ``loss_actor``, ``loss_temperature`` and ``loss_critic``.
    """

    def __init__(self, options: SACOptions, context: LossContext) -> None:
        super().__init__()
        inputs.check_actions("sac", context)
        self.in_keys = list(inputs.IN_KEYS)
        self.out_keys = ["loss_actor", "loss_temperature", "loss_critic"]
        self.options = options
        actions, parts = context.spec.action, context.parts
        self.target_entropy = (
            -0.5 * actions if options.target_entropy is None else options.target_entropy
        )
        self.inputs = inputs.BatchInputs("sac", options.shift, context)
        self.normaliser, self.encoder = self.inputs.normaliser, self.inputs.encoder
        self.actor = parts.actor({"mean": actions, "log_std": actions})
        self.critic = parts.critic(options.critics)
        self.target_critic = target_copy(self.critic)
        self.temperature = Temperature(options.initial_temperature, context.device)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Actor, temperature, critic (with the encoder, if there is one), target."""
        trained = self.inputs.trained_with(self.critic)
        temperature = {"lr": self.options.temperature_lr, "weight_decay": 0.0}
        target = averaging(self.target_critic, self.critic, self.options.tau)
        return (
            Phase("actor", self._move_actor, (self.actor,)),
            Phase("temperature", self._move_temperature, (self.temperature,), temperature),
            Phase("critic", self._move_critic, trained),
            Phase("target", target),
        )

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

    @torch.no_grad()
    def bonus(self, batch: Batch) -> Tensor:
        """``[B]``: temperature times minus the log-probability of an action drawn here."""
        _, log_prob = tanh_normal.sample(*self._policy(batch["features"]))
        return -self.temperature() * log_prob.squeeze(-1)  # type: ignore[no-any-return]

    @property
    def targets(self) -> dict[str, nn.Module]:
        """The target critic."""
        return {"critic": self.target_critic}

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """All objectives at the present weights: scalars ``loss_actor`` and so on."""
        return inputs.joint_losses(self, self.phases, self.prepare(tensordict))

    def observe(self, observation: Tensor, begins: Tensor) -> None:
        """See :meth:`core.api.Loss.observe`; every observation acted on enters the statistics."""
        self.inputs.observe(observation)

    @torch.no_grad()
    def act(self, observation: Tensor, *, explore: bool) -> Tensor:
        """A sample of the policy, or the tanh of its mean: ``[N, A]`` in [-1, 1]."""
        mean, log_std = self._policy(self.inputs.features(observation))
        return tanh_normal.sample(mean, log_std)[0] if explore else torch.tanh(mean)

    def set_progress(self, agent_steps: int) -> None:
        """Nothing in SAC moves with the step count."""

    def _policy(self, features: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = self.actor(features)
        options = self.options
        return mean, tanh_normal.bounded_log_std(raw, options.log_std_min, options.log_std_max)

    def _move_actor(self, batch: Batch) -> tuple[Tensor, Metrics]:
        features = batch["features"].detach()
        action, log_prob = tanh_normal.sample(*self._policy(features))
        value = least(self.critic(features, action))
        temperature = self.temperature().detach()
        batch["entropy"] = -log_prob.detach().mean()
        metrics = {"train/entropy": batch["entropy"]}
        return (temperature * log_prob - value).mean(), metrics

    def _move_temperature(self, batch: Batch) -> tuple[Tensor, Metrics]:
        temperature = self.temperature()
        objective = temperature * (batch["entropy"] - self.target_entropy)
        return objective, {"train/temperature": temperature.detach()}

    def _move_critic(self, batch: Batch) -> tuple[Tensor, Metrics]:
        values = self.critic(batch["features"], batch["action"])
        target = self._target(batch)
        metrics = {"train/q": values.detach().mean(), "train/target_q": target.mean()}
        return squared_error(values, target), metrics

    @torch.no_grad()
    def _target(self, batch: Batch) -> Tensor:
        features = batch["next_features"]
        action, log_prob = tanh_normal.sample(*self._policy(features))
        value = least(self.target_critic(features, action)) - self.temperature() * log_prob
        return td_target(batch["reward"], batch["discount"], value)
