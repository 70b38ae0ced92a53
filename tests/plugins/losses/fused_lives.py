"""Streaming agents whose updates may be fused, and a small world for them to live in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor

from core.agent.learner import Learner
from core.agent.masks import MaskSet
from core.agent.networks import MaskedNetworks
from core.api import (
    EnvironmentSpec,
    LossContext,
    NetworkContext,
    OptimizerContext,
)
from plugins.losses import register_losses
from plugins.losses.options import EpsilonOptions, StreamACOptions, StreamQOptions
from plugins.networks import register_networks
from plugins.networks.options import SparseInit, StreamMlpOptions
from plugins.optimizers import register_optimizers
from plugins.optimizers.options import AdaptiveObGDOptions, ObGDOptions
from tests.support.agents import CPU, build, make_execution

torch.set_num_threads(1)
CONTINUOUS = EnvironmentSpec((5,), 3, time_input=True)
DISCRETE = EnvironmentSpec((5,), 4, discrete=True, time_input=True)
NETWORK = StreamMlpOptions(width=16, sparse_init=SparseInit(sparsity=0.3))


class OnlineInTorch:
    """A ``OnlineNetwork`` by autograd: what the kernels compute, on any machine."""

    def __init__(self, execution, module) -> None:
        self.execution, self.module = execution, module
        self.parameters = list(module.parameters())
        self.inputs, self.outputs = 5, self._outputs(torch.zeros(5)).numel()

    def _outputs(self, inputs):
        made = self.module(inputs[None])
        return torch.cat(made, 1)[0] if isinstance(made, tuple) else made[0, 0]

    def forward(self, inputs):
        self.last = self._outputs(inputs)
        return self.last.detach()

    def forward_both(self, inputs, others):
        other = self.forward(others)
        return self.forward(inputs), other

    def accumulate(self, gradient, trace, decay):
        gradients = torch.autograd.grad(self.last, self.parameters, gradient)
        self.execution.constrain_gradients(self.parameters, gradients)
        trace.mul_(decay).add_(torch.cat([g.flatten() for g in gradients]))
        return trace.abs().sum().item()

    @torch.no_grad()
    def move(self, direction, scale):
        pieces = direction.split([p.numel() for p in self.parameters])
        for parameter, piece in zip(self.parameters, pieces, strict=True):
            parameter.add_(piece.view_as(parameter), alpha=scale)


class HalfOfEach:
    """Every second weight of the hidden layers."""

    target = "all"

    def draw(self, parameters, generator):
        return {
            name: torch.rand(p.shape, generator=generator) < 0.5
            for name, p in parameters.items()
            if p.ndim == 2
        }


@dataclass
class Setting:
    options: Any
    optimizer: Any = None
    masks: tuple[Any, ...] = ()
    normalise: bool = True


AGENTS = {
    "ac": Setting(StreamACOptions(overshoot_check=True)),
    "ac, other options": Setting(
        StreamACOptions(truncation="bootstrap", reward_leak=True, entropy=0.2), normalise=False
    ),
    "ac, masks": Setting(StreamACOptions(scale_rewards=False), masks=(HalfOfEach(),)),
    "ac, adaptive": Setting(StreamACOptions(), AdaptiveObGDOptions(), masks=(HalfOfEach(),)),
    "q, after": Setting(StreamQOptions(epsilon=EpsilonOptions(0.5, 0.2, 200))),
    "q, before": Setting(StreamQOptions(exploratory_cut="before", overshoot_check=True)),
    "q, never": Setting(StreamQOptions(exploratory_cut="never", truncation="bootstrap")),
}


def make(setting: Setting, *, fuse: bool, row: Any = None, count: int = 1) -> Learner:
    torch.manual_seed(3)
    spec = CONTINUOUS if isinstance(setting.options, StreamACOptions) else DISCRETE
    network = replace(NETWORK, normalise=setting.normalise)
    networks = build(register_networks(), network, NetworkContext(spec), "stream_mlp")
    execution = make_execution()
    parts = MaskedNetworks(networks, MaskSet(1), setting.masks, execution, CPU)
    name = "stream_q" if spec.discrete else "stream_ac"
    loss = build(register_losses(), setting.options, LossContext(spec, parts, CPU, count), name)
    obgd = setting.optimizer or ObGDOptions()
    kind = "obgd" if isinstance(obgd, ObGDOptions) else "adaptive_obgd"
    factory = build(register_optimizers(), obgd, OptimizerContext(CPU), kind)
    learner = Learner(loss, factory, execution, CPU)
    if row is not None:
        execution.online = partial(row, execution)
    if fuse:
        learner.fuse()
    return learner


def live(learner: Learner, steps: int) -> tuple[list[Tensor], list[dict[str, float]]]:
    """Act and learn through a small pendulum-like world with both kinds of end."""
    torch.manual_seed(11)
    draw = torch.Generator().manual_seed(5)
    loss, age = learner.loss, 0
    state, actions, means = torch.randn(1, 4, generator=draw), [], []
    for step in range(steps):
        loss.set_progress(step)
        observation = torch.cat((state, torch.full((1, 1), age / 40 - 0.5)), 1)
        loss.observe(observation, torch.tensor([age == 0]))
        action = loss.act(observation, explore=True)
        push = action.float().mean().clamp(-1, 1)
        state = 0.95 * state.roll(1, 1) + 0.1 * push + 0.1 * torch.randn(1, 4, generator=draw)
        age += 1
        terminated, truncated = torch.rand(1, generator=draw) < 0.03, torch.tensor([age == 40])
        ended = terminated | truncated
        following = {
            "observation": torch.cat((state, torch.full((1, 1), age / 40 - 0.5)), 1),
            "reward": (1 - state.square().sum() + push)[None, None],
            "discount": 0.99 * (~terminated).float()[:, None],
            "done": ended[:, None],
            "terminated": terminated[:, None],
            "truncated": truncated[:, None],
        }
        root = {"observation": observation, "action": action}
        learner.update(TensorDict({**root, "next": following}, [1]))
        actions.append(action)
        means.append(learner.means.take())
        if ended:
            state, age = torch.randn(1, 4, generator=draw), 0
    return actions, means


def assert_same_life(one: Learner, two: Learner, steps: int) -> None:
    (actions, means), (others, other_means) = live(one, steps), live(two, steps)
    torch.testing.assert_close(torch.cat(others), torch.cat(actions), rtol=1e-4, atol=1e-4)
    for got, want in zip(other_means, means, strict=True):
        assert list(got) == list(want)
        assert got == pytest.approx(want, rel=2e-3, abs=1e-4)
    for name, value in one.loss.state_dict().items():
        scale = value.abs().max().item()
        torch.testing.assert_close(
            two.loss.state_dict()[name], value, rtol=0, atol=1e-4 * scale, msg=name
        )
