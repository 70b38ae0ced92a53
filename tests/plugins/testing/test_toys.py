"""The toy environments: there is something to learn in them, and to see."""

from __future__ import annotations

import pytest
import torch

from core.api import EnvironmentContext
from plugins.testing.toys import toy


def straight_to_the_target(root):
    return root.set("action", (root["observation"][:, 2:4] / 0.2).clamp(-1, 1))


def choosing_the_longer_way(root):
    way = root["observation"][:, 2:4]
    along_y = way.abs().argmax(-1)
    sign = way.gather(-1, along_y[:, None])[:, 0] > 0
    return root.set("action", 1 + 2 * along_y + sign)


def returns(env, policy, steps=150):
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
