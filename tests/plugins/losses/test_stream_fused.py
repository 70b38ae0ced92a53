"""A fused update gives the numbers of the phases."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from core.api import RunStopped
from tests.plugins.losses.fused_lives import AGENTS, OnlineInTorch, assert_same_life, live, make


@pytest.mark.parametrize("agent", AGENTS)
def test_a_fused_life_equals_that_of_the_phases(agent):
    plain, fused = (
        make(AGENTS[agent], fuse=False),
        make(AGENTS[agent], fuse=True, row=OnlineInTorch),
    )
    assert fused._run != fused.step
    assert_same_life(plain, fused, 80)


@pytest.mark.parametrize(
    ("agent", "kind"),
    [*((agent, "compiled") for agent in AGENTS), ("ac", "numpy"), ("q, after", "numpy")],
)
def test_a_life_by_the_rows_of_the_backend_equals_that_of_the_phases(find, agent, kind):
    find(kind)
    plain, fused = make(AGENTS[agent], fuse=False), make(AGENTS[agent], fuse=True)
    assert fused._run != fused.step
    assert_same_life(plain, fused, 150)


@pytest.mark.parametrize("agent", ["ac", "q, after"])
def test_a_fused_life_goes_on_from_a_saved_state(agent):
    one, two = (make(AGENTS[agent], fuse=True, row=OnlineInTorch) for _ in range(2))
    live(one, 60)
    two.load_state_dict(one.state_dict())
    (actions, _), (others, _) = live(one, 30), live(two, 30)
    assert torch.equal(torch.cat(actions), torch.cat(others))


@pytest.mark.parametrize("agent", ["ac", "q, after"])
def test_evaluation_in_between_does_not_disturb(agent):
    one, two = (make(AGENTS[agent], fuse=True, row=OnlineInTorch) for _ in range(2))
    act, loss = two.loss.act, two.loss

    def interrupted(observation, *, explore):
        action = act(observation, explore=explore)
        act(torch.randn(6, 5, generator=torch.Generator()), explore=False)
        return action

    loss.act = interrupted
    assert torch.equal(torch.cat(live(one, 40)[0]), torch.cat(live(two, 40)[0]))


def test_an_observation_that_comes_again_is_normalised_by_the_newest_statistics():
    learner, other = (make(AGENTS["ac"], fuse=True, row=OnlineInTorch) for _ in range(2))
    live(learner, 5)
    stream, again = learner.loss.stream, torch.full((1, 5), 0.7)
    for change in (
        lambda: learner.loss.observe(torch.ones(1, 5), torch.tensor([True])),
        lambda: learner.loss.load_state_dict(other.loss.state_dict()),
    ):
        before = stream.single(again)
        assert stream.single(again.clone()) is before
        change()
        assert not torch.equal(stream.single(again), before)
        assert torch.equal(stream.single(again), learner.loss.normaliser(again)[0])


@pytest.mark.parametrize("agent", ["ac", "q, after"])
def test_a_non_finite_reward_stops_a_fused_update_and_is_named(agent):
    learner = make(AGENTS[agent], fuse=True, row=OnlineInTorch)
    live(learner, 3)
    scaler = learner.loss.reward_scaler
    scaler.state[2] = torch.nan
    with pytest.raises(RunStopped, match="'train/td_error' became non-finite at update 4"):
        live(learner, 1)


def test_what_cannot_be_fused_keeps_its_phases():
    setting = AGENTS["ac"]
    for learner in (
        make(setting, fuse=True, row=lambda execution, module: None),
        make(setting, fuse=True, row=OnlineInTorch, count=2),
    ):
        assert learner._run == learner.step
    learner = make(setting, fuse=False)
    plain = {name: object() for name in ("critic", "actor")}
    assert learner.loss.fuse(partial(OnlineInTorch, learner.execution), plain) is None
