"""Streaming updates and acting make no stray tensor and no host sync, shown on fake tensors."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch._subclasses.fake_tensor import DataDependentOutputException

from core.agent.learner import Learner
from core.api import EnvironmentSpec, LossContext, NetworkContext, OptimizerContext
from plugins.losses import register_losses
from plugins.losses.options import StreamACOptions, StreamQOptions
from plugins.networks import register_networks
from plugins.networks.options import StreamCnnOptions, StreamMlpOptions
from plugins.optimizers import register_optimizers
from plugins.optimizers.options import AdaptiveObGDOptions, ObGDOptions
from tests.core.agent.test_gpu import FakeMasked, FakeParts
from tests.support.agents import build
from tests.support.fake_cuda import (
    CUDA,
    LAZY,
    claim_batch,
    fake_device,
    without_backward,
)

torch.set_num_threads(1)
STATE = EnvironmentSpec((5,), 3, time_input=True)
CHOICES = EnvironmentSpec((5,), 4, discrete=True)
PIXELS = EnvironmentSpec((6, 20, 20), 2, pixels=True, frame_stack=2)
MLP = StreamMlpOptions(width=8)
CNN = StreamCnnOptions(filters=(4, 4), kernels=(4, 3), strides=(3, 2), width=8)
CHECKED = StreamACOptions(overshoot_check=True)
BOOTSTRAP = StreamACOptions(truncation="bootstrap", reward_leak=True)
BEFORE = StreamQOptions(exploratory_cut="before")
AGENTS: dict[str, tuple[Any, str, Any, str, EnvironmentSpec]] = {
    "stream_ac": (CHECKED, "stream_ac", MLP, "stream_mlp", STATE),
    "stream_ac, bootstrapping": (BOOTSTRAP, "stream_ac", MLP, "stream_mlp", STATE),
    "stream_q": (StreamQOptions(), "stream_q", MLP, "stream_mlp", CHOICES),
    "stream_q, cut before": (BEFORE, "stream_q", MLP, "stream_mlp", CHOICES),
    "pixels": (StreamACOptions(), "stream_ac", CNN, "stream_cnn", PIXELS),
}


def real_networks(made, spec):
    outputs = spec.action if spec.discrete else 1
    return {
        "normaliser": made.normaliser(),
        "encoder": None,
        "actor": made.actor(dict.fromkeys(("mean", "std"), spec.action)),
        "critic": made.critic(1, outputs, action=False),
    }


def make_batch(spec, count):
    draw = torch.Generator().manual_seed(0)
    observations = torch.rand(2, count, *spec.observation, generator=draw)
    if spec.pixels:
        observations = (255 * observations).to(torch.uint8)
    action = torch.randn(count, spec.action, generator=draw)
    if spec.discrete:
        action = torch.randint(spec.action, (count,), generator=draw)
    flags = dict.fromkeys(("done", "terminated", "truncated"), torch.zeros(count, 1).bool())
    rewards = {"reward": torch.randn(count, 1), "discount": torch.full((count, 1), 0.9)}
    following = {"observation": observations[1], **rewards, **flags}
    root = {"observation": observations[0], "action": action}
    return TensorDict({**root, "next": following}, [count])


def fake_learner(mode, agent, networks, count, optimizer):
    options, loss_name, _, _, spec = AGENTS[agent]
    if mode.claimed == CUDA:  # which cannot convert to float64
        options = replace(options, scale_rewards=False)
    execution = FakeMasked(mode)
    context = LossContext(spec, FakeParts(mode, networks, execution), mode.claimed, count)
    loss = build(register_losses(), options, context, loss_name)
    wanted = "obgd" if isinstance(optimizer, ObGDOptions) else "adaptive_obgd"
    make = build(register_optimizers(), optimizer, OptimizerContext(mode.claimed), wanted)
    return Learner(loss, make, execution, mode.claimed)


@pytest.mark.parametrize("device", [LAZY, CUDA], ids=["whole update", "cuda, no backward"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    "optimizer", [ObGDOptions(), AdaptiveObGDOptions()], ids=["obgd", "adaptive"]
)
@pytest.mark.parametrize("agent", AGENTS)
def test_streaming_stays_on_the_device_without_a_sync(agent, optimizer, count, device):
    _, _, network, name, spec = AGENTS[agent]
    if device == CUDA:
        network = replace(network, normalise=False)
    made = build(register_networks(), network, NetworkContext(spec), name)
    networks, real = real_networks(made, spec), make_batch(spec, count)
    begins = torch.tensor([True, False, True])[:count]
    no_backward = without_backward() if device == CUDA else nullcontext()
    with fake_device(device) as mode, no_backward:
        learner = fake_learner(mode, agent, networks, count, optimizer)
        batch = claim_batch(mode, real)
        rows = [row for row, first in enumerate(begins.tolist()) if first]
        if device == LAZY:
            learner.loss.stream._fold(batch["observation"].narrow(0, 0, len(rows)))
        for step in range(3):
            learner.loss.set_progress(step)
            learner.update(batch)
            for explore in (False, True):
                assert learner.loss.act(batch["observation"], explore=explore).device == device
        tensors = [*learner.loss.state_dict().values(), *learner.step(batch).values()]
        for phase in learner.steps:
            if phase.optimizer is not None:
                slots = [s for state in phase.optimizer.state.values() for s in state.values()]
                assert slots
                tensors += slots
        assert {tensor.device for tensor in tensors} == {device}


def test_a_sync_in_a_traced_phase_is_found():
    _, _, network, name, spec = AGENTS["stream_ac"]
    made = build(register_networks(), network, NetworkContext(spec), name)
    networks, real = real_networks(made, spec), make_batch(spec, 3)
    with fake_device(LAZY) as mode:
        learner = fake_learner(mode, "stream_ac", networks, 3, ObGDOptions())
        batch = claim_batch(mode, real)
        learner.update(batch)
        original = learner.loss._move_critic

        def reads_the_delta(shared):
            objective, metrics = original(shared)
            if shared["td_error"].mean() > 0:
                objective = objective * 1
            return objective, metrics

        learner.steps[0]._run = reads_the_delta
        with pytest.raises(DataDependentOutputException):
            learner.update(batch)
