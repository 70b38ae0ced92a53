"""What the checks of environments share, and those of specifications."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from core.agent.randomness import untouched_randomness
from core.api.environments import EnvironmentContext
from plugins.testing.harness.walks import FLAGS, actions, closing, walk
from plugins.testing.suites.component import ComponentSuite

if TYPE_CHECKING:
    from core.api.environments import EnvironmentSpec

LONGEST = 400
"""Agent steps of a walk, at most, where it should come to the end of an episode."""


class SpecChecks(ComponentSuite):
    """Checks of what an environment says of itself."""

    kind = "environments"
    switches: ClassVar[Mapping[str, bool]] = {"render": True, "seeded_starts": True, "clips": True}
    """``render``: it can be drawn here. ``seeded_starts``: first observations follow from the
    seed and differ between seeds. ``clips``: actions beyond the bounds count as those at them."""
    steps: ClassVar[int] = 60
    """Agent steps of a walk; more, if episodes are longer."""

    def context(self) -> EnvironmentContext:
        return EnvironmentContext()

    @property
    def environments(self) -> Any:
        """The component, built once for all checks."""
        kept: dict[type, Any] = SpecChecks._kept
        if type(self) not in kept:
            kept[type(self)] = self.build()
        return kept[type(self)]

    _kept: ClassVar[dict[type, Any]] = {}

    @property
    def spec(self) -> EnvironmentSpec:
        spec: EnvironmentSpec = self.environments.spec
        return spec

    def make(self, count: int, seed: int = 0) -> Any:
        """So many environments."""
        return self.environments.make(count, seed)

    @property
    def long(self) -> int:
        """Agent steps in which most environments come to an end of an episode."""
        return max(self.steps, min((self.spec.episode_steps or 0) + 5, LONGEST))

    # --- specifications -----------------------------------------------------------------

    def test_spec_says_what_the_agent_needs(self) -> None:
        spec = self.spec
        shape = spec.observation
        assert isinstance(shape, tuple), f"spec.observation is to be a tuple, got {shape!r}"
        assert shape, "spec.observation is empty: give the shape of one observation"
        assert all(isinstance(n, int) and n > 0 for n in shape), f"spec.observation: {shape}"
        for name in ("action", "action_repeat", "frame_stack"):
            value = getattr(spec, name)
            assert isinstance(value, int), f"spec.{name} is to be an int, got {value!r}"
            assert value >= 1, f"spec.{name} is to be at least 1, got {value}"
        steps = spec.episode_steps
        assert steps is None or (isinstance(steps, int) and steps >= 1), (
            f"spec.episode_steps counts agent steps to the time limit, or is None; got {steps!r}"
        )
        if spec.pixels:
            assert len(shape) == 3, f"pictures are [channels, height, width], got {shape}"
            assert shape[0] % spec.frame_stack == 0, (
                f"{shape[0]} channels are no stack of {spec.frame_stack} frames"
            )

    def test_description_is_one_line(self) -> None:
        text = self.environments.description
        assert isinstance(text, str), f"'description' is to be a text, got {text!r}"
        assert text.strip(), "'description' is empty: name task, renderer and versions"
        assert "\n" not in text, f"'description' is to be one line, got {text!r}"

    def test_torchrl_accepts_its_specs(self) -> None:
        from torchrl.envs.utils import check_env_specs

        for count in (1, 3):
            with closing(self.make(count)) as (environment,), untouched_randomness():
                assert environment.batch_size == torch.Size([count]), (
                    f"make({count}, seed) is to have batch_size [{count}], "
                    f"got {list(environment.batch_size)}"
                )
                try:
                    with _without_info():
                        check_env_specs(environment)
                except Exception as error:
                    raise AssertionError(f"torchrl's check_env_specs: {error}") from error

    def test_specs_say_what_the_spec_says(self) -> None:
        spec = self.spec
        with closing(self.make(2)) as (environment,):
            observed = environment.observation_spec
            for key in ("observation", "is_init"):
                assert key in observed.keys(), f"observation_spec has no '{key}'"  # noqa: SIM118
            for flag in FLAGS:
                assert flag in environment.done_spec.keys(), f"done_spec has no '{flag}'"  # noqa: SIM118
            dtype = torch.uint8 if spec.pixels else torch.float32
            shape = () if spec.discrete else (spec.action,)
            kind = torch.int64 if spec.discrete else torch.float32
            wanted = {
                "observation": (observed["observation"], (2, *spec.observation), dtype),
                "is_init": (observed["is_init"], (2, 1), torch.bool),
                "action": (environment.action_spec, (2, *shape), kind),
                "reward": (environment.reward_spec, (2, 1), torch.float32),
            }
            for key, (own, size, type_) in wanted.items():
                assert (tuple(own.shape), own.dtype) == (size, type_), (
                    f"of two environments, the TorchRL spec of '{key}' is to be {list(size)} "
                    f"{type_}, got {list(own.shape)} {own.dtype}"
                )

    def test_what_it_gives_fits_the_specs(self) -> None:
        with closing(self.make(3)) as (environment,):
            steps, _ = walk(environment, actions(environment, self.steps))
            observed = environment.observation_spec["observation"]
            for k, step in enumerate(steps):
                given = step.get(("next", "observation"))
                assert given.dtype == observed.dtype, f"observations are {given.dtype}"
                assert observed.is_in(given), f"the observation of step {k} is not in its spec"
                for name, value in (("observation", given), ("reward", step["next", "reward"])):
                    assert bool(value.isfinite().all()), f"the {name} of step {k} is not finite"
                done, terminated, truncated = (step["next", flag] for flag in FLAGS)
                assert all(flag.dtype == torch.bool for flag in (done, terminated, truncated))
                assert torch.equal(done, terminated | truncated), (
                    f"step {k}: 'done' is to be 'terminated' or 'truncated'"
                )


@contextmanager
def _without_info() -> Iterator[None]:
    """TorchRL announces its success; a check says nothing of what is right."""
    logger = logging.getLogger("torchrl")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
