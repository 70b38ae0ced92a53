"""Going on exactly where an environment was saved, in the middle of an episode."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import pytest
import torch
from tensordict.nn import TensorDictModuleBase

from core.api import EnvironmentContext, UserError
from plugins.environments.dm_control import DMControlEnvironments
from plugins.environments.gymnasium import GymnasiumEnvironments
from plugins.environments.options import DMControlOptions, GymnasiumOptions


@cache
def build(options):
    make = DMControlEnvironments if isinstance(options, DMControlOptions) else GymnasiumEnvironments
    return make(options, EnvironmentContext())


def through_a_file(state):
    """As a checkpoint does, and with nothing but what torch loads safely."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


class Fixed(TensorDictModuleBase):
    """Actions of its own, in a fixed order; ``position`` is where it is."""

    def __init__(self, env, position=0):
        super().__init__()
        self.in_keys, self.out_keys = ["observation"], ["action"]
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.actions = [env.action_spec.rand() for _ in range(400)]
        self.position = position

    def forward(self, tensordict):
        self.position += 1
        return tensordict.set("action", self.actions[self.position - 1])


def run(env, policy, root, steps):
    """Transitions of ``steps`` steps from ``root``, and the root after them."""
    taken = []
    for _ in range(steps):
        stepped, root = env.step_and_maybe_reset(policy(root))
        taken.append(stepped.clone())
    return taken, root


def identical(a, b):
    keys = [*("observation", "action"), *(("next", k) for k in ("observation", "reward", *FLAGS))]
    return all(torch.equal(a[key], b[key]) for key in keys)


FLAGS = ("done", "terminated", "truncated")
CASES = {
    "cheetah": DMControlOptions("cheetah-run", time_limit=0.5),
    "finger": DMControlOptions("finger-turn_hard", time_limit=0.9),
    "reacher": DMControlOptions("reacher-hard", time_limit=0.9),
    "lqr": DMControlOptions("lqr-lqr_6_2", action_repeat=1),
    "hopper": GymnasiumOptions("Hopper-v5"),
    "cartpole": GymnasiumOptions("CartPole-v1"),
    "taxi": GymnasiumOptions("Taxi-v4", max_episode_steps=23),
}


@pytest.mark.parametrize("case", CASES)
def test_restored_bit_for_bit(case):
    environments = build(CASES[case])
    env, other = (environments.make(2, seed) for seed in (11, 12))
    policy, root, taken, saved = Fixed(env), env.reset(), [], {}
    for before in (0, 5, 67):
        more, root = run(env, policy, root, before - len(taken))
        taken += more
        saved[before] = through_a_file(env.state_dict()), root["observation"].clone()
    taken += run(env, policy, root, 60)[0]
    for before, (state, observation) in saved.items():
        other.load_state_dict(state)
        restored = other.reset()
        assert torch.equal(restored["observation"], observation)
        repeated, _ = run(other, Fixed(env, before), restored, 60)
        went_on = taken[before : before + 60]
        assert all(identical(a, b) for a, b in zip(went_on, repeated, strict=True))
        if case != "lqr":
            assert any(a["next", "done"].any() for a in went_on)
    # and the same again: the restored one can itself be saved
    assert str(env.state_dict()) == str(other.state_dict())


def test_through_a_collector():
    from torchrl.collectors import Collector

    def collector(env, policy):
        return iter(
            Collector(
                *(env, policy),
                frames_per_batch=14,
                total_frames=-1,
                track_traj_ids=False,
                trust_policy=True,
                use_buffers=False,
                auto_register_policy_transforms=False,
            )
        )

    environments = build(CASES["cheetah"])
    env = environments.make(2, 0)
    policy = Fixed(env)
    batches = collector(env, policy)
    for _ in range(5):
        next(batches)
    state, position = through_a_file(env.state_dict()), policy.position

    other = environments.make(2, 1)
    other.load_state_dict(state)
    repeated = collector(other, Fixed(env, position))
    for _ in range(5):
        assert identical(next(batches).clone(), next(repeated).clone())


def test_a_second_reset_begins_a_new_episode():
    environments = build(CASES["cheetah"])
    env = environments.make(1, 0)
    _, root = run(env, Fixed(env), env.reset(), 3)
    env.load_state_dict(env.state_dict())
    assert torch.equal(env.reset()["observation"], root["observation"])
    assert not torch.equal(env.reset()["observation"], root["observation"])


def test_saved_after_the_last_step_and_before_the_reset():
    environments = build(CASES["cheetah"])
    env = environments.make(1, 0)
    current = env.reset()
    while not current["done"].any():
        current = env.step(env.rand_action(current))["next"]
    other = environments.make(1, 5)
    other.load_state_dict(env.state_dict())
    assert torch.equal(other.reset()["observation"], env.reset()["observation"])


def test_a_replay_that_leads_elsewhere_is_told():
    environments = build(CASES["cheetah"])
    env = environments.make(1, 0)
    run(env, Fixed(env), env.reset(), 3)
    state = env.state_dict()
    state["episodes"][0]["observation"][0] += 1e-6
    with pytest.warns(UserWarning, match="did not lead to the saved observation"):
        environments.make(1, 0).load_state_dict(state)


def test_another_number_of_environments_is_refused():
    environments = build(CASES["cheetah"])
    with pytest.raises(UserError, match="holds 2 environments, this run has 1"):
        environments.make(1, 0).load_state_dict(environments.make(2, 0).state_dict())


@pytest.mark.render
def test_pictures_are_restored_with_their_stack(monkeypatch):
    from dm_control.mujoco import Camera

    options = DMControlOptions("cartpole-swingup", pixels=True, rendering="fast", size=32)
    env, other = (build(options).make(1, seed) for seed in (0, 1))
    drawn, render = [], Camera.render
    monkeypatch.setattr(Camera, "render", lambda *a, **k: drawn.append(1) or render(*a, **k))
    policy, root, done = Fixed(env), env.reset(), 0
    for before in (0, 1, 2, 9):
        _, root = run(env, policy, root, before - done)
        done = before
        state = through_a_file(env.state_dict())
        drawn.clear()
        other.load_state_dict(state)
        assert len(drawn) == min(before + 1, 3)
        again = other.reset()["observation"].int()
        # drivers are known to differ in the last bit from one picture to the next
        assert (again - root["observation"].int()).abs().max() <= 1
        assert np.ptp(again.numpy()) > 50
    for one in (env, other):
        one.close()
