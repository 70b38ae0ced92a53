"""Environments that break one rule each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from core.api import EnvironmentSpec
from plugins.testing.toys.toy import ToyStatesOptions
from plugins.testing.toys.toy_env import ToyEnv
from tests.plugins.testing.faulty import Fault


class World:
    """A toy whose environments are of another class, or whose spec says something else."""

    description = "faulty"

    def __init__(self, options: Any, env: type = ToyEnv, **said: Any) -> None:
        self.options, self.env = options, env
        self.own = options.spec()
        self.spec: EnvironmentSpec = replace(self.own, **said)

    def make(self, count: int, seed: int) -> Any:
        return self.env(self.options, self.own, count, seed)


class TwoLines(World):
    description = "one\ntwo"


class Unseeded(World):
    def make(self, count, seed):
        return super().make(count, int(np.random.randint(2**30)))


class AlwaysSeedZero(World):
    def make(self, count, seed):
        return super().make(count, 0)


class DoubleRewards(ToyEnv):
    def _advance(self, action):
        given = super()._advance(action)
        return {**given, "reward": given["reward"].double()}


class LostRewards(ToyEnv):
    def _advance(self, action):
        given = super()._advance(action)
        return {**given, "reward": given["reward"] * float("nan")}


class Unmarked(ToyEnv):
    def _root(self):
        root = super()._root()
        return root.set("is_init", torch.zeros_like(root["is_init"]))


class Jumping(ToyEnv):
    def step_and_maybe_reset(self, tensordict):
        step, root = super().step_and_maybe_reset(tensordict)
        return step, root.set("observation", root["observation"] + 1)


class FastPathOfItsOwn(ToyEnv):
    def step_and_maybe_reset(self, tensordict):
        step, root = super().step_and_maybe_reset(tensordict)
        step["next", "reward"] += 1
        return step, root


class ResetsAll(ToyEnv):
    def _reset(self, tensordict=None, **_):
        return super()._reset(None)


class LimitTerminates(ToyEnv):
    def _advance(self, action):
        given = super()._advance(action)
        none = torch.zeros_like(given["truncated"])
        return {**given, "terminated": given["truncated"], "truncated": none}


class DrawsGlobally(ToyEnv):
    def _begin(self, which):
        np.random.rand()
        super()._begin(which)


class SeededOnce(ToyEnv):
    def _set_seed(self, seed):
        if not self._dots:
            super()._set_seed(seed)


class Unclipped(ToyEnv):
    def _advance(self, action):
        given = super()._advance(action)
        return {**given, "reward": given["reward"] - action.abs().sum(-1, keepdim=True)}


class Aliased(ToyEnv):
    def _observation(self):
        return torch.from_numpy(self._observations)


class ForgetsGenerators(ToyEnv):
    def load_state_dict(self, state, *_, **__):
        own = [dot._generator.bit_generator.state for dot in self._dots]
        super().load_state_dict(state)
        for dot, generator in zip(self._dots, own, strict=True):
            dot._generator.bit_generator.state = generator


class LoadsWhatHasBegun(ToyEnv):
    def load_state_dict(self, state, *_, **__):
        if not state["dots"][0]["over"]:
            super().load_state_dict(state)


class StaysRestored(ToyEnv):
    def _reset(self, tensordict=None, **_):
        kept = self._keep_restored
        root = super()._reset(tensordict)
        self._keep_restored = kept
        return root


class Sideways(ToyEnv):
    def render(self, index=0, height=240, width=320):
        return super().render(index, width, height)


class MovedByDrawing(ToyEnv):
    def render(self, index=0, height=240, width=320):
        self._dots[index]._place[0] *= 0.5
        return super().render(index, height, width)


class ClosedTwice(ToyEnv):
    def close(self, *, raise_if_closed=True):
        if self.is_closed:
            raise AssertionError("closed already")
        super().close(raise_if_closed=raise_if_closed)


def fault(check: str, words: str, world: type = World, env: type = ToyEnv, **more: Any) -> Fault:
    said = {key: more.pop(key) for key in ("observation", "action", "action_repeat") if key in more}
    return Fault(
        *("environments", check, lambda options, context: world(options, env, **said), words),
        options_type=ToyStatesOptions,
        options={"limit": 12, **more.pop("options", {})},
        **more,
    )


GOOD = fault("", "")
FAULTS = [
    fault("spec_says_what_the_agent_needs", "spec.action", action=0),
    fault("description_is_one_line", "one line", TwoLines),
    fault("torchrl_accepts_its_specs", "check_env_specs", env=DoubleRewards),
    fault("specs_say_what_the_spec_says", "'observation'", observation=(5,)),
    fault("what_it_gives_fits_the_specs", "not finite", env=LostRewards),
    fault("first_observations_are_marked", "'is_init'", env=Unmarked),
    fault("the_next_step_goes_on_from_the_last", "the step before", env=Jumping),
    fault("it_steps_as_torchrl_does", "'next reward'", env=FastPathOfItsOwn),
    fault("a_reset_touches_only_the_chosen", "the others", env=ResetsAll),
    fault("a_time_limit_truncates", "truncate", env=LimitTerminates, options={"ends": False}),
    fault(
        *("the_time_is_an_input_where_it_is_asked_for", "time_input=True"),
        component={"provides": frozenset({"time input"})},
    ),
    fault("action_repeat_counts", "action_repeat", action_repeat=1),
    fault("the_same_seed_gives_the_same_episodes", "one seed differ", Unseeded),
    fault("it_draws_from_no_global_generator", "global generator", env=DrawsGlobally),
    fault("other_seeds_begin_elsewhere", "seed each", AlwaysSeedZero),
    fault("set_seed_begins_anew", "set_seed(7)", env=SeededOnce),
    fault("actions_beyond_the_bounds_count_as_the_bounds", "clip", env=Unclipped),
    fault("observations_are_copies", "overwritten", env=Aliased),
    fault("a_saved_state_goes_on_exactly", "goes on differently", env=ForgetsGenerators),
    fault("a_state_saved_before_the_first_step", "never reset", env=LoadsWhatHasBegun),
    fault("only_the_first_reset_answers_the_restored", "second reset", env=StaysRestored),
    fault("pictures_are_rgb", "[240, 320, 3]", env=Sideways),
    fault("drawing_changes_nothing", "drawn goes on", env=MovedByDrawing),
    fault("closing_twice_is_allowed", "closed already", env=ClosedTwice),
]
