"""Stream AC(lambda) for one environment on a CPU, without autograd.

At batch size one, an operation of PyTorch costs more than the arithmetic in it. Here the
networks are kernels for one observation, the few numbers between them NumPy arrays and floats,
and the gradients of the objectives by the networks' outputs are written out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, final

import numpy as np
import torch

from plugins.losses import gaussian, noise
from plugins.losses.fused import named
from plugins.losses.td import td_error

if TYPE_CHECKING:
    from tensordict import TensorDictBase
    from torch import Tensor

    from core.api import OnlineNetwork, Scalars
    from plugins.losses.fused import OnlineOptimizer
    from plugins.losses.options import StreamACOptions
    from plugins.losses.stream_inputs import StreamInputs, Transition


@final
class FusedActorCritic:
    """Update and exploring action of :class:`plugins.losses.stream_ac.StreamAC`."""

    def __init__(
        self,
        options: StreamACOptions,
        inputs: StreamInputs,
        actor: OnlineNetwork,
        critic: OnlineNetwork,
        optimizers: Mapping[str, OnlineOptimizer],
    ) -> None:
        self.options = options
        self.inputs = inputs
        self.actor, self.critic = actor, critic
        self.optimizers = optimizers
        self.actions = actor.outputs // 2
        self._like = torch.empty(1, self.actions)
        # What is minimised is -V(s).
        self._value_gradient = -torch.ones(1)
        self._policy_at: Tensor | None = None
        self._policy_now: tuple[gaussian.Array, gaussian.Array]

    def act(self, observation: Tensor) -> Tensor:
        """A sample of the policy: ``[1, D] -> [1, A]``."""
        mean, std = self._policy(self.inputs.single(observation))
        z = noise.standard_normal(self._like).numpy()
        return torch.from_numpy(mean + std * z)

    def __call__(self, batch: TensorDictBase) -> Scalars:
        """Learn from one transition; the metrics of the phases, on the host."""
        transition = self.inputs.transition(batch)
        delta, value = self._td_error(transition)
        metrics = {"train/td_error": abs(delta), "train/value": value, **transition.scale}
        metrics |= self._step("critic", self.critic, self._value_gradient, delta, transition)
        gradient, metrics["train/entropy"] = self._objective(transition, delta)
        metrics |= self._step("actor", self.actor, gradient, delta, transition)
        self._policy_at = None
        if self.options.overshoot_check:
            after, _ = self._td_error(transition)
            metrics["train/overshoot"] = float(delta * after < 0)
        return metrics

    def _policy(self, observation: Tensor) -> tuple[gaussian.Array, gaussian.Array]:
        """Mean and standard deviation; computed once for acting and learning."""
        if observation is not self._policy_at:
            mean_raw = self.actor.forward(observation).numpy()
            std = gaussian.softplus(mean_raw[self.actions :])
            self._policy_at, self._policy_now = observation, (mean_raw[: self.actions], std)
        return self._policy_now

    def _td_error(self, transition: Transition) -> tuple[float, float]:
        """The TD error, and V(s), whose forward pass the kernel remembers."""
        now, after = transition.observation, transition.next_observation
        value, following = (v.item() for v in self.critic.forward_both(now, after))
        return td_error(transition.reward, transition.discount, value, following), value

    def _objective(self, transition: Transition, delta: float) -> tuple[Tensor, float]:
        """Gradient of what the actor minimises by its outputs, ``[2 A]``, and the entropy."""
        mean, std = self._policy(transition.observation)
        weight = self.options.entropy * ((delta > 0) - (delta < 0))
        action = transition.action.numpy()[0]
        gradient = gaussian.objective_gradient(mean, std, action, weight)
        return torch.from_numpy(gradient), gaussian.entropy(np.log(std)).item()

    def _step(
        self,
        phase: str,
        network: OnlineNetwork,
        gradient: Tensor,
        delta: float,
        transition: Transition,
    ) -> Scalars:
        report = self.optimizers[phase].online_step(
            network, gradient, delta, reset=transition.ended
        )
        return named(report, phase)
