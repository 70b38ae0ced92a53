"""Stream Q(lambda) for one environment on a CPU, without autograd (see stream_ac_fused)."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch

from plugins.losses.fused import named
from plugins.losses.td import cut_trace, td_error

if TYPE_CHECKING:
    from tensordict import TensorDictBase
    from torch import Tensor

    from core.api import OnlineNetwork, Scalars
    from plugins.losses.fused import OnlineOptimizer
    from plugins.losses.options import StreamQOptions
    from plugins.losses.stream_inputs import StreamInputs, Transition


@final
class FusedQ:
    """Update and greedy choice of :class:`plugins.losses.stream_q.StreamQ`."""

    def __init__(
        self,
        options: StreamQOptions,
        inputs: StreamInputs,
        critic: OnlineNetwork,
        optimizer: OnlineOptimizer,
        epsilon: Tensor,
    ) -> None:
        self.options = options
        self.inputs = inputs
        self.critic = critic
        self.optimizer = optimizer
        self.epsilon = epsilon
        self._gradient = torch.zeros(critic.outputs)

    def greedy(self, observation: Tensor) -> Tensor:
        """The greedy choice: ``[1, D] -> [1]``."""
        return self.critic.forward(self.inputs.single(observation)).argmax(0, keepdim=True)

    def __call__(self, batch: TensorDictBase) -> Scalars:
        """Learn from one transition; the metrics of the phase, on the host."""
        transition = self.inputs.transition(batch)
        action = int(transition.action)
        delta, value, greedy = self._td_error(transition, action)
        flags = cut_trace(self.options.exploratory_cut, transition.ended, action != greedy)
        report = self.optimizer.online_step(self.critic, self._objective(action), delta, **flags)
        metrics = {"train/td_error": abs(delta), "train/q": value, **transition.scale}
        metrics |= {"train/epsilon": self.epsilon.item(), **named(report, "critic")}
        if self.options.overshoot_check:
            after = self._td_error(transition, action)[0]
            metrics["train/overshoot"] = float(delta * after < 0)
        return metrics

    def _td_error(self, transition: Transition, action: int) -> tuple[float, float, int]:
        """The TD error, Q(s, a) and the greedy choice; the kernel remembers the pass of s."""
        now, after = transition.observation, transition.next_observation
        values, others = (v.numpy() for v in self.critic.forward_both(now, after))
        following = others.max().item()
        value = values[action].item()
        delta = td_error(transition.reward, transition.discount, value, following)
        return delta, value, int(values.argmax())

    def _objective(self, action: int) -> Tensor:
        """Gradient of what is minimised, ``-Q(s, a)``, by the outputs, ``[n]``."""
        gradient = self._gradient.numpy()
        gradient[:] = 0
        gradient[action] = -1
        return self._gradient
