"""No stray device and no host sync in updating and acting, shown on fake tensors."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    FakeTensorDeviceMismatchError,
)

from core.agent.learner import Learner
from core.api import NetworkContext, OptimizerContext
from plugins.execution.masked import Masked
from plugins.losses.options import SACOptions
from plugins.networks import register_networks
from plugins.optimizers import register_optimizers
from plugins.optimizers.options import AdamOptions, AdamWOptions
from tests.support.agents import (
    PIXELS,
    SIMBA,
    STATE,
    build,
    four_agents,
    make_batch,
    make_loss,
)
from tests.support.fake_cuda import (
    CUDA,
    LAZY,
    Transfer,
    claim,
    claim_batch,
    claim_module,
    fake_device,
    without_backward,
)

torch.set_num_threads(1)
NORMALISED = type(SIMBA)(actor=SIMBA.actor, critic=SIMBA.critic, normalise=True)
AGENTS = four_agents(NORMALISED)


class FakeMasked:
    """What ``Masked`` is after its attach: that one is set-up, and may look at the masks."""

    def __init__(self, mode) -> None:
        self.mode, self.backend = mode, Masked()
        self.constrain_gradients = self.backend.constrain_gradients

    def attach(self, module: nn.Module) -> nn.Module:
        for parameter in module.parameters():
            if parameter.ndim > 1:
                factor = claim(self.mode, parameter.detach())
                self.backend._factors[id(parameter)] = factor
        return module

    def reapply(self): ...


class FakeParts:
    """Networks built for real, then claimed."""

    def __init__(self, mode, networks: Mapping[str, nn.Module], execution: FakeMasked) -> None:
        self.mode, self.networks, self.execution = mode, networks, execution

    def _claimed(self, role):
        module = self.networks[role]
        return module and self.execution.attach(claim_module(self.mode, module))

    def normaliser(self):
        return self._claimed("normaliser")

    def encoder(self):
        return self._claimed("encoder")

    def actor(self, heads):
        return self._claimed("actor")

    def critic(self, members, outputs=1, *, action=True):
        return self._claimed("critic")


def real_networks(options, network, spec):
    made = build(register_networks(), network, NetworkContext(spec))
    sac = isinstance(options, SACOptions)
    heads = dict.fromkeys(("mean", "log_std") if sac else ("action",), spec.action)
    return {
        "normaliser": made.normaliser(),
        "encoder": made.encoder(),
        "actor": made.actor(heads),
        "critic": made.critic(options.critics),
    }


def fake_learner(mode, agent, networks, optimizer):
    options, network, _ = AGENTS[agent]
    execution = FakeMasked(mode)
    parts = FakeParts(mode, networks, execution)
    loss = make_loss(options, network, device=mode.claimed, parts=parts, execution=execution)
    # As on a GPU: fused and capturable.
    make = build(
        register_optimizers(), optimizer[1], OptimizerContext(torch.device("cuda")), optimizer[0]
    )
    return Learner(loss, make, execution, mode.claimed)


@pytest.mark.parametrize("device", [LAZY, CUDA], ids=["whole update", "cuda, no backward"])
@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize(
    "optimizer", [("adamw", AdamWOptions()), ("adam", AdamOptions())], ids=["adamw", "adam"]
)
def test_updating_and_acting_stay_on_the_device_without_a_sync(agent, optimizer, device):
    options, network, spec = AGENTS[agent]
    networks, real = real_networks(options, network, spec), make_batch(spec)
    no_backward = without_backward() if device == CUDA else nullcontext()
    with fake_device(device) as mode, no_backward:
        learner = fake_learner(mode, agent, networks, optimizer)
        batch = claim_batch(mode, real)
        for _ in range(3):
            learner.update(batch)
        learner.loss.set_progress(1000)
        learner.update(batch)
        for explore in (False, True):
            action = learner.loss.act(batch["observation"], explore=explore)
            assert action.device == device
        # (A copy between dtypes, which this update has, is one thing fake CUDA cannot do.)
        if learner.loss.normaliser is not None and device == LAZY:
            learner.loss.normaliser.update(batch["observation"])
        tensors = [*learner.loss.state_dict().values(), *learner.step(batch).values()]
        for step in learner.steps:
            if step.optimizer is not None:
                slots = [slot for state in step.optimizer.state.values() for slot in state.values()]
                assert slots
                tensors += slots
        assert {tensor.device for tensor in tensors} == {device}


# --- the harness sees what it is there to see --------------------------------------------


def spoil(name, learner, loss):
    """Put one fault into an agent that passes."""
    original = loss._move_critic

    def faulty(batch):
        objective, metrics = original(batch)
        if name == "item":
            objective.item()
        elif name == "branch" and objective > 0:
            pass
        elif name == "cpu tensor":
            objective = objective + torch.zeros(3).sum(0, keepdim=True)
        elif name == "transfer":
            batch["reward"].cpu()
        elif name == "upload":
            torch.zeros(3).to(LAZY)
        return objective.sum(), metrics

    for step in learner.steps:
        if step.phase.name == "critic":
            step._run = faulty


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("item", DataDependentOutputException),
        ("branch", DataDependentOutputException),
        ("cpu tensor", FakeTensorDeviceMismatchError),
        ("transfer", Transfer),
        ("upload", Transfer),
    ],
)
def test_a_fault_in_a_phase_is_found(fault, error):
    networks, real = real_networks(*AGENTS["ddpg"]), make_batch(STATE)
    with fake_device(LAZY) as mode:
        learner = fake_learner(mode, "ddpg", networks, ("adamw", AdamWOptions()))
        batch = claim_batch(mode, real)
        learner.update(batch)
        spoil(fault, learner, learner.loss)
        with pytest.raises(error):
            learner.update(batch)


def test_a_forgotten_cpu_buffer_and_a_batch_on_the_cpu_are_found():
    networks, real = real_networks(*AGENTS["ddpg"]), make_batch(STATE)
    stray = torch.ones(5)
    with fake_device(LAZY) as mode:
        learner = fake_learner(mode, "ddpg", networks, ("adamw", AdamWOptions()))
        batch = claim_batch(mode, real)
        with pytest.raises(AssertionError, match="convert all Tensors"):
            learner.update({**batch, "observation": real["observation"]})
        learner.loss.normaliser.shift = stray
        with pytest.raises(AssertionError, match="convert all Tensors"):
            learner.update(batch)


def test_a_crop_loop_would_be_found():
    from plugins.losses.augment import shift_by_crop, shift_by_gather

    real = make_batch(PIXELS)
    with fake_device(LAZY) as mode:
        frames = claim_batch(mode, real)["observation"]
        offsets = torch.randint(0, 9, (2, 8), device=LAZY)
        assert shift_by_gather(frames, offsets, 4).device == LAZY
        with pytest.raises(DataDependentOutputException):
            shift_by_crop(frames, offsets, 4)
