"""Stream Q(lambda): Q-learning on one transition at a time (Elsayed et al. 2024)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, final

import torch
from torchrl.objectives import LossModule

from core.api import Phase, Returns
from plugins.losses import fused, inputs, noise, td
from plugins.losses.noise import linear
from plugins.losses.stream_inputs import IN_KEYS, StreamInputs, forget
from plugins.losses.stream_q_fused import FusedQ

if TYPE_CHECKING:
    from tensordict import TensorDictBase
    from torch import Tensor, nn

    from core.api import AnalysisBatch, Batch, LossContext, Metrics, OnlineNetwork, Scalars
    from plugins.losses.options import StreamQOptions


@final
class StreamQ(LossModule):
    """Q-learning with eligibility traces; one phase, ``critic``.

    ``delta = r + gamma max Q(s', .) - Q(s, a)``; what is minimised, per environment, is
    ``-Q(s, a)``. Actions are epsilon-greedy; of equal values the first counts as the greedy
    one. An action is exploratory if it differs from the greedy one before the update; what
    then happens to the trace is the option ``exploratory_cut``. The trace is emptied after
    the update of an episode's last transition.

    Calling the loss on a TensorDict folds it into the running statistics as an update does,
    and gives the objective's mean as ``loss_critic``.
    """

    epsilon: Tensor

    def __init__(self, options: StreamQOptions, context: LossContext) -> None:
        super().__init__()
        inputs.check_actions("stream_q", context, discrete=True)
        self.in_keys = list(IN_KEYS)
        self.out_keys = ["loss_critic"]
        self.options = options
        self.environments, self.actions = context.count, context.spec.action
        self.stream = StreamInputs(options, context, ("critic",))
        self.normaliser, self.reward_scaler = self.stream.normaliser, self.stream.scaler
        self.register_load_state_dict_post_hook(forget)
        self.critic = context.parts.critic(1, self.actions, action=False)
        start = options.epsilon.initial
        self.register_buffer("epsilon", torch.full((), start, device=context.device))
        self._fused: FusedQ | None = None

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The critic, and the overshoot check if it is asked for."""
        fixed = {"gamma": self.options.gamma, "environments": self.environments}
        phase = Phase("critic", self._move_critic, (self.critic,), fixed, self._step)
        check = (Phase("overshoot", self._check_overshoot),)
        return (phase, *check) if self.options.overshoot_check else (phase,)

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
        """``[1, B]``: the value of each action taken."""
        return _of(self._values(batch["observation"]), batch["action"]).unsqueeze(0)

    @property
    def targets(self) -> dict[str, nn.Module]:
        """None: there are no target networks."""
        return {}

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """The objective's mean at the present weights, ``loss_critic``."""
        return inputs.joint_losses(self, self.phases, self.prepare(tensordict))

    def observe(self, observation: Tensor, begins: Tensor) -> None:
        """See :meth:`core.api.Loss.observe`."""
        self.stream.observe(observation, begins)

    @torch.no_grad()
    def act(self, observation: Tensor, *, explore: bool) -> Tensor:
        """The greedy choice, or when exploring, with probability epsilon, any: ``[N]`` int64."""
        if explore and self._fused is not None:
            greedy = self._fused.greedy(observation)
        else:
            greedy = self._values(self.stream.normalised(observation)).argmax(-1)
        return noise.sometimes_random(greedy, self.epsilon, self.actions) if explore else greedy

    def set_progress(self, agent_steps: int) -> None:
        """Move epsilon to where its schedule is at ``agent_steps``; no sync."""
        schedule = self.options.epsilon
        self.epsilon.fill_(linear(schedule.initial, schedule.final, schedule.steps, agent_steps))

    def fuse(
        self,
        online: Callable[[nn.Module], OnlineNetwork | None],
        optimizers: Mapping[str, Any],
    ) -> Callable[[TensorDictBase], Scalars] | None:
        """See :meth:`core.api.Fusable.fuse`: for one environment, where kernels apply."""
        found = fused.online_networks((self.critic,), online, optimizers, self.environments)
        if found is None:
            return None
        (critic,) = found
        self._fused = FusedQ(self.options, self.stream, critic, optimizers["critic"], self.epsilon)
        return self._fused

    def _values(self, observation: Tensor) -> Tensor:
        return self.critic(observation).squeeze(0)  # type: ignore[no-any-return]

    @torch.no_grad()
    def _td_error(self, batch: Batch, value: Tensor) -> Tensor:
        next_value = self._values(batch["next_observation"]).amax(-1)
        return td.td_error(batch["reward"], batch["discount"], value, next_value)

    def _move_critic(self, batch: Batch) -> tuple[Tensor, Metrics]:
        values = self._values(batch["observation"])
        value = _of(values, batch["action"])
        batch["exploratory"] = values.argmax(-1) != batch["action"]
        batch["td_error"] = self._td_error(batch, value.detach())
        metrics = td.td_metrics(batch, value.detach(), "train/q")
        return -value, metrics | {"train/epsilon": self.epsilon}

    def _step(self, batch: Batch) -> dict[str, Tensor]:
        form = self.options.exploratory_cut
        flags = td.cut_trace(form, batch["ended"], batch["exploratory"])
        return {"delta": batch["td_error"], **flags}

    @torch.no_grad()
    def _check_overshoot(self, batch: Batch) -> tuple[None, Metrics]:
        value = _of(self._values(batch["observation"]), batch["action"])
        return None, td.overshoot(batch, self._td_error(batch, value))


def _of(values: Tensor, action: Tensor) -> Tensor:
    """``[N, n], [N] -> [N]``: the values of the actions taken."""
    return values.gather(-1, action.unsqueeze(-1)).squeeze(-1)
