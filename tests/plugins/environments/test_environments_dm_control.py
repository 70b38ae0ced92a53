"""The dm_control environments against a bare dm_control loop."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch

from core.api import EnvironmentContext, OptionError, RunStopped
from plugins.environments.dm_control import DMControlEnvironments
from plugins.environments.options import DMControlOptions


@cache
def build(task, **options):
    return DMControlEnvironments(DMControlOptions(task, **options), EnvironmentContext())


class BareLoop:
    """The suite's own environment, stepped as DrQ-v2 and SimBa step it."""

    def __init__(self, task, seed, repeat, time_limit=None):
        build("cheetah-run")  # settles the OpenGL backend before dm_control is imported
        from dm_control import suite

        kwargs = {"random": seed} | ({} if time_limit is None else {"time_limit": time_limit})
        self.env = suite.load(*task.split("-"), task_kwargs=kwargs)
        self.repeat, self.spec = repeat, self.env.action_spec()
        self.last = None

    def _observation(self):
        values = self.last.observation.values()
        return np.concatenate([np.ravel(v) for v in values]).astype(np.float32)

    def reset(self):
        self.last = self.env.reset()
        return self._observation()

    def step(self, action):
        low, high = self.spec.minimum, self.spec.maximum
        scaled = action
        if not (np.all(low == -1) and np.all(high == 1)):
            scaled = low + (high - low) / 2 * (action.astype(np.float64) + 1)
        reward = 0.0
        for _ in range(self.repeat):
            self.last = self.env.step(scaled)
            reward += self.last.reward
            if self.last.last():
                break
        return self._observation(), np.float32(reward), self.last.last()


def actions(shape, count, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, *shape)).astype(np.float32)


def compare(task, repeat, steps, time_limit=None):
    """Step both; returns the agent steps at which episodes ended."""
    env = build(task, action_repeat=repeat, time_limit=time_limit).make(1, 7)
    bare = BareLoop(task, 7, repeat, time_limit)
    current, expected, ends = env.reset(), bare.reset(), []
    for k, action in enumerate(actions(bare.spec.shape, steps)):
        assert np.array_equal(current["observation"][0].numpy(), expected)
        current["action"] = torch.from_numpy(action)[None]
        stepped, current = env.step_and_maybe_reset(current)
        after = stepped["next"]
        expected, reward, last = bare.step(action)
        assert np.array_equal(after["observation"][0].numpy(), expected)
        assert after["reward"].item() == reward
        assert after["done"].item() == after["truncated"].item() == last
        assert not after["terminated"].item()
        assert not current["done"].any()
        if last:
            ends.append(k + 1)
            expected = bare.reset()
    env.close()
    return ends


@pytest.mark.parametrize(
    ("task", "repeat"),
    [
        ("cheetah-run", 1),
        ("quadruped-run", 2),
        ("finger-turn_hard", 2),
        ("manipulator-bring_ball", 1),
    ],
)
def test_equal_to_a_bare_loop_across_episode_ends(task, repeat):
    assert len(compare(task, repeat, 60, time_limit=0.4)) >= 1


def test_the_time_limit_truncates_and_cuts_a_repetition_short():
    # 1000 frames are 334 agent steps of 3 frames, the last of 1 frame
    assert compare("cheetah-run", 3, 340) == [334]
    assert build("cheetah-run", action_repeat=3).spec.episode_steps == 334
    assert build("cheetah-run").spec.episode_steps == 500


def simulator(env):
    return env._episodes[0].simulator


@pytest.mark.parametrize(("discount", "terminated"), [(0.0, True), (1.0, False)])
def test_only_a_zero_discount_is_a_termination(monkeypatch, discount, terminated):
    env = build("cheetah-run").make(1, 0)
    current = env.rand_action(env.reset())
    monkeypatch.setattr(simulator(env)._task, "get_termination", lambda physics: discount)
    after = env.step_and_maybe_reset(current)[0]["next"]
    assert after["terminated"].item() is terminated
    assert after["truncated"].item() is not terminated
    assert after["done"].item()


def test_a_diverged_simulation_stops_the_run():
    env = build("cheetah-run").make(1, 0)
    current = env.reset()
    current["action"] = torch.full((1, 6), math.nan)
    with pytest.raises(RunStopped, match=r"dm_control cheetah-run: .*BADCTRL"):
        env.step_and_maybe_reset(current)


@pytest.mark.parametrize("task", ["cartpole-swingup", "point_mass-easy"])
def test_actions_out_of_range_are_clipped(task):
    """In tasks whose rewards read the control, which MuJoCo clips for its own use only."""
    env, bare = build(task, action_repeat=2).make(1, 7), BareLoop(task, 7, 2)
    current, _ = env.reset(), bare.reset()
    beyond = 3 * actions(bare.spec.shape, 20)
    assert (np.abs(beyond) > 1).any()
    for action in beyond:
        current["action"] = torch.from_numpy(action)[None]
        stepped, current = env.step_and_maybe_reset(current)
        expected, reward, _ = bare.step(np.clip(action, -1, 1))
        assert np.array_equal(current["observation"][0].numpy(), expected)
        assert stepped["next", "reward"].item() == reward
        # what was learned from is the action as the policy gave it
        assert np.array_equal(stepped["action"][0].numpy(), action)
    env.close()


