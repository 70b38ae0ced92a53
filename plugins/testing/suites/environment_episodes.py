"""Checks of how environments are stepped and reset."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from itertools import pairwise

import torch

from core.api.environments import EnvironmentContext
from plugins.testing.harness.walks import FLAGS, actions, apart, closing, episodes, walk
from plugins.testing.suites.environment_specs import SpecChecks

ASSUMED_LIMIT = 1000
"""Agent steps over which the time input rises where there is no time limit."""


class EpisodeChecks(SpecChecks):
    """Checks of how an environment is stepped and reset."""

    # --- episodes -----------------------------------------------------------------------

    def test_first_observations_are_marked(self) -> None:
        with closing(self.make(2)) as (environment,):
            root = environment.reset()
            assert bool(root["is_init"].all()), "after 'reset', 'is_init' is to be true"
            over = torch.zeros(2, 1, dtype=torch.bool)
            for action in actions(environment, self.long):
                step, root = environment.step_and_maybe_reset(root.set("action", action))
                assert not bool(step["next", "is_init"].any()), (
                    "no step leads to an episode's first observation: 'next' is the last of the "
                    "old episode, the root after it the first of the new one"
                )
                over |= step["next", "done"]
                assert torch.equal(root["is_init"], step["next", "done"]), (
                    "in the root after a step, 'is_init' is to be true where an episode has "
                    "ended and false elsewhere"
                )
                for flag in FLAGS:
                    assert not bool(root[flag].any()), f"'{flag}' is true in the root of a step"
            if not bool(over.any()):
                self.skip(f"no episode ended in {self.long} steps; give options with shorter ones")

    def test_the_next_step_goes_on_from_the_last(self) -> None:
        spec = self.spec
        with closing(self.make(2)) as (environment,):
            steps, _ = walk(environment, actions(environment, self.long))
            for before, after in pairwise(steps):
                on = ~before["next", "done"][:, 0]
                assert torch.equal(after["observation"][on], before["next", "observation"][on]), (
                    "where no episode has ended, the root's observation is that of the step before"
                )
            if not spec.pixels or spec.frame_stack == 1:
                return
            one = spec.observation[0] // spec.frame_stack
            for step in steps:
                old, new = step["observation"], step["next", "observation"]
                assert torch.equal(new[:, :-one], old[:, one:]), (
                    "stacked frames are oldest first: a step drops the first and adds the last"
                )
                first = old[step["is_init"][:, 0]]
                alike = first.view(-1, spec.frame_stack, one, *spec.observation[1:])
                assert bool((alike == alike[:, :1]).all()), (
                    "an episode's first stack is to be its first frame, repeated"
                )

    def test_it_steps_as_torchrl_does(self) -> None:
        from torchrl.envs import EnvBase

        with closing(self.make(3, 4), self.make(3, 4)) as (fast, general):
            taken = actions(fast, self.long)
            steps, _ = walk(fast, taken)
            root, rolled = general.reset(), []
            for action in taken:
                step, root = EnvBase.step_and_maybe_reset(general, root.set("action", action))
                rolled.append(step.clone())
            where = apart(steps, rolled)
            assert not where, (
                f"'step_and_maybe_reset' and TorchRL's own step, step_mdp and maybe_reset differ "
                f"in {where}"
            )

    def test_a_reset_touches_only_the_chosen(self) -> None:
        with closing(self.make(3, 1), self.make(3, 1)) as (environment, twin):
            taken = actions(environment, 4)
            roots = [walk(own, taken[:3])[1] for own in (environment, twin)]
            chosen = torch.tensor([[False], [True], [False]])
            after = environment.reset(roots[0].clone().set("_reset", chosen))
            assert bool(after["is_init"][1]), "after a reset of it, 'is_init' is to be true"
            one, two = (
                own.step(root.clone().set("action", taken[3]))["next", "observation"]
                for own, root in ((environment, after), (twin, roots[1]))
            )
            assert torch.equal(one[[0, 2]], two[[0, 2]]), (
                "a reset with '_reset' true for one environment changed the others"
            )

    def test_a_time_limit_truncates(self) -> None:
        limit = self.spec.episode_steps
        if limit is None:
            self.skip("spec.episode_steps is None: there is no time limit")
            return
        with closing(self.make(4)) as (environment,):
            steps, _ = walk(environment, actions(environment, 2 * limit))
            found = [episode for i in range(4) for episode in episodes(steps, i)]
            for episode in found:
                assert len(episode) <= limit, (
                    f"an episode of {len(episode)} agent steps; spec.episode_steps says {limit}"
                )
            cut = [e for e in found if bool(e[-1]["next", "truncated"])]
            for episode in cut:
                assert len(episode) == limit, (
                    f"'truncated' after {len(episode)} agent steps, the time limit is {limit}"
                )
            at_limit = [e for e in found if len(e) == limit]
            if not at_limit:
                self.skip(f"no episode of random actions came to the limit of {limit} steps")
            assert cut, (
                "at the time limit 'terminated' is true and 'truncated' is not: learners would "
                "not bootstrap there; a time limit is to truncate"
            )

    def test_the_time_is_an_input_where_it_is_asked_for(self) -> None:
        if "time input" not in self.found.provides or self.spec.pixels:
            self.skip("it gives no time (provides 'time input', flat observations)")
        built = self.found.build(self.made_options(), EnvironmentContext(time_input=True))
        plain, spec = self.spec, built.spec
        longer = (plain.observation[0] + 1,)
        assert spec == replace(plain, observation=longer, time_input=True), (
            "with EnvironmentContext.time_input the spec has time_input=True and one more entry "
            f"in 'observation', and is the same otherwise; got {spec}"
        )
        limit = plain.episode_steps or ASSUMED_LIMIT
        with closing(built.make(1, 0)) as (environment,):
            root = environment.reset()
            count = 0
            for action in actions(environment, self.steps):
                time, expected = root["observation"][0, -1], -0.5 + max(count - 1, 0) / limit
                assert math.isclose(float(time), expected, abs_tol=1e-5), (
                    f"after {count} agent steps the last entry is to be {expected:.5f}, got {time}"
                )
                step, root = environment.step_and_maybe_reset(root.set("action", action))
                count = 0 if bool(step["next", "done"]) else count + 1

    def test_action_repeat_counts(self) -> None:
        if "action_repeat" not in {f.name for f in fields(self.found.options)}:
            self.skip("there is no option 'action_repeat'")
        one, two = self.build(action_repeat=1), self.build(action_repeat=2)
        assert (one.spec.action_repeat, two.spec.action_repeat) == (1, 2), (
            "spec.action_repeat is not what the option says: frames would be counted wrongly"
        )
        if one.spec.episode_steps is not None:
            half = -(-one.spec.episode_steps // 2)
            assert two.spec.episode_steps == half, (
                f"spec.episode_steps counts agent steps: with action_repeat 2 {half}, not "
                f"{two.spec.episode_steps}"
            )
        with closing(one.make(1, 3), two.make(1, 3)) as (single, double):
            (action,) = actions(single, 1)
            steps, _ = walk(single, [action, action])
            (both,), _ = walk(double, [action])
            total = sum(float(step["next", "reward"]) for step in steps)
            assert math.isclose(float(both["next", "reward"]), total, abs_tol=1e-5), (
                "the reward of an agent step is to be the sum over its frames"
            )
            last = self.spec.observation[0] // self.spec.frame_stack if self.spec.pixels else 0
            seen = [step["next", "observation"][:, -last:] for step in (steps[-1], both)]
            assert torch.equal(*seen), "two frames with one action lead elsewhere"
