"""Environments that break one rule each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from core.api import EnvironmentSpec
from plugins.testing.toys.options import ToyStatesOptions
from plugins.testing.toys.toy import ToyEnvironments
from plugins.testing.toys.toy_env import ToyEnv
from tests.plugins.testing.faulty import Fault, but


class World:
    """A toy whose environments are of another class, or whose spec says something else."""

    description = "faulty"

    def __init__(self, options: Any, env: type = ToyEnv, **said: Any) -> None:
        self.options, self.env = options, env
        self.own = ToyEnvironments(options, time_input=False).spec
        self.spec: EnvironmentSpec = replace(self.own, **said)

    def make(self, count: int, seed: int) -> Any:
        return self.env(self.options, self.own, count, seed)


def stepping(change):
    """A toy with what a step gives changed."""
    return but(ToyEnv, _step=lambda self, td: change(ToyEnv._step(self, td), td["action"]))


def terminating(given, action):
    none = torch.zeros_like(given["truncated"])
    return given.set("terminated", given["truncated"]).set("truncated", none)


class Unmarked(ToyEnv):
    def _answer(self, *given):
        return super()._answer(*given).set("is_init", torch.zeros(*self.batch_size, 1).bool())


class FastPathOfItsOwn(ToyEnv):
    def step_and_maybe_reset(self, tensordict):
        step, root = super().step_and_maybe_reset(tensordict)
        step["next", "reward"] += 1
        return step, root


class DrawsGlobally(ToyEnv):
    def _begin(self, i):
        np.random.rand()
        super()._begin(i)


class ForgetsGenerators(ToyEnv):
    def load_state_dict(self, state, *_, **__):
        own = self.state_dict()["generators"]
        super().load_state_dict({**state, "generators": own})


def fault(check: str, words: str, world: type = World, env: type = ToyEnv, **more: Any) -> Fault:
    said = {key: more.pop(key) for key in ("observation", "action_repeat") if key in more}
    return Fault(
        *("environments", check, words, lambda options, context: world(options, env, **said)),
        options_type=ToyStatesOptions,
        options={"limit": 12, **more.pop("options", {})},
        **more,
    )


SPEC, SEED = "what_it_gives_is_what_the_spec_says", "the_seed_decides_and_nothing_else"
SAVED, DRAWN = "a_saved_state_goes_on_exactly", "drawing_gives_rgb_and_changes_nothing"
Sideways = but(ToyEnv, render=lambda self, i, height, width: ToyEnv.render(self, i, width, height))
FAULTS = [
    fault(
        *("torchrl_accepts_its_specs", "check_env_specs"),
        env=stepping(lambda given, action: given.set("reward", given["reward"].double())),
    ),
    fault(SPEC, "observation is to be [3, 5]", observation=(5,)),
    fault("episodes_are_marked_and_connected", "'is_init'", env=Unmarked),
    fault("it_steps_as_torchrl_does", "'next reward'", env=FastPathOfItsOwn),
    fault(
        *("a_reset_touches_only_the_chosen", "the others"),
        env=but(ToyEnv, _reset=lambda self, tensordict=None, **_: ToyEnv._reset(self, None)),
    ),
    fault(
        *("a_time_limit_truncates", "truncate"),
        env=stepping(terminating),
        options={"ends": False},
    ),
    fault("action_repeat_counts", "action_repeat", action_repeat=1),
    fault(
        *(SEED, "one seed differ"),
        but(World, make=lambda self, n, seed: World.make(self, n, int(np.random.randint(2**30)))),
    ),
    fault(SEED, "global generator", env=DrawsGlobally),
    fault(
        *("other_seeds_begin_elsewhere", "seed each"),
        but(World, make=lambda self, count, seed: World.make(self, count, 0)),
    ),
    fault(
        *("actions_beyond_the_bounds_count_as_the_bounds", "clip"),
        env=stepping(lambda given, action: given.set("reward", action.abs().sum(-1, keepdim=True))),
    ),
    fault(
        *("observations_are_copies", "give a copy"),
        env=but(ToyEnv, _observation=lambda self: torch.from_numpy(self._seen)),
    ),
    fault(SAVED, "goes on differently", env=ForgetsGenerators),
    fault(DRAWN, "[240, 320, 3]", env=Sideways),
]