@pytest.mark.parametrize(("action", "control"), [(0.25, 0.25), (4.0, 1.0)])
def test_actions_without_a_limit_are_not_rescaled(action, control):
    env = build("lqr-lqr_2_1").make(1, 0)
    current = env.reset()
    current["action"] = torch.tensor([[action]])
    env.step_and_maybe_reset(current)
    assert simulator(env)._physics.control() == pytest.approx([control])
    assert build("lqr-lqr_2_1").spec.episode_steps is None


def test_building_and_stepping_states_makes_no_opengl_context():
    env = build("walker-walk").make(1, 0)
    env.step_and_maybe_reset(env.rand_action(env.reset()))
    assert simulator(env)._physics._contexts is None
    env.close()


# --- names and ranges


@pytest.mark.parametrize("task", ["cheetah_run", "cheetah-rnu", "chetah-run"])
def test_an_unknown_task_names_the_nearest_and_the_choices(task):
    with pytest.raises(OptionError, match=r"Did you mean 'cheetah-run'\?.*walker-walk") as error:
        build(task)
    assert error.value.field == "task"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("action_repeat", 0), ("frame_stack", 0), ("size", 0), ("camera", -2), ("camera", 2)),
        ("time_limit", 0.0),
    ],
)
def test_options_out_of_range(field, value):
    with pytest.raises(OptionError) as error:
        build("cheetah-run", **{field: value})
    assert error.value.field == field


def test_the_description_says_task_and_versions():
    text = build("cheetah-run").description
    assert text.startswith("dm_control cheetah-run, states of 17, dm_control 1.")
    assert ", mujoco 3." in text


# --- pixels


@pytest.mark.render
@pytest.mark.parametrize(("task", "camera"), [("quadruped-run", 2), ("cartpole-swingup", 0)])
def test_pixels_are_the_cameras_stacked_oldest_first(task, camera):
    # 3 agent steps of 2 frames of the cartpole, 3 of the quadruped
    env = build(task, pixels=True, time_limit=0.12 if camera else 0.06).make(1, 7)
    bare = BareLoop(task, 7, 2, 0.12 if camera else 0.06)

    def picture():
        return bare.env.physics.render(84, 84, camera_id=camera).transpose(2, 0, 1)

    bare.reset()
    current = env.reset()
    assert current["observation"].dtype == torch.uint8
    frames = [picture()] * 3
    ended = False
    for action in actions(bare.spec.shape, 4):
        assert np.array_equal(current["observation"][0].numpy(), np.concatenate(frames))
        current["action"] = torch.from_numpy(action)[None]
        stepped, current = env.step_and_maybe_reset(current)
        _, reward, last = bare.step(action)
        frames = [*frames[1:], picture()]
        assert np.array_equal(stepped["next", "observation"][0].numpy(), np.concatenate(frames))
        assert stepped["next", "reward"].item() == reward
        if last:
            ended = True
            bare.reset()
            frames = [picture()] * 3
    assert ended
    env.close()


@pytest.mark.render
def test_only_the_last_frame_of_a_repetition_is_drawn(monkeypatch):
    from dm_control.mujoco import Camera

    drawn, render = [], Camera.render
    monkeypatch.setattr(Camera, "render", lambda *a, **k: drawn.append(1) or render(*a, **k))
    env = build("cartpole-swingup", pixels=True, action_repeat=8, rendering="fast").make(1, 0)
    current = env.reset()
    for _ in range(3):
        _, current = env.step_and_maybe_reset(env.rand_action(current))
    assert len(drawn) == 4
    env.close()


@pytest.mark.render
def test_fast_rendering_changes_pictures_little_and_can_still_draw_videos():
    full, fast = (
        build("cheetah-run", pixels=True, rendering=kind).make(1, 3) for kind in ("full", "fast")
    )
    pair = [env.reset()["observation"].float() for env in (full, fast)]
    assert 0 < (pair[0] - pair[1]).abs().mean() < 10
    assert fast.render(0, 240, 320).shape == (240, 320, 3)
    for env in (full, fast):
        env.close()


@pytest.mark.render
def test_a_video_picture_is_the_tasks_camera_and_leaves_observations_alone():
    env = build("quadruped-run", pixels=True).make(1, 3)
    before = env.reset()["observation"].clone()
    picture = env.render(0, 120, 160)
    expected = simulator(env)._physics.render(120, 160, camera_id=2)
    assert picture.dtype == np.uint8
    assert np.array_equal(picture, expected)
    assert np.array_equal(env._observations, before.numpy())
    assert "pixels 84x84x3 stacked 3, " in build("quadruped-run", pixels=True).description
    env.close()
