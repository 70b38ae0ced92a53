"""What streaming needs of core: gradients per environment, fused updates, capabilities."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tensordict import TensorDict
from torch import nn

from core.agent.learner import Learner, row_gradients
from core.agent.masks import MaskSet
from core.agent.networks import MaskedNetworks
from core.agent.policy import Policy
from core.api import Phase, RunStopped, UserError
from core.config import load, resolve
from core.plugins import load_plugins
from tests.conftest import PRESETS
from tests.support.agents import CPU, STATE, make_execution


class Traces(torch.optim.Optimizer):
    """Writes down what it is given, and reports it."""

    def __init__(self, parameters):
        super().__init__(parameters, {})
        self.seen = []
        self.report = {}

    def step(self, *, gradients, delta):
        self.seen.append(([g.clone() for g in gradients], delta))
        self.report = {"trace_norm": delta.abs().sum()}


class Streaming(nn.Module):
    """One traced phase: an objective per environment."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(3, 1)
        self.phases = (
            Phase(
                "critic",
                lambda batch: (-self.net(batch["x"])[:, 0], {"train/value": batch["x"].sum()}),
                (self.net,),
                step=lambda batch: {"delta": batch["x"][:, 0]},
            ),
        )

    def prepare(self, batch):
        return {"x": batch["x"]}


def make(parameters, overrides, phase):
    assert (overrides, phase) == ({}, "critic")
    return Traces(parameters)


@pytest.mark.parametrize("count", [1, 3])
def test_a_traced_phase_hands_each_environments_gradient_to_its_optimizer(count):
    loss = Streaming()
    learner = Learner(loss, make, make_execution(), CPU)
    x = torch.randn(count, 3)
    learner.update(TensorDict({"x": x}, [count]))
    ((gradients, delta),) = learner.steps[0].optimizer.seen
    weight, bias = gradients
    assert torch.allclose(weight, -x[:, None, :])
    assert torch.equal(bias, -torch.ones(count, 1))
    assert torch.equal(delta, x[:, 0])
    means = learner.means.take()
    want = {"train/value": x.sum().item(), "trace_norm/critic": x[:, 0].abs().sum().item()}
    assert means == pytest.approx(want)
    assert all(p.grad is None for p in loss.parameters())


@pytest.mark.parametrize("count", [1, 2])
def test_gradients_of_removed_weights_never_reach_a_trace(count):
    loss, execution = Streaming(), make_execution()
    mask = torch.tensor([[True, False, True]])
    execution.attach(loss.net, {"weight": mask})
    learner = Learner(loss, make, execution, CPU)
    learner.update(TensorDict({"x": torch.ones(count, 3)}, [count]))
    ((gradients, _),) = learner.steps[0].optimizer.seen
    assert torch.equal(gradients[0], -mask.float().expand(count, 1, 3))


def test_row_gradients_are_those_of_a_loop():
    net = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.LeakyReLU(), nn.Linear(5, 1))
    parameters = list(net.parameters())
    x = torch.randn(6, 4)
    together = row_gradients(net(x)[:, 0], parameters)
    for i in range(6):
        alone = torch.autograd.grad(net(x[i]).sum(), parameters)
        for rows, gradient in zip(together, alone, strict=True):
            torch.testing.assert_close(rows[i], gradient)


