"""One update: whose gradients, in what order, what is reported, what is saved."""

from __future__ import annotations

import copy
import math
from contextlib import contextmanager, nullcontext

import pytest
import torch
from tensordict import TensorDict
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from core.agent import cuda_graph as capture
from core.agent.learner import Learner
from core.agent.running_means import RunningMeans
from core.api import Phase, RunStopped
from tests.support.agents import (
    CPU,
    DRQ,
    DRQ_DDPG,
    PIXELS,
    four_agents,
    make_batch,
    make_learner,
)

torch.set_num_threads(1)
AGENTS = four_agents()


class NoExecution:
    def constrain_gradients(self, parameters, gradients): ...
    def reapply(self): ...


class Recorder(nn.Module):
    """A loss of two phases and an average that writes down what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Linear(1, 1, bias=False) for _ in range(2))
        for layer in (self.first, self.second):
            layer.weight.data.fill_(1.0)
        self.seen: list[tuple[str, float, float]] = []

    @property
    def phases(self):
        return (
            Phase("one", lambda batch: self.look("one", batch), (self.first,)),
            Phase("two", lambda batch: self.look("two", batch), (self.second,), {"lr": 0.5}),
            Phase("three", lambda batch: self.look("three", batch)),
        )

    def prepare(self, batch):
        return {"x": batch["x"]}

    def look(self, name, batch):
        weights = self.first.weight.item(), self.second.weight.item()
        self.seen.append((name, *weights))
        if name == "three":
            return None, {"train/seen": torch.tensor(3.0)}
        return self.second(self.first(batch["x"])).sum(), {}


def sgd(parameters, overrides, phase):
    return torch.optim.SGD(parameters, **{"lr": 0.1, **overrides})


def recorded():
    loss = Recorder()
    return loss, Learner(loss, sgd, NoExecution(), CPU)


def test_phases_run_in_order_each_seeing_the_steps_before_it():
    loss, learner = recorded()
    learner.update(TensorDict({"x": torch.ones(1, 1)}))
    # One moves the first weight by -0.1 * 1; two the second by -0.5 * 0.9.
    assert [name for name, *_ in loss.seen] == ["one", "two", "three"]
    for (_, *got), want in zip(loss.seen, [(1, 1), (0.9, 1), (0.9, 0.55)], strict=True):
        assert got == pytest.approx(want)
    means = learner.means.take()
    assert means == pytest.approx(
        {
            "loss/one": 1.0,
            "gradient_norm/one": 1.0,
            "loss/two": 0.9,
            "gradient_norm/two": 0.9,
            "train/seen": 3.0,
        }
    )


@pytest.mark.parametrize("agent", AGENTS)
def test_each_phase_moves_its_own_modules_and_leaves_no_gradient(agent):
    options, network, spec = AGENTS[agent]
    learner = make_learner(options, network)
    loss = learner.loss
    shared = loss.prepare(make_batch(spec))
    owners = {"actor": ["actor"], "temperature": ["temperature"], "target": ["target_critic"]}
    owners["critic"] = ["critic", "encoder"] if network is DRQ else ["critic"]
    for step in learner.steps:
        before = {name: value.clone() for name, value in loss.state_dict().items()}
        step(shared)
        moved = {n for n, value in loss.state_dict().items() if not torch.equal(value, before[n])}
        # A target first equals its online critic, and has to wait for that to move.
        assert {name.split(".")[0] for name in moved} == set(owners[step.phase.name])
        assert all(p.grad is None for p in loss.parameters())


@pytest.mark.parametrize("agent", AGENTS)
def test_the_actor_phase_does_not_pay_for_the_critics_weight_gradients(agent):
    options, network, spec = AGENTS[agent]
    learner = make_learner(options, network)
    (step,) = [step for step in learner.steps if step.phase.name == "actor"]

    def flops():
        shared = learner.loss.prepare(make_batch(spec))
        with FlopCounterMode(display=False) as counter:
            step(shared)
        return counter.get_total_flops()

    got = flops()
    learner.loss.critic.requires_grad_(False)
    assert got == flops()


@pytest.mark.parametrize("agent", ["drq", "pixel_sac"])
def test_the_encoder_learns_from_the_critic_alone(agent):
    options, network, spec = AGENTS[agent]
    loss = make_learner(options, network).loss
    phases = {phase.name: phase for phase in loss.phases}
    shared = loss.prepare(make_batch(spec))
    encoder = list(loss.encoder.parameters())
    objective, _ = phases["actor"].run(shared)
    assert all(g is None for g in torch.autograd.grad(objective, encoder, allow_unused=True))
    objective, _ = phases["critic"].run(shared)
    assert all(g.abs().sum() > 0 for g in torch.autograd.grad(objective, encoder))
    assert not shared["next_features"].requires_grad


def test_drqs_actor_uses_features_from_before_the_critics_step():
    learner = make_learner(DRQ_DDPG, DRQ)
    loss, seen = learner.loss, []
    loss.actor.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    torch.manual_seed(0)
    features = loss.prepare(make_batch(PIXELS))["features"].detach()
    torch.manual_seed(0)
    learner.update(make_batch(PIXELS))
    assert torch.equal(seen[-1], features)
    torch.manual_seed(0)
    assert not torch.equal(loss.prepare(make_batch(PIXELS))["features"], features)


@pytest.mark.parametrize("agent", AGENTS)
def test_a_restored_learner_goes_on_bit_for_bit(agent):
    options, network, spec = AGENTS[agent]
    straight, resumed = make_learner(options, network), make_learner(options, network, seed=9)
    torch.manual_seed(0)
    for update in range(3):
        straight.update(make_batch(spec, seed=update))
    state, rng = copy.deepcopy(straight.state_dict()), torch.get_rng_state()
    ends = []
    for learner in (straight, resumed):
        if learner is resumed:
            learner.load_state_dict(state)
        torch.set_rng_state(rng)
        for update in range(3, 6):
            learner.update(make_batch(spec, seed=update))
        ends.append((learner.state_dict(), learner.means.take()))
    (a, a_means), (b, b_means) = ends
    assert a["updates"] == b["updates"] == 6
    assert a_means == b_means
    assert a["loss"].keys() == b["loss"].keys()
    assert all(torch.equal(a["loss"][name], b["loss"][name]) for name in a["loss"])
    for phase, optimizer in a["optimizers"].items():
        other = b["optimizers"][phase]
        for index, slots in optimizer["state"].items():
            assert all(torch.equal(v, other["state"][index][k]) for k, v in slots.items())


@pytest.mark.parametrize(
    ("agent", "spoilt", "metric"),
    [
        ("sac", "actor", "loss/actor"),
        ("sac", "temperature", "loss/actor"),
        ("sac", "target_critic", "loss/critic"),
        ("drq", "critic", "loss/critic"),
    ],
)
def test_a_nan_is_told_with_its_update_and_phase(agent, spoilt, metric):
    options, network, spec = AGENTS[agent]
    learner = make_learner(options, network)
    learner.update(make_batch(spec))
    next(getattr(learner.loss, spoilt).parameters()).data.fill_(torch.nan)
    with pytest.raises(RunStopped, match=f"'{metric}' became non-finite at update 2"):
        learner.update(make_batch(spec))


# --- means ------------------------------------------------------------------------------


def test_means_are_of_the_interval():
    means = RunningMeans()
    assert means.take() == {}
    for update, value in enumerate((1.0, 2.0, 6.0)):
        means.add({"a": torch.tensor(value), "b": torch.tensor(value, dtype=torch.float64)}, update)
    assert means.take() == {"a": 3.0, "b": 3.0}
    assert means.take() == {}
    means.add({"a": torch.tensor(5.0), "b": torch.tensor(0.0)}, 3)
    assert means.take() == {"a": 5.0, "b": 0.0}


def test_means_name_the_earliest_then_the_first_of_the_non_finite():
    means = RunningMeans()
    nan, good = torch.tensor(math.nan), torch.tensor(0.0)
    means.add({"a": good, "b": good, "c": good}, 6)
    assert means.first_non_finite() is None
    means.add({"a": good, "b": nan, "c": nan}, 7)
    means.add({"a": nan, "b": nan, "c": nan}, 8)
    assert means.first_non_finite() == (7, "b")


def test_a_saved_mean_does_not_go_on_with_the_run():
    means, other = RunningMeans(), RunningMeans()
    means.add({"a": torch.tensor(1.0)}, 0)
    state = means.state_dict()
    means.add({"a": torch.tensor(9.0)}, 1)
    other.load_state_dict(state)
    other.add({"a": torch.tensor(3.0)}, 1)
    assert other.take() == {"a": 2.0}
    assert means.take() == {"a": 5.0}


# --- capture, with stand-ins for CUDA's graph and streams -------------------------------


class Graph:
    """Replays by running the step again on the captured inputs, into the captured outputs."""

    owner: capture.Captured

    def replay(self):
        for name, value in self.owner._step(self.owner._inputs).items():
            self.owner._outputs[name].copy_(value)


class Stream:
    def wait_stream(self, other): ...


def test_captured_updates_each_run_once_on_their_own_batch(monkeypatch):
    total = torch.zeros(())
    capturing = False

    def step(batch):
        value = batch["x"].sum()
        if not capturing:
            total.add_(value)
        return {"value": value.clone()}

    captured = capture.Captured(step)

    @contextmanager
    def record(graph):
        nonlocal capturing
        capturing = True
        yield
        capturing = False

    monkeypatch.setattr(Graph, "owner", captured, raising=False)
    stand_ins = {"CUDAGraph": Graph, "graph": record, "Stream": Stream, "current_stream": Stream}
    for name, value in {**stand_ins, "stream": lambda stream: nullcontext()}.items():
        monkeypatch.setattr(torch.cuda, name, value)
    for value in range(1, 8):
        batch = TensorDict({"x": torch.full((2,), float(value))}, [2])
        assert captured(batch)["value"] == 2 * value
        assert batch["x"][0] == value
    assert total == 2 * sum(range(1, 8))
