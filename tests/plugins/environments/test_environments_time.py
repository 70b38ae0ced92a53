"""The time as an input, and the mark on an episode's first observation."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torchrl.envs.utils import check_env_specs

from core.api import EnvironmentContext, UserError
from plugins.environments import register_environments
from plugins.environments.dm_control import DMControlEnvironments
from plugins.environments.gymnasium import GymnasiumEnvironments
from plugins.environments.options import DMControlOptions, GymnasiumOptions
from tests.support.worlds import rollout

CASES = {
    "cheetah": (DMControlOptions("cheetah-run", time_limit=0.2), 10),
    "cartpole": (GymnasiumOptions("CartPole-v1", max_episode_steps=12), 12),
    "pendulum": (GymnasiumOptions("Pendulum-v1", max_episode_steps=32, action_repeat=3), 11),
    "lqr": (DMControlOptions("lqr-lqr_2_1"), 1000),
}


@cache
def build(options, *, time_input=True):
    make = DMControlEnvironments if isinstance(options, DMControlOptions) else GymnasiumEnvironments
    return make(options, EnvironmentContext(time_input=time_input))


def times(done, limit):
    """Of each transition's two observations, counted step by step: ``[N, T]`` twice."""
    before, after = np.zeros(done.shape, np.float32), np.zeros(done.shape, np.float32)
    for i, row in enumerate(done.tolist()):
        shown, upcoming = -0.5, -0.5  # the reference's counter, read before it is advanced
        for t, over in enumerate(row):
            before[i, t] = shown
            shown, upcoming = upcoming, upcoming + 1.0 / limit
            after[i, t] = shown
            if over:
                shown = upcoming = -0.5
    return before, after


@pytest.mark.parametrize(
    ("case", "count"), [("cheetah", 1), ("cartpole", 3), ("pendulum", 3), ("lqr", 1)]
)
def test_the_time_is_appended_and_nothing_else_changes(case, count):
    options, limit = CASES[case]
    environments, plain = build(options), build(options, time_input=False)
    assert environments.spec.time_input
    assert not plain.spec.time_input
    size = plain.spec.observation[0]
    assert environments.spec.observation == (size + 1,)
    assert f"states of {size} and the time," in environments.description
    check_env_specs(environments.make(count, 4))

    taken, expected = (rollout(e.make(count, 4), 30) for e in (environments, plain))
    done = taken["next", "done"][..., 0]
    if case != "lqr":
        assert done.sum(1).min() >= 2
    for root, one, clock in zip(
        *((taken, taken["next"]), (expected, expected["next"]), times(done, limit)), strict=True
    ):
        assert root["observation"].dtype == torch.float32
        assert torch.equal(root["observation"][..., :-1], one["observation"])
        assert np.allclose(root["observation"][..., -1], clock, rtol=0, atol=1e-6)
    # the first action does not move it
    assert taken["observation"][:, :2, -1].tolist() == [[-0.5, -0.5]] * count
    for key in ("action", ("next", "reward"), ("next", "terminated"), ("next", "truncated")):
        assert torch.equal(taken[key], expected[key])


@pytest.mark.parametrize("case", CASES)
def test_the_time_goes_on_after_a_restore(case):
    env, other = (build(CASES[case][0]).make(2, seed) for seed in (0, 1))
    root, taken = env.reset(), 0
    for before in (0, 1, 7):
        for _ in range(before - taken):
            _, root = env.step_and_maybe_reset(env.rand_action(root))
        taken = before
        other.load_state_dict(env.state_dict())
        again = other.reset()
        for key in ("observation", "is_init"):
            assert torch.equal(again[key], root[key])
        assert root["is_init"].all().item() is (before == 0)
    for _ in range(20):
        root = env.rand_action(root)
        again["action"] = root["action"]
        (_, root), (_, again) = env.step_and_maybe_reset(root), other.step_and_maybe_reset(again)
        for key in ("observation", "is_init"):
            assert torch.equal(again[key], root[key])


def test_pixels_have_no_time_input():
    options = DMControlOptions("cheetah-run", pixels=True)
    with pytest.raises(UserError, match="network.time_input: false"):
        build(options)
    assert all(c.provides == {"time input"} for c in register_environments())


# --- is_init


def test_the_first_observation_of_every_episode_is_marked():
    taken = rollout(build(GymnasiumOptions("CartPole-v1"), time_input=False).make(3, 5), 120)
    done = taken["next", "done"]
    expected = torch.cat([torch.ones(3, 1, 1, dtype=torch.bool), done[:, :-1]], 1)
    assert expected.any(0).sum() > expected.all(0).sum()  # they end at different steps
    assert torch.equal(taken["is_init"], expected)
    assert not taken["next", "is_init"].any()


def test_a_reset_of_one_marks_only_that_one():
    env = build(CASES["cheetah"][0]).make(3, 0)
    root = env.reset()
    assert root["is_init"][:, 0].tolist() == [True] * 3
    stepped = env.step(env.rand_action(root))["next"]
    assert stepped["is_init"][:, 0].tolist() == [False] * 3
    again = env.reset(stepped.set("_reset", torch.tensor([[False], [True], [False]])))
    assert again["is_init"][:, 0].tolist() == [False, True, False]
    assert (again["observation"][:, -1] == -0.5).all()

    # and so it is saved and restored
    other = build(CASES["cheetah"][0]).make(3, 1)
    other.load_state_dict(env.state_dict())
    assert other.reset()["is_init"][:, 0].tolist() == [False, True, False]


def test_saved_after_the_last_step_the_next_reset_is_marked():
    environments = build(CASES["cheetah"][0])
    env = environments.make(1, 0)
    current = env.reset()
    while not current["done"].any():
        current = env.step(env.rand_action(current))["next"]
    assert current["observation"][0, -1].item() == pytest.approx(0.4)
    other = environments.make(1, 5)
    other.load_state_dict(env.state_dict())
    root = other.reset()
    assert root["is_init"].item()
    assert root["observation"][0, -1].item() == -0.5