class Fused(Streaming):
    """Offers its update as one call."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.asked = answer, None

    def fuse(self, row, optimizers):
        self.asked = (row, list(optimizers))
        return self.answer


def test_a_fused_update_replaces_the_phases_and_its_numbers_are_logged():
    values = iter([1.0, 4.0, math.nan])
    loss = Fused(lambda batch: {"train/td_error": next(values), "train/value": 0.0})
    learner = Learner(loss, make, make_execution(), CPU)
    learner.fuse()
    assert loss.asked == (learner.execution.online, ["critic"])
    learner.update(TensorDict({}))
    learner.update(TensorDict({}))
    assert learner.means.take() == {"train/td_error": 2.5, "train/value": 0.0}
    with pytest.raises(RunStopped, match="'train/td_error' became non-finite at update 3"):
        learner.update(TensorDict({}))
    assert learner.steps[0].optimizer.seen == []


def test_a_loss_that_cannot_be_fused_keeps_its_phases():
    learner = Learner(Fused(None), make, make_execution(), CPU)
    learner.fuse()
    learner.update(TensorDict({"x": torch.ones(1, 3)}, [1]))
    assert len(learner.steps[0].optimizer.seen) == 1


# --- initialisation that depends on masks -----------------------------------------------


class Aware:
    """A network component that wants to know the masks."""

    def __init__(self):
        self.told = []

    def actor(self, heads):
        return nn.Linear(2, 3)

    def critic(self, members, outputs=1, *, action=True):
        return nn.Linear(4, 1)

    def normaliser(self): ...
    def encoder(self): ...

    def masked(self, module, masks):
        self.told.append((module, dict(masks), module.weight.detach().clone()))


class KeepNothing:
    target = "actor"

    def draw(self, parameters, generator):
        return {"weight": torch.zeros(3, 2, dtype=torch.bool)}


def test_a_mask_aware_design_is_told_before_the_masks_are_in_force():
    networks = Aware()
    parts = MaskedNetworks(networks, MaskSet(0), [KeepNothing()], make_execution(), CPU)
    actor, critic = parts.actor({"a": 3}), parts.critic(1)
    (first, masks, weight), (second, none, _) = networks.told
    assert first is actor
    assert list(masks) == ["weight"]
    assert weight.abs().sum() > 0
    assert actor.weight.abs().sum() == 0
    assert (second is critic, none) == (True, {})


# --- what acting shows the loss ---------------------------------------------------------


class Watching:
    def __init__(self):
        self.seen = []

    def observe(self, observation, begins):
        self.seen.append((observation.clone(), begins.clone()))

    def act(self, observation, *, explore):
        return torch.zeros(observation.shape[0], 3)


@pytest.mark.parametrize("random_steps", [0, 10])
def test_every_observation_is_shown_with_whether_it_begins_an_episode(random_steps):
    loss = Watching()
    policy = Policy(loss, STATE, CPU, random_steps)
    policy.recording = True
    observation, begins = torch.randn(2, 5), torch.tensor([[True], [False]])
    policy(TensorDict({"observation": observation, "is_init": begins}, [2]))
    ((shown, flags),) = loss.seen
    assert torch.equal(shown, observation)
    assert flags.tolist() == [True, False]


# --- capabilities -----------------------------------------------------------------------


PLUGIN = """
from dataclasses import dataclass
from core.api import Component, hookimpl

@dataclass(frozen=True)
class Options:
    pairs: bool = True
    "Learns from pairs."

def needs(options):
    return frozenset({"batches"}) if options.pairs else frozenset()

@hookimpl
def register_losses():
    return [Component("contrastive", Options, lambda o, c: None, "pairs", needs=needs)]
"""


def refusal(tmp_path: Path, *overrides: str, preset: str = "quickstart.yaml") -> str:
    plugin = tmp_path / "pairs.py"
    plugin.write_text(PLUGIN)
    with pytest.raises(UserError) as caught:
        resolve(load([PRESETS / preset], list(overrides)), load_plugins([plugin]))
    return str(caught.value)


def test_a_loss_that_needs_batches_is_refused_under_stream_by_one_message(tmp_path):
    said = refusal(tmp_path, "data=stream", "loss=contrastive", "diagnostics=[]")
    assert len(said.splitlines()) == 1
    assert "loss: loss 'contrastive' (pairs.py " in said
    assert "needs batches, which data source 'stream' (openwork" in said
    assert "(command line) does not provide; replay would" in said
    resolve(
        load(
            [PRESETS / "quickstart.yaml"],
            ["data=stream", "loss={name: contrastive, pairs: false}", "diagnostics=[]"],
        ),
        load_plugins([tmp_path / "pairs.py"]),
    )


def test_n_step_returns_are_refused_under_stream_by_one_message(tmp_path):
    said = refusal(tmp_path, "data=stream", "loss={name: ddpg, n_step: 3}")
    assert len(said.splitlines()) == 1
    assert "loss 'ddpg' (openwork" in said
    assert "needs n-step returns, which data source 'stream'" in said


def test_traces_are_refused_under_replay_and_without_their_optimizer(tmp_path):
    said = refusal(tmp_path, "loss=stream_ac").splitlines()
    assert len(said) == 2
    assert all("loss 'stream_ac'" in line for line in said)
    (optimizer,) = [line for line in said if "optimizer 'adamw'" in line]
    assert "needs eligibility traces" in optimizer
    assert optimizer.endswith("does not provide; adaptive_obgd, obgd would")
    (data,) = [line for line in said if "data source 'replay'" in line]
    assert "needs transitions in order" in data
    assert data.endswith("stream would")


def test_an_optimizer_with_traces_is_refused_for_a_loss_without_td_errors(tmp_path):
    said = refusal(tmp_path, "optimizer=obgd")
    assert "optimizer 'obgd'" in said
    assert "needs TD errors, which loss 'sac'" in said
    assert said.endswith("stream_ac, stream_q would")
