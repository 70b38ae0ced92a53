"""What all environments share: specs, seeds, resets, the fast path."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torchrl.envs.utils import check_env_specs

from core.api import EnvironmentContext
from plugins.environments.dm_control import DMControlEnvironments
from plugins.environments.options import DMControlOptions
from tests.support.worlds import gymnasium_env, rollout


@cache
def cheetah(**options):
    return DMControlEnvironments(DMControlOptions("cheetah-run", **options), EnvironmentContext())


BUILDERS = {
    "cheetah": cheetah,
    "cartpole": gymnasium_env,
    "halfcheetah": lambda: gymnasium_env("HalfCheetah-v5"),
    "taxi": lambda: gymnasium_env("Taxi-v4"),
    "unscaled": lambda: gymnasium_env("Pendulum-v1", rescale_actions=False),
}


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("count", [1, 3])
def test_torchrl_accepts_the_specs(name, count):
    environments = BUILDERS[name]()
    env = environments.make(count, 0)
    check_env_specs(env)
    root = env.reset()
    assert root.batch_size == torch.Size([count])
    assert root["observation"].shape == (count, *environments.spec.observation)
    after = env.step(env.rand_action(root))["next"]
    for key in ("reward", "done", "terminated", "truncated"):
        assert after[key].shape == (count, 1)


@pytest.mark.render
def test_torchrl_accepts_the_specs_of_pixels():
    env = cheetah(pixels=True, rendering="fast", frame_stack=2, size=24).make(2, 0)
    check_env_specs(env)
    assert env.observation_spec["observation"].shape == (2, 6, 24, 24)
    env.close()


def test_the_fast_path_is_torchrls_general_path():
    environments = gymnasium_env()
    fast = rollout(environments.make(3, 4), 80)
    torch.manual_seed(0)
    general = environments.make(3, 4).rollout(
        80, policy=None, break_when_any_done=False, auto_reset=True
    )
    assert fast["next", "terminated"].any()
    for key in ("observation", "action", ("next", "observation"), ("next", "reward")):
        assert torch.equal(fast[key], general[key])
    assert torch.equal(fast["is_init"], general["is_init"])
    for key in ("is_init", "done", "terminated", "truncated"):
        assert torch.equal(fast["next", key], general["next", key])


@pytest.mark.parametrize("build", [cheetah, gymnasium_env])
def test_seeds(build):
    environments = build()
    first, again, other = (rollout(environments.make(3, seed), 30) for seed in (1, 1, 2))
    assert (first == again).all()
    starts = torch.cat([first["observation"][:, 0], other["observation"][:, 0]])
    assert len(starts.unique(dim=0)) == 6


def test_set_seed_begins_anew():
    env = cheetah().make(2, 1)
    rollout(env, 3)
    env.set_seed(1)
    assert torch.equal(env.reset()["observation"], cheetah().make(2, 1).reset()["observation"])


def test_environments_in_one_process_do_not_disturb_each_other():
    """Episodes end at different steps; each must be as the bare environment alone."""
    import gymnasium

    env = gymnasium_env().make(3, 5)
    taken = rollout(env, 120)
    ends = taken["next", "done"][..., 0]
    assert len({tuple(row.nonzero()[:, 0].tolist()) for row in ends}) == 3
    for i, seed in enumerate(env._seeds):
        bare = gymnasium.make("CartPole-v1")
        observation, _ = bare.reset(seed=seed)
        for step in taken[i]:
            assert np.array_equal(step["observation"].numpy(), observation)
            observation, reward, terminated, truncated, _ = bare.step(int(step["action"]))
            assert np.array_equal(step["next", "observation"].numpy(), observation)
            assert step["next", "reward"].item() == reward
            assert step["next", "terminated"].item() == terminated
            assert step["next", "truncated"].item() == truncated
            if terminated or truncated:
                observation, _ = bare.reset()


def test_a_partial_reset_touches_only_the_chosen():
    env, twin = (cheetah().make(3, 0) for _ in range(2))
    before, _ = (rollout(one, 2)["next"][:, -1] for one in (env, twin))
    chosen = torch.tensor([[False], [True], [False]])
    after = env.reset(before.clone().set("_reset", chosen))
    assert torch.equal(after["observation"][[0, 2]], before["observation"][[0, 2]])
    assert not torch.equal(after["observation"][1], before["observation"][1])
    action = torch.zeros(3, 6)
    stepped, expected = (
        one.step(root.set("action", action))["next", "observation"]
        for one, root in ((env, after), (twin, before.clone()))
    )
    assert torch.equal(stepped[[0, 2]], expected[[0, 2]])
    assert not torch.equal(stepped[1], expected[1])


def test_what_was_handed_out_is_not_overwritten():
    env = cheetah().make(2, 0)
    root = env.reset()
    kept, copy = root["observation"], root["observation"].clone()
    stepped, _ = env.step_and_maybe_reset(env.rand_action(root))
    stepped["next", "observation"].zero_()
    assert torch.equal(kept, copy)
    following, _ = env.step_and_maybe_reset(env.rand_action(env.reset()))
    assert following["next", "observation"].any()


def test_a_reused_action_tensor_does_not_change_the_record():
    env = cheetah().make(1, 0)
    root, action = env.reset(), torch.zeros(1, 6)
    for value in (0.1, 0.2):
        _, root = env.step_and_maybe_reset(root.set("action", action.fill_(value)))
    recorded = env.state_dict()["episodes"][0]["actions"][:, 0]
    assert recorded.tolist() == pytest.approx([0.1, 0.2])


def test_a_step_after_the_end_is_an_error():
    env = gymnasium_env(max_episode_steps=1).make(1, 0)
    root = env.rand_action(env.reset())
    env.step(root)
    with pytest.raises(RuntimeError, match="reset"):
        env.step(root)


def test_close_twice_and_after_use():
    env = cheetah().make(2, 0)
    env.reset()
    env.close()
    env.close(raise_if_closed=False)
    assert env.is_closed
