"""Target averages that an optimizer does in its own pass: when, and to the same numbers."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from core.agent.learner import Learner
from core.api import Average, Phase
from plugins.optimizers import AdamWOptions, kernels
from tests.agents import CPU, four_agents, make_batch, make_learner

torch.set_num_threads(1)
AGENTS = four_agents()
built = pytest.mark.skipif(kernels.adam() is None, reason="built without a compiler")


class NoExecution:
    def constrain_gradients(self, parameters, gradients): ...
    def reapply(self): ...
    def settle(self): ...


class Following(torch.optim.SGD):
    """Takes every average over, and writes down which."""

    def __init__(self, parameters, willing=True):
        super().__init__(parameters, lr=0.1)
        self.followed: list[Any] = []
        self.willing = willing

    def follow(self, pairs, tau):
        self.followed.append((pairs, tau))
        return self.willing


class Staged(nn.Module):
    """Two networks, two targets, and phases as they are told."""

    def __init__(self, order):
        super().__init__()
        self.one, self.two, self.target, self.other = (nn.Linear(1, 1) for _ in range(4))
        self.both = nn.ModuleList([self.one, self.two])
        self.twice = copy.deepcopy(self.both)
        self.order = order
        self.ran: list[str] = []

    @property
    def phases(self):
        every = {
            "one": Phase("one", lambda b: self.run("one"), (self.one,)),
            "two": Phase("two", lambda b: self.run("two"), (self.two,)),
            "both": Phase("both", lambda b: self.run("both"), (self.one, self.two)),
            "nothing": Phase("nothing", lambda b: self.run("nothing")),
            "average_one": self.averaging("average_one", Average(self.target, self.one, 0.25)),
            "average_other": self.averaging("average_other", Average(self.other, self.one, 0.5)),
            "average_both": self.averaging("average_both", Average(self.twice, self.both, 0.5)),
            "trained": Phase(
                "trained",
                lambda b: self.run("trained"),
                (self.two,),
                average=Average(self.target, self.one, 0.25),
            ),
        }
        return tuple(every[name] for name in self.order)

    def averaging(self, name, average):
        return Phase(name, lambda b: self.run(name), average=average)

    def run(self, name):
        self.ran.append(name)
        trained = {"one": self.one, "two": self.two, "both": self.one, "trained": self.two}
        if name not in trained:
            return None, {}
        objective = trained[name](torch.ones(1)).sum()
        return (objective + self.two(torch.ones(1)).sum() if name == "both" else objective), {}

    def prepare(self, batch):
        return {}


def staged(*order, willing=True):
    loss = Staged(order)
    learner = Learner(loss, lambda ps, overrides, phase: Following(ps, willing), NoExecution(), CPU)
    learner.step(None)
    return loss, learner


@pytest.mark.parametrize(
    ("order", "left_out"),
    [
        (("one", "average_one"), "average_one"),
        (("two", "one", "average_one"), "average_one"),
        (("both", "average_one"), "average_one"),
        (("both", "average_both"), "average_both"),
        (("one", "average_one", "average_other"), "average_one"),
        (("one", "two", "average_one"), None),  # the second would see the target moved
        (("one", "nothing", "average_one"), None),
        (("average_one", "one"), None),
        (("two", "average_both"), None),  # follows more than the optimizer moves
        (("one", "trained"), None),  # does more than average
    ],
)
def test_only_an_average_right_after_the_step_that_moves_all_of_it_goes_along(order, left_out):
    loss, learner = staged(*order)
    assert loss.ran == [name for name in order if name != left_out]
    (followed,) = [
        [
            (pairs, tau)
            for step in learner.steps
            if step.optimizer
            for pairs, tau in step.optimizer.followed
        ]
    ]
    if left_out is None:
        assert followed == []
    else:
        ((pairs, tau),) = followed
        average = {phase.name: phase for phase in loss.phases}[left_out].average
        wanted = zip(average.target.parameters(), average.online.parameters(), strict=True)
        assert all(a is b and c is d for (a, c), (b, d) in zip(pairs, wanted, strict=True))
        assert tau == average.tau


def test_an_optimizer_that_cannot_leaves_the_average_to_its_phase():
    loss, learner = staged("one", "average_one", willing=False)
    assert loss.ran == ["one", "average_one"]
    assert not any(step.done_before for step in learner.steps)


def test_frozen_weights_are_followed_by_the_phase():
    loss = Staged(("one", "average_one"))
    loss.one.bias.requires_grad_(False)
    Learner(loss, lambda ps, overrides, phase: Following(ps), NoExecution(), CPU).step(None)
    assert loss.ran == ["one", "average_one"]


# --- the built-in losses ----------------------------------------------------------------


def learners(agent, *natives, **options):
    chosen, network, spec = AGENTS[agent]
    made = [
        make_learner(chosen, network, optimizer=AdamWOptions(lr=1e-3, native=native, **options))
        for native in natives
    ]
    return made, spec


@built
@pytest.mark.parametrize(
    ("agent", "along"), [("sac", True), ("ddpg", True), ("pixel_sac", True), ("drq", False)]
)
def test_the_losses_averages_go_along_where_nothing_is_in_between(agent, along):
    (learner, other), _ = learners(agent, True, False)
    assert [step.done_before for step in learner.steps][:-1] == [False] * (len(learner.steps) - 1)
    assert learner.steps[-1].phase.name == "target"
    assert learner.steps[-1].done_before is along
    assert not any(step.done_before for step in other.steps)


@built
@pytest.mark.parametrize("agent", AGENTS)
def test_updates_and_metrics_are_the_same_as_with_a_phase_of_its_own(agent):
    (ours, theirs), spec = learners(agent, True, False)
    ends = []
    for learner in (ours, theirs):
        torch.manual_seed(0)
        for update in range(4):
            learner.update(make_batch(spec, seed=update))
        ends.append((learner.loss.state_dict(), learner.means.take()))
    (a, a_means), (b, b_means) = ends
    exact = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    tolerance = {"rtol": 0.0, "atol": 0.0} if exact else {"rtol": 1e-4, "atol": 1e-5}
    assert list(a_means) == list(b_means)
    assert a_means == pytest.approx(b_means, rel=0 if exact else 1e-4)
    for name in a:
        torch.testing.assert_close(a[name], b[name], **tolerance)


@built
def test_the_phase_by_itself_still_averages():
    (learner,), spec = learners("sac", True)
    loss = learner.loss
    learner.update(make_batch(spec))
    before = [p.clone() for p in loss.target_critic.parameters()]
    online = [p.detach().clone() for p in loss.critic.parameters()]
    objective, metrics = learner.steps[-1].phase.run({})
    assert (objective, metrics) == (None, {})
    torch._foreach_lerp_(before, online, loss.options.tau)
    for got, wanted in zip(loss.target_critic.parameters(), before, strict=True):
        assert torch.equal(got, wanted)


@built
@pytest.mark.parametrize(("saved", "loaded"), [(True, False), (False, True)])
def test_a_run_resumes_either_way_to_the_same_end(saved, loaded):
    (straight, first, second), spec = learners("sac", saved, saved, loaded)
    torch.manual_seed(0)
    for update in range(4):
        straight.update(make_batch(spec, seed=update))
    torch.manual_seed(0)
    for update in range(2):
        first.update(make_batch(spec, seed=update))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for update in range(2, 4):
        second.update(make_batch(spec, seed=update))
    wanted = straight.loss.state_dict()
    for name, value in second.loss.state_dict().items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-5, atol=1e-6)
