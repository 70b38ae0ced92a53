"""Conformance of environments."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torchrl.envs import EnvBase
from torchrl.envs.utils import check_env_specs

from core.agent.randomness import random_state, seed_everything, untouched_randomness
from core.api.environments import EnvironmentContext
from plugins.testing.harness.snapshots import through_a_file
from plugins.testing.harness.watching import drawn_from
from plugins.testing.suites.component import ComponentSuite

if TYPE_CHECKING:
    from torch import Tensor

    from core.api.environments import EnvironmentSpec

FLAGS = ("done", "terminated", "truncated")
NEXT = ("observation", "reward", *FLAGS)
LONGEST = 400
"""Agent steps of a walk, at most, where it should come to the end of an episode."""


class EnvironmentSuite(ComponentSuite):
    """An environment that TorchRL's collectors can step, and that can be saved at any moment.

    Give ``options`` with short episodes, so that their ends are seen.
    """

    kind = "environments"
    switches: ClassVar[Mapping[str, bool]] = {"render": True, "seeded_starts": True, "clips": True}
    """``render``: it can be drawn here. ``seeded_starts``: first observations follow from the
    seed and differ between seeds. ``clips``: actions beyond the bounds count as those at them."""
    steps: ClassVar[int] = 60
    """Agent steps of a walk; more, if episodes are longer."""

    def context(self) -> EnvironmentContext:
        return EnvironmentContext()

    @property
    def spec(self) -> EnvironmentSpec:
        suite: Any = type(self)
        spec: EnvironmentSpec = _built(suite).spec
        return spec

    def make(self, count: int, seed: int = 0) -> Any:
        """So many environments."""
        suite: Any = type(self)
        return _built(suite).make(count, seed)

    @property
    def long(self) -> int:
        """Agent steps in which most environments come to an end of an episode."""
        return max(self.steps, min((self.spec.episode_steps or 0) + 5, LONGEST))

    # --- specifications -----------------------------------------------------------------

    def test_torchrl_accepts_its_specs(self) -> None:
        with closing(self.make(2)) as (environment,), untouched_randomness():
            assert environment.batch_size == torch.Size([2]), (
                f"make(2, seed) is to have batch_size [2], got {list(environment.batch_size)}"
            )
            try:
                logging.disable(logging.INFO)  # it announces its success
                check_env_specs(environment)
            except Exception as error:
                raise AssertionError(f"torchrl's check_env_specs: {error}") from error
            finally:
                logging.disable(logging.NOTSET)

    def test_what_it_gives_is_what_the_spec_says(self) -> None:
        spec = self.spec
        seen = (spec.observation, torch.uint8 if spec.pixels else torch.float32)
        action = ((), torch.int64) if spec.discrete else ((spec.action,), torch.float32)
        flag = ((1,), torch.bool)
        wanted: dict[Any, Any] = {"observation": seen, "action": action, "is_init": flag}
        wanted |= {("next", name): flag for name in FLAGS}
        wanted |= {("next", "observation"): seen, ("next", "reward"): ((1,), torch.float32)}
        with closing(self.make(3)) as (environment,):
            for k, step in enumerate(walk(environment, actions(environment, self.long))[0]):
                for key, (shape, dtype) in wanted.items():
                    value = step.get(key)
                    assert value is not None, f"step {k} has no {key}"
                    assert (tuple(value.shape), value.dtype) == ((3, *shape), dtype), (
                        f"of three environments, {key} is to be {[3, *shape]} {dtype}, "
                        f"got {list(value.shape)} {value.dtype}"
                    )
                    assert bool(value.isfinite().all()), f"{key} of step {k} is not finite"
                given = step["next", "observation"]
                known = environment.observation_spec["observation"].is_in(given)
                assert known, f"the observation of step {k} is not in its spec"
                done, terminated, truncated = (step["next", name] for name in FLAGS)
                assert torch.equal(done, terminated | truncated), (
                    f"step {k}: 'done' is to be 'terminated' or 'truncated'"
                )

    # --- episodes -----------------------------------------------------------------------

    def test_episodes_are_marked_and_connected(self) -> None:
        with closing(self.make(2)) as (environment,):
            root = environment.reset()
            assert bool(root["is_init"].all()), "after 'reset', 'is_init' is to be true"
            for action in actions(environment, self.long):
                stepped, after = environment.step_and_maybe_reset(root.set("action", action))
                step, root = stepped.clone(), after
                done, seen, next_seen = (
                    step[key] for key in (("next", "done"), "observation", ("next", "observation"))
                )
                assert torch.equal(root["is_init"], done), (
                    "in the root after a step, 'is_init' is to be true where an episode has "
                    "ended and false elsewhere"
                )
                assert not any(bool(root[flag].any()) for flag in FLAGS), (
                    "in the root of a step, none of 'done', 'terminated' and 'truncated' is true"
                )
                on = ~done[:, 0]
                assert torch.equal(root["observation"][on], next_seen[on]), (
                    "where no episode has ended, the root's observation is that of the step before"
                )
                one = self.spec.observation[0] // self.spec.frame_stack
                stacked = torch.equal(next_seen[:, :-one], seen[:, one:])
                assert self.spec.frame_stack == 1 or stacked, (
                    "stacked frames are oldest first: a step drops the first and adds the last"
                )

    def test_it_steps_as_torchrl_does(self) -> None:
        with closing(self.make(3, 4), self.make(3, 4)) as (fast, general):
            taken = actions(fast, self.long)
            where = apart(
                walk(fast, taken)[0], walk(general, taken, step=EnvBase.step_and_maybe_reset)[0]
            )
            assert not where, f"'step_and_maybe_reset' and TorchRL's own differ in {where}"

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
        longest = max(map(len, found), default=0)
        cut = {len(e) for e in found if bool(e[-1]["next", "truncated"])}
        assert longest <= limit and cut <= {limit}, (  # noqa: PT018
            f"episodes have up to {longest} agent steps and are truncated after {sorted(cut)}; "
            f"spec.episode_steps says {limit}"
        )
        if longest < limit:
            self.skip(f"no episode of random actions came to the limit of {limit} steps")
        assert cut, (
            "at the time limit 'terminated' is true and 'truncated' is not: learners would "
            "not bootstrap there; a time limit is to truncate"
        )

    def test_action_repeat_counts(self) -> None:
        if "action_repeat" not in {f.name for f in fields(self.found.options)}:
            self.skip("there is no option 'action_repeat'")
        one, two = self.build(action_repeat=1), self.build(action_repeat=2)
        half = one.spec.episode_steps and -(-one.spec.episode_steps // 2)
        said = (two.spec.action_repeat, two.spec.episode_steps)
        assert said == (2, half), (
            f"with action_repeat 2 the spec is to say so and to count episode_steps in agent "
            f"steps, {half}; got {said}: frames would be counted wrongly"
        )
        with closing(one.make(1, 3), two.make(1, 3)) as (single, double):
            (action,) = actions(single, 1)
            steps, _ = walk(single, [action, action])
            (both,), _ = walk(double, [action])
            total = sum(float(step["next", "reward"]) for step in steps)
            assert math.isclose(float(both["next", "reward"]), total, abs_tol=1e-5), (
                "the reward of an agent step is to be the sum over its frames"
            )

    # --- seeds --------------------------------------------------------------------------

    def test_the_seed_decides_and_nothing_else(self) -> None:
        with closing(self.make(2, 5), self.make(2, 5)) as (one, two), untouched_randomness():
            taken = actions(one, self.long)
            seed_everything(1)
            before = random_state()
            first, _ = walk(one, taken)
            moved = drawn_from(before)
            assert not moved, (
                f"stepping and resetting drew from {moved}: the agent would explore differently; "
                "draw from a generator of the environment's own"
            )
            where = apart(first, walk(two, taken)[0])
            assert not where, (
                f"two environments of one seed differ in {where}: draw from a generator of the "
                "environment's own, seeded in 'make' before the first reset, not from a global one"
            )
            one.set_seed(5)
            where = apart(first[:5], walk(one, taken[:5])[0])
            assert not where, f"after set_seed(5) it is not as made with seed 5: {where}"

    def test_other_seeds_begin_elsewhere(self) -> None:
        self.require("seeded_starts")
        with closing(self.make(3, 0), self.make(3, 1)) as environments:
            starts = torch.cat([own.reset()["observation"] for own in environments])
            assert len({tuple(row) for row in starts.flatten(1).tolist()}) == 6, (
                "environments of other seeds, or beside each other, begin with the same "
                "observation; seed each by its own, before its first reset"
            )

    # --- actions and observations -------------------------------------------------------

    def test_actions_beyond_the_bounds_count_as_the_bounds(self) -> None:
        self.require("clips")
        with closing(self.make(1), self.make(1)) as (environment, twin):
            space = getattr(environment.action_spec, "space", None)
            if self.spec.discrete or not hasattr(space, "low"):
                self.skip("actions have no bounds")
            low, high = environment.action_spec.space.low, environment.action_spec.space.high
            beyond, within = (walk(environment, [high * 3, high * -3]), walk(twin, [high, low]))
            where = apart(beyond[0], within[0])
            assert not where, (
                f"an action beyond the bounds leads elsewhere than the one at them ({where}): "
                "clip actions, since policies explore with noise"
            )

    def test_observations_are_copies(self) -> None:
        with closing(self.make(2, 1), self.make(2, 1)) as (environment, twin):
            taken = actions(environment, 12)
            undisturbed, _ = walk(twin, taken)
            root, held = environment.reset(), []
            for k, action in enumerate(taken):
                assert torch.equal(root["observation"], undisturbed[k]["observation"]), (
                    "writing into an observation that was given changes the next one: give a copy"
                )
                step, root = environment.step_and_maybe_reset(root.set("action", action))
                root, given = root.clone(), step["next", "observation"]
                # every other is written into; those between are to stay as they were given
                if k % 2:
                    given.zero_()
                else:
                    held.append((k, given, given.clone()))
            for k, one, other in held:
                assert torch.equal(one, other), (
                    f"the observation given at step {k} was overwritten by a later one: give a copy"
                )

    # --- state and pictures -------------------------------------------------------------

    def test_a_saved_state_goes_on_exactly(self) -> None:
        with closing(self.make(2, 11), self.make(2, 12)) as (environment, other):
            before, after = actions(environment, 7, seed=1), actions(environment, self.long, seed=2)
            unborn = through_a_file(environment.state_dict())
            first, root = walk(environment, before)
            state = through_a_file(environment.state_dict())
            went_on, _ = walk(environment, after, root)
            other.load_state_dict(state)
            restored = other.reset()
            for key in ("observation", "is_init"):
                assert torch.equal(restored[key], root[key]), (
                    f"the reset after load_state_dict is to answer the restored '{key}'"
                )
            where = apart(went_on, walk(other, after, restored)[0])
            assert not where, (
                f"a fresh environment that loaded the state goes on differently, in {where}: the "
                "state is to hold all that the episode and the generators are"
            )
            other.load_state_dict(state)
            other.reset()
            assert bool(other.reset()["is_init"].all()), (
                "the second reset after load_state_dict is to begin a new episode"
            )
            other.load_state_dict(unborn)
            where = apart(first, walk(other, before)[0])
            assert not where, f"the state of an environment that was never reset: {where} differs"

    def test_drawing_gives_rgb_and_changes_nothing(self) -> None:
        self.require("render")
        with closing(self.make(1, 2), self.make(1, 2)) as (environment, twin):
            taken, root = actions(environment, 6), environment.reset()
            for k, (action, wanted) in enumerate(zip(taken, walk(twin, taken)[0], strict=True)):
                height, width = ((240, 320), (48, 64))[k % 2]
                picture = environment.render(0, height, width)
                shape, dtype = np.shape(picture), getattr(picture, "dtype", type(picture))
                assert (shape, dtype) == ((height, width, 3), np.uint8), (
                    f"render(0, {height}, {width}) is to be a NumPy array [{height}, {width}, 3] "
                    f"of uint8, got {list(shape)} {dtype}"
                )
                step, root = environment.step_and_maybe_reset(root.set("action", action))
                where = apart([step], [wanted])
                assert not where, f"an environment that is drawn goes on differently, in {where}"


@functools.cache
def _built(suite: Any) -> Any:
    """The component, built once for all checks."""
    return suite().build()


# --- ways through an environment


@contextmanager
def closing(*environments: Any) -> Iterator[tuple[Any, ...]]:
    """The environments, closed afterwards."""
    try:
        yield environments
    finally:
        for environment in environments:
            environment.close(raise_if_closed=False)


def actions(environment: Any, steps: int, seed: int = 0) -> list[Tensor]:
    """Random actions of its specification, by this seed alone."""
    with untouched_randomness():
        seed_everything(seed)
        return [environment.action_spec.rand() for _ in range(steps)]


def walk(
    environment: Any, taken: Sequence[Tensor], root: Any = None, step: Any = None
) -> tuple[list[Any], Any]:
    """What each action led to, copied, and the root after the last; one reused action tensor.

    A policy may reuse its tensor too, so that an environment must copy what it keeps.
    """
    reused, steps = torch.empty_like(taken[0]), []
    root = environment.reset() if root is None else root
    step = type(environment).step_and_maybe_reset if step is None else step
    for action in taken:
        stepped, root = step(environment, root.set("action", reused.copy_(action)))
        steps.append(stepped.clone())
    return steps, root


def apart(one: Sequence[Any], other: Sequence[Any]) -> str:
    """Where two walks differ first, in words; empty if they are the same bit for bit."""
    for k, (first, second) in enumerate(zip(one, other, strict=True)):
        for key in ("observation", "is_init", *(("next", name) for name in NEXT)):
            if not torch.equal(first.get(key), second.get(key)):
                name = key if isinstance(key, str) else f"next {key[1]}"
                return f"'{name}' of step {k}"
    return ""


def episodes(steps: Sequence[Any], index: int) -> Iterator[list[Any]]:
    """The whole episodes of one environment of a walk, from its first step on."""
    episode: list[Any] = []
    for step in steps:
        episode.append(step[index])
        if bool(step[index].get(("next", "done"))):
            yield episode
            episode = []
