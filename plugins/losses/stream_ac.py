"""Stream AC(lambda): actor-critic on one transition at a time (Elsayed et al. 2024)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, final

import torch
from torch.nn import functional as F
from torchrl.objectives import LossModule

from core.api import Phase, Returns
from plugins.losses import fused, gaussian, inputs, noise, td
from plugins.losses.stream_ac_fused import FusedActorCritic
from plugins.losses.stream_inputs import IN_KEYS, StreamInputs, forget

if TYPE_CHECKING:
    from tensordict import TensorDictBase
    from torch import Tensor, nn

    from core.api import AnalysisBatch, Batch, LossContext, Metrics, OnlineNetwork, Scalars
    from plugins.losses.options import StreamACOptions


@final
class StreamAC(LossModule):
    """Actor-critic with eligibility traces, in phases: critic, actor.

    ``delta = r + gamma V(s') - V(s)`` is taken once, before either network moves. Each phase
    gives, per environment, what its optimizer puts into the trace (to be minimised): ``-V(s)``
    and ``-(log pi(a|s) + entropy sign(delta) H)``. As the step multiplies by delta, entropy's
    sign makes its own step raise the entropy; later steps multiply what is left of it in the
    trace by deltas of either sign. The trace is emptied after the update of an episode's last
    transition.

    The policy is a Gaussian without squashing, its standard deviation a softplus without
    floor; the environment clips actions, and the log-probability is of the action before that.
    Calling the loss on a TensorDict folds it into the running statistics as an update does,
    and gives the objectives' means as ``loss_critic`` and ``loss_actor``.
    """

    def __init__(self, options: StreamACOptions, context: LossContext) -> None:
        super().__init__()
        inputs.check_actions("stream_ac", context)
        self.in_keys = list(IN_KEYS)
        self.out_keys = ["loss_critic", "loss_actor"]
        self.options = options
        self.environments = context.count
        self.stream = StreamInputs(options, context, ("actor", "critic"))
        self.normaliser, self.reward_scaler = self.stream.normaliser, self.stream.scaler
        self.register_load_state_dict_post_hook(forget)
        actions = context.spec.action
        self.actor = context.parts.actor({"mean": actions, "std": actions})
        self.critic = context.parts.critic(1, action=False)
        self._fused: FusedActorCritic | None = None

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Critic, actor, and the overshoot check if it is asked for."""
        fixed = {"gamma": self.options.gamma, "environments": self.environments}
        phases = (
            Phase("critic", self._move_critic, (self.critic,), fixed, _step),
            Phase("actor", self._move_actor, (self.actor,), fixed, _step),
        )
        check = (Phase("overshoot", self._check_overshoot),)
        return (*phases, *check) if self.options.overshoot_check else phases

    @property
    def returns(self) -> Returns:
        """One reward at a time."""
        return Returns(self.options.gamma)

    def prepare(self, batch: TensorDictBase) -> Batch:
        """See :meth:`core.api.Loss.prepare`; updates the running statistics."""
        return self.stream.prepare(batch)

    def analyse(self, batch: TensorDictBase) -> AnalysisBatch:
        """See :meth:`core.api.Inspectable.analyse`."""
        return self.stream.analyse(batch)

    def predict(self, batch: Batch) -> Tensor:
        """``[1, B]``: the value of each state."""
        return self._value(batch["observation"]).unsqueeze(0)

    @property
    def targets(self) -> dict[str, nn.Module]:
        """None: there are no target networks."""
        return {}

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """The objectives' means at the present weights: ``loss_critic``, ``loss_actor``."""
        return inputs.joint_losses(self, self.phases, self.prepare(tensordict))

    def observe(self, observation: Tensor, begins: Tensor) -> None:
        """See :meth:`core.api.Loss.observe`."""
        self.stream.observe(observation, begins)

    def act(self, observation: Tensor, *, explore: bool) -> Tensor:
        """A sample of the policy, or its mean: ``[N, A]``, not confined to [-1, 1]."""
        if explore and self._fused is not None:
            return self._fused.act(observation)
        with torch.no_grad():
            mean, std = self._policy(self.stream.normalised(observation))
            return mean + std * noise.standard_normal(mean) if explore else mean

    def set_progress(self, agent_steps: int) -> None:
        """Nothing in Stream AC moves with the step count."""

    def fuse(
        self,
        online: Callable[[nn.Module], OnlineNetwork | None],
        optimizers: Mapping[str, Any],
    ) -> Callable[[TensorDictBase], Scalars] | None:
        """See :meth:`core.api.Fusable.fuse`: for one environment, where kernels apply."""
        found = fused.online_networks(
            (self.actor, self.critic), online, optimizers, self.environments
        )
        if found is None:
            return None
        actor, critic = found
        self._fused = FusedActorCritic(self.options, self.stream, actor, critic, optimizers)
        return self._fused

    def _policy(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = self.actor(observation)
        return mean, F.softplus(raw)

    def _value(self, observation: Tensor) -> Tensor:
        return self.critic(observation).squeeze(0).squeeze(-1)  # type: ignore[no-any-return]

    @torch.no_grad()
    def _td_error(self, batch: Batch, value: Tensor) -> Tensor:
        next_value = self._value(batch["next_observation"])
        return td.td_error(batch["reward"], batch["discount"], value, next_value)

    def _move_critic(self, batch: Batch) -> tuple[Tensor, Metrics]:
        value = self._value(batch["observation"])
        batch["td_error"] = self._td_error(batch, value.detach())
        return -value, td.td_metrics(batch, value.detach(), "train/value")

    def _move_actor(self, batch: Batch) -> tuple[Tensor, Metrics]:
        mean, std = self._policy(batch["observation"])
        log_prob = gaussian.log_probability(mean, std, batch["action"])
        entropy = gaussian.entropy(std.log())
        weight = self.options.entropy * batch["td_error"].sign()
        return -(log_prob + weight * entropy), {"train/entropy": entropy.detach().mean()}

    @torch.no_grad()
    def _check_overshoot(self, batch: Batch) -> tuple[None, Metrics]:
        after = self._td_error(batch, self._value(batch["observation"]))
        return None, td.overshoot(batch, after)


def _step(batch: Batch) -> dict[str, Tensor]:
    return {"delta": batch["td_error"], "reset": batch["ended"]}
