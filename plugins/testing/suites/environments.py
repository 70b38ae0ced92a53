"""Conformance of environments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch

from core.agent.randomness import random_state, seed_everything, untouched_randomness
from plugins.testing.harness.snapshots import differences, flat
from plugins.testing.harness.walks import actions, apart, closing, through_a_file, walk
from plugins.testing.suites.environment_episodes import EpisodeChecks


class EnvironmentSuite(EpisodeChecks):
    """An environment that TorchRL's collectors can step, and that can be saved at any moment.

    Give ``options`` with short episodes, so that their ends are seen.
    """

    kind = "environments"
    switches: ClassVar[Mapping[str, bool]] = {"render": True, "seeded_starts": True, "clips": True}
    """``render``: it can be drawn here. ``seeded_starts``: first observations are random.
    ``clips``: actions beyond the bounds count as those at them."""

    # --- seeds --------------------------------------------------------------------------

    def test_the_same_seed_gives_the_same_episodes(self) -> None:
        taken: list[Any] = []
        walks = []
        with untouched_randomness():
            for disturbance in (1, 2):
                with closing(self.make(2, seed=5)) as (environment,):
                    taken = taken or actions(environment, self.long)
                    seed_everything(disturbance)
                    walks.append(walk(environment, taken)[0])
        where = apart(*walks)
        assert not where, (
            f"two environments of one seed differ in {where}: draw from a generator of the "
            "environment's own, seeded in 'make' before the first reset, not from a global one"
        )

    def test_it_draws_from_no_global_generator(self) -> None:
        with untouched_randomness(), closing(self.make(1)) as (environment,):
            taken = actions(environment, self.long)
            before = dict(flat("", random_state()))
            walk(environment, taken)
            moved = differences(before, dict(flat("", random_state())))
            assert not moved, (
                f"stepping and resetting moved a global generator ({moved[0]}): the agent would "
                "explore differently; draw from a generator of the environment's own"
            )

    def test_other_seeds_begin_elsewhere(self) -> None:
        self.require("seeded_starts")
        with closing(self.make(3, 0), self.make(3, 1)) as environments:
            starts = torch.cat([own.reset()["observation"] for own in environments])
            assert len({tuple(row) for row in starts.flatten(1).tolist()}) == 6, (
                "environments of other seeds, or beside each other, begin with the same "
                "observation; seed each by its own, before its first reset"
            )

    def test_set_seed_begins_anew(self) -> None:
        with closing(self.make(2, 7), self.make(2, 7)) as (environment, fresh):
            taken = actions(environment, 5)
            walk(environment, taken)
            environment.set_seed(7)
            where = apart(walk(environment, taken)[0], walk(fresh, taken)[0])
            assert not where, f"after set_seed(7) it is not as made with seed 7: {where}"

    # --- actions and observations -------------------------------------------------------

    def test_actions_beyond_the_bounds_count_as_the_bounds(self) -> None:
        self.require("clips")
        with closing(self.make(1), self.make(1)) as (environment, twin):
            space = getattr(environment.action_spec, "space", None)
            if self.spec.discrete or not hasattr(space, "low"):
                self.skip("actions have no bounds")
            high = environment.action_spec.space.high
            beyond, _ = walk(environment, [high * 3, high * -3])
            within, _ = walk(twin, [high, environment.action_spec.space.low])
            for one, other in zip(beyond, within, strict=True):
                for key in ("observation", "reward"):
                    assert torch.equal(one["next", key], other["next", key]), (
                        f"an action beyond the bounds gives another {key} than the one at them: "
                        "clip actions, since policies explore with noise"
                    )

    def test_observations_are_copies(self) -> None:
        with closing(self.make(2, 1), self.make(2, 1)) as (environment, twin):
            taken = actions(environment, 12)
            undisturbed, _ = walk(twin, taken)
            root = environment.reset()
            held, kept = [root["observation"]], [root["observation"].clone()]
            for action in taken:
                step, root = environment.step_and_maybe_reset(root.set("action", action))
                held.append(step["next", "observation"])
                kept.append(step["next", "observation"].clone())
            for k, (one, other) in enumerate(zip(held, kept, strict=True)):
                assert torch.equal(one, other), (
                    f"the observation given at step {k} was overwritten by a later one: give a copy"
                )
            environment.set_seed(1)
            root, steps = environment.reset(), []
            for action in taken:
                step, root = environment.step_and_maybe_reset(root.set("action", action))
                steps.append(step.clone())
                root = root.clone()
                step["next", "observation"].zero_()
            assert not _observed(steps, undisturbed), (
                "writing into an observation that was given changes the next one: give a copy"
            )

    # --- state --------------------------------------------------------------------------

    def test_a_saved_state_goes_on_exactly(self) -> None:
        with closing(self.make(2, 11), self.make(2, 12)) as (environment, other):
            before, after = actions(environment, 7, seed=1), actions(environment, self.long, seed=2)
            _, root = walk(environment, before)
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

    def test_a_state_saved_before_the_first_step(self) -> None:
        with closing(self.make(2, 11), self.make(2, 12)) as (environment, other):
            taken = actions(environment, 5)
            other.load_state_dict(through_a_file(environment.state_dict()))
            where = apart(walk(environment, taken)[0], walk(other, taken)[0])
            assert not where, f"the state of an environment that was never reset: {where} differs"

    def test_only_the_first_reset_answers_the_restored(self) -> None:
        self.require("seeded_starts")
        with closing(self.make(1, 3)) as (environment,):
            _, root = walk(environment, actions(environment, 3))
            environment.load_state_dict(through_a_file(environment.state_dict()))
            environment.reset()
            again = environment.reset()
            assert bool(again["is_init"].all()), "the second reset after loading begins an episode"
            assert not torch.equal(again["observation"], root["observation"]), (
                "the second reset after load_state_dict is to begin a new episode"
            )

    # --- pictures and the end -----------------------------------------------------------

    def test_pictures_are_rgb(self) -> None:
        self.require("render")
        with closing(self.make(2)) as (environment,):
            environment.reset()
            for height, width in ((240, 320), (48, 64)):
                picture = environment.render(1, height, width)
                fits = isinstance(picture, np.ndarray) and picture.dtype == np.uint8
                assert fits, "'render' is to answer a NumPy array of uint8"
                assert picture.shape == (height, width, 3), (
                    f"render(1, {height}, {width}) is to be [{height}, {width}, 3], "
                    f"got {list(picture.shape)}"
                )

    def test_drawing_changes_nothing(self) -> None:
        self.require("render")
        with closing(self.make(1, 2), self.make(1, 2)) as (environment, twin):
            taken = actions(environment, 6)
            root, steps = environment.reset(), []
            for action in taken:
                environment.render(0, 48, 64)
                step, root = environment.step_and_maybe_reset(root.set("action", action))
                steps.append(step.clone())
            where = apart(steps, walk(twin, taken)[0])
            assert not where, f"an environment that is drawn goes on differently, in {where}"

    def test_closing_twice_is_allowed(self) -> None:
        with closing(self.make(2), self.make(2)) as (environment, other):
            environment.reset()
            root = other.reset()
            environment.close()
            environment.close(raise_if_closed=False)
            assert environment.is_closed, "after 'close', 'is_closed' is to be true"
            action = actions(other, 1)[0]
            other.step_and_maybe_reset(root.set("action", action))


def _observed(one: list[Any], other: list[Any]) -> bool:
    """Whether two walks were acted on at other observations."""
    return any(
        not torch.equal(a["observation"], b["observation"]) for a, b in zip(one, other, strict=True)
    )
