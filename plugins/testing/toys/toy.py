"""Environments without a simulator, for tests: push a dot to its target.

A plugin module: register it with a host, or give its file to ``--plugin``. The pictures are
drawn with NumPy, so that neither MuJoCo nor OpenGL is needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from core.api import (
    Component,
    EnvironmentContext,
    Environments,
    EnvironmentSpec,
    UserError,
    hookimpl,
    require,
)

if TYPE_CHECKING:
    from plugins.testing.toys.toy_env import ToyEnv

CHOICES = ((0.0, 0.0), (-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0))
"""Of the discrete task: stay, left, right, down, up."""


@dataclass(frozen=True)
class ToyStatesOptions:
    """A dot in a square of side 2; each action moves it by up to 0.2 along each axis.

    The reward of a frame is minus the distance to the target, over the longest there is: in
    [-1, 0]. Dot and target are drawn anew in every episode.
    """

    limit: int = 50
    """Environment frames after which an episode is cut off, at least 1. The target is never
    more than 19 frames away, and never more than 10 where actions are continuous."""
    ends: bool = True
    """Reaching the target ends the episode, which is a true termination."""
    action_repeat: int = 1
    """Environment frames per agent step, at least 1; rewards are summed."""
    discrete: bool = False
    """Five choices (stay, left, right, down, up) instead of two numbers in [-1, 1]."""

    def __post_init__(self) -> None:
        for field in ("limit", "action_repeat"):
            value = getattr(self, field)
            require(value >= 1, field, f"must be at least 1, got {value}")

    def spec(self) -> EnvironmentSpec:
        """The dot's place and the way to the target, two numbers each."""
        return EnvironmentSpec(
            observation=(4,),
            action=len(CHOICES) if self.discrete else 2,
            action_repeat=self.action_repeat,
            discrete=self.discrete,
            episode_steps=-(-self.limit // self.action_repeat),
        )


@dataclass(frozen=True)
class ToyPixelsOptions(ToyStatesOptions):
    """The same task from grey pictures: the target at half brightness, the dot at full."""

    size: int = 20
    """Height and width of a picture in pixels, at least 8."""
    frame_stack: int = 3
    """Pictures stacked into one observation, oldest first, at least 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.size >= 8, "size", f"must be at least 8, got {self.size}")
        stack = self.frame_stack
        require(stack >= 1, "frame_stack", f"must be at least 1, got {stack}")

    def spec(self) -> EnvironmentSpec:
        """Pictures of one channel, stacked."""
        return EnvironmentSpec(
            observation=(self.frame_stack, self.size, self.size),
            action=len(CHOICES) if self.discrete else 2,
            action_repeat=self.action_repeat,
            pixels=True,
            frame_stack=self.frame_stack,
            discrete=self.discrete,
            episode_steps=-(-self.limit // self.action_repeat),
        )


@final
class ToyEnvironments:
    """See :class:`core.api.Environments`."""

    def __init__(self, options: ToyStatesOptions, *, time_input: bool) -> None:
        self._options = options
        self.spec = options.spec()
        if time_input:
            size = self.spec.observation[0] + 1
            self.spec = EnvironmentSpec(
                **{**vars(self.spec), "observation": (size,), "time_input": True}
            )

    @property
    def description(self) -> str:
        """What is observed."""
        if isinstance(self._options, ToyPixelsOptions):
            size, stack = self._options.size, self._options.frame_stack
            return f"toy, pixels {size}x{size}x1 stacked {stack}, drawn without a renderer"
        size = self.spec.observation[0]
        return f"toy, states of {size - 1} and the time" if self.spec.time_input else "toy, states"

    def make(self, count: int, seed: int) -> ToyEnv:
        """``count`` environments in this process, seeded before their first reset."""
        from plugins.testing.toys.toy_env import ToyEnv

        return ToyEnv(self._options, self.spec, count, seed)


def _build(options: ToyStatesOptions, context: EnvironmentContext) -> Environments:
    if context.time_input and isinstance(options, ToyPixelsOptions):
        raise UserError(
            "the time can only be appended to states, and these are pixels; take toy_states, or "
            "set network.time_input: false"
        )
    return ToyEnvironments(options, time_input=context.time_input)


@hookimpl
def register_environments() -> Iterable[Component[Any, EnvironmentContext, Environments]]:
    """Offer the toy environments."""
    brings = frozenset({"time input"})
    return [
        Component(
            *("toy_pixels", ToyPixelsOptions, _build),
            "a dot to be pushed to its target, seen in small pictures",
            provides=brings,
        ),
        Component(
            *("toy_states", ToyStatesOptions, _build),
            "a dot to be pushed to its target, from four numbers",
            provides=brings,
        ),
    ]
