"""The Gymnasium environments against bare ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.api import OptionError, UserError
from tests.support.worlds import gymnasium_env, rollout


def test_gymnasium_repeats_actions_and_truncates():
    import gymnasium

    env = gymnasium_env("Pendulum-v1", action_repeat=3, max_episode_steps=10)
    assert env.spec.episode_steps == 4
    taken = rollout(env.make(1, 3), 4)[0]
    bare = gymnasium.make("Pendulum-v1")
    bare.reset(seed=3)
    for k, step in enumerate(taken):
        frames = [bare.step(2 * step["action"].numpy()) for _ in range(1 if k == 3 else 3)]
        assert step["next", "reward"].item() == np.float32(sum(float(f[1]) for f in frames))
        assert np.array_equal(step["next", "observation"].numpy(), frames[-1][0])
    assert taken["next", "truncated"][:, 0].tolist() == [False, False, False, True]
    assert not taken["next", "terminated"].any()


@pytest.mark.parametrize(
    ("rescale", "action", "applied"),
    [(True, 0.5, 1.0), (True, 1.5, 2.0), (False, 0.5, 0.5), (False, -7.0, -2.0)],
)
def test_gymnasium_actions(rescale, action, applied):
    env = gymnasium_env("Pendulum-v1", rescale_actions=rescale).make(1, 0)
    env.step(env.reset().set("action", torch.full((1, 1), action)))
    assert env._episodes[0].simulator._environment.unwrapped.last_u == pytest.approx(applied)
    assert env.action_spec.space.high.item() == (1.0 if rescale else 2.0)


def test_gymnasium_discrete_observations_are_one_hot():
    environments = gymnasium_env("Taxi-v4")
    assert environments.spec.discrete
    assert environments.spec.action == 6
    taken = rollout(environments.make(1, 0), 20)
    assert (taken["observation"].sum(-1) == 1).all()


def test_gymnasium_unknown_id_names_the_nearest():
    with pytest.raises(OptionError, match=r"Did you mean 'HalfCheetah-v5'\?") as error:
        gymnasium_env("HalfCheeta-v5")
    assert error.value.field == "id"


@pytest.mark.parametrize(
    ("id_", "package"), [("no_such_package:Thing-v0", "pip install no_such_package")]
)
def test_gymnasium_missing_package_is_one_line(id_, package):
    with pytest.raises(UserError, match=package) as error:
        gymnasium_env(id_)
    assert "\n" not in str(error.value)


def test_gymnasium_missing_dependency_is_one_line(monkeypatch):
    import gymnasium

    def fail(*_, **__):
        raise gymnasium.error.DependencyNotInstalled("not there,\nrun `pip install some-extra`")

    monkeypatch.setattr(gymnasium, "make", fail)
    with pytest.raises(UserError, match="CartPole-v1: not there, run `pip install some-extra`"):
        gymnasium_env()


def test_gymnasium_options_out_of_range():
    for field in ("max_episode_steps", "action_repeat"):
        with pytest.raises(OptionError) as error:
            gymnasium_env(**{field: 0})
        assert error.value.field == field


def test_gymnasium_other_action_spaces_are_refused(monkeypatch):
    import gymnasium

    class Two(gymnasium.Env):
        action_space = gymnasium.spaces.MultiDiscrete([2, 2])
        observation_space = gymnasium.spaces.Box(-1, 1, (1,))

    class Unbounded(Two):
        action_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,))

    for name, kind in (("Two-v0", Two), ("Unbounded-v0", Unbounded)):
        monkeypatch.setitem(
            gymnasium.registry, name, gymnasium.envs.registration.EnvSpec(name, kind)
        )
    with pytest.raises(OptionError, match="MultiDiscrete"):
        gymnasium_env("Two-v0")
    with pytest.raises(OptionError, match="rescale_actions must be false"):
        gymnasium_env("Unbounded-v0")
    environments = gymnasium_env("Unbounded-v0", rescale_actions=False)
    assert environments.spec.action == 1
    with pytest.raises(UserError, match="Unbounded-v0 cannot be rendered"):
        environments.make(1, 0).render()


@pytest.mark.render
def test_gymnasium_renders_in_the_size_asked_for():
    env = gymnasium_env("InvertedPendulum-v5").make(2, 0)
    env.reset()
    picture = env.render(1, 48, 64)
    assert picture.shape == (48, 64, 3)
    assert picture.dtype == np.uint8
    assert np.ptp(picture) > 50
    env.close()
