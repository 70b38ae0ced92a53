"""The built-in environments and the toys, by the suite that third parties use."""

from __future__ import annotations

import time
from typing import ClassVar

import pytest
import torch

from core.api import EnvironmentContext
from plugins.testing import EnvironmentSuite
from plugins.testing.toys import toy
from tests.plugins.testing.complete import all_have_a_class

NOT_DRAWN: ClassVar = {"render": False}


class TestToyStates(EnvironmentSuite):
    component = "toy_states"
    plugin = toy
    options: ClassVar = {"limit": 30}
    refused = ({"limit": 0}, {"action_repeat": 0})


class TestToyStatesOfChoices(EnvironmentSuite):
    component = "toy_states"
    plugin = toy
    options: ClassVar = {"limit": 15, "discrete": True, "ends": False}


class TestToyPixels(EnvironmentSuite):
    component = "toy_pixels"
    plugin = toy
    options: ClassVar = {"limit": 21, "frame_stack": 3, "action_repeat": 2}
    refused = ({"size": 7}, {"frame_stack": 0})


class TestDMControl(EnvironmentSuite):
    component = "dm_control"
    options: ClassVar = {"task": "reacher-easy", "time_limit": 0.5}
    refused = ({"action_repeat": 0}, {"camera": -2}, {"time_limit": 0.0})
    capabilities: ClassVar = NOT_DRAWN


@pytest.mark.render
class TestDMControlPixels(EnvironmentSuite):
    component = "dm_control"
    options: ClassVar = {
        "task": "reacher-easy",
        "time_limit": 0.24,
        "pixels": True,
        "size": 16,
        "rendering": "fast",
    }
    steps = 14
    # making one takes a quarter of a second; what does not lie in pictures is checked of states
    test_the_seed_decides_and_nothing_else = None
    test_other_seeds_begin_elsewhere = None
    test_a_reset_touches_only_the_chosen = None
    test_actions_beyond_the_bounds_count_as_the_bounds = None
    test_it_steps_as_torchrl_does = None
    test_observations_are_copies = None


class TestGymnasium(EnvironmentSuite):
    component = "gymnasium"
    options: ClassVar = {"id": "CartPole-v1", "max_episode_steps": 25}
    refused = ({"max_episode_steps": 0}, {"action_repeat": 0})
    capabilities: ClassVar = NOT_DRAWN


class TestGymnasiumInItsOwnUnits(EnvironmentSuite):
    component = "gymnasium"
    options: ClassVar = {"id": "Pendulum-v1", "max_episode_steps": 25, "rescale_actions": False}
    capabilities: ClassVar = NOT_DRAWN


def test_every_environment_has_a_class():
    all_have_a_class("environments", globals())


def straight_to_the_target(root):
    return root.set("action", (root["observation"][:, 2:4] / 0.2).clamp(-1, 1))


def choosing_the_longer_way(root):
    way = root["observation"][:, 2:4]
    along_y = way.abs().argmax(-1)
    sign = way.gather(-1, along_y[:, None])[:, 0] > 0
    return root.set("action", 1 + 2 * along_y + sign)


def returns(env, policy, steps=400):
    """Mean return of the episodes that ended."""
    root, running, ended = env.reset(), torch.zeros(*env.batch_size, 1), []
    for _ in range(steps):
        step, root = env.step_and_maybe_reset(policy(root))
        running += step["next", "reward"]
        done = step["next", "done"]
        ended += running[done].tolist()
        running *= ~done
    return sum(ended) / len(ended)


@pytest.mark.parametrize(
    ("discrete", "policy", "best"),
    [(False, straight_to_the_target, -1.5), (True, choosing_the_longer_way, -2.5)],
)
def test_there_is_something_to_learn_in_the_toys(discrete, policy, best):
    (states,) = (c for c in toy.register_environments() if c.name == "toy_states")
    environments = states.build(states.options(discrete=discrete), EnvironmentContext())
    torch.manual_seed(0)
    env = environments.make(8, 0)
    good, random = returns(env, policy), returns(env, env.rand_action)
    assert good > best
    assert random < 4 * best


def test_pictures_of_the_toy_show_what_states_tell():
    states, pixels = (
        next(c for c in toy.register_environments() if c.name == name)
        for name in ("toy_states", "toy_pixels")
    )
    envs = [c.build(c.options(), EnvironmentContext()).make(4, 3) for c in (states, pixels)]
    roots = [env.reset() for env in envs]
    for _ in range(15):
        place, frame = roots[0]["observation"][:, :2], roots[1]["observation"][:, -1]
        for (x, y), picture in zip(place.tolist(), frame, strict=True):
            rows, columns = (picture == 255).nonzero().float().mean(0).tolist()
            assert abs(columns - (1 + (1 + x) / 2 * 17)) <= 0.5
            assert abs(rows - (1 + (1 - y) / 2 * 17)) <= 0.5
        action = envs[0].action_spec.rand()
        roots = [
            e.step_and_maybe_reset(r.set("action", action))[1]
            for e, r in zip(envs, roots, strict=True)
        ]


@pytest.mark.parametrize("name", ["toy_states", "toy_pixels"])
def test_the_toys_are_fast(name):
    (found,) = (c for c in toy.register_environments() if c.name == name)
    env = found.build(found.options(), EnvironmentContext()).make(1, 0)
    root, action = env.reset(), torch.zeros(1, 2)
    started = time.process_time()
    for _ in range(1_000):
        _, root = env.step_and_maybe_reset(root.set("action", action))
    # about 25,000 on one core of a laptop
    assert 1_000 / (time.process_time() - started) > 5_000
