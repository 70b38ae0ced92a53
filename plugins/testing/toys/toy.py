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


@final
class ToyEnvironments:
    """See :class:`core.api.Environments`."""

    def __init__(self, options: ToyStatesOptions, *, time_input: bool) -> None:
        self._options = options
        pixels = isinstance(options, ToyPixelsOptions)
        self.spec = EnvironmentSpec(
            observation=(options.frame_stack, options.size, options.size)
            if isinstance(options, ToyPixelsOptions)
            else (4 + time_input,),
            action=5 if options.discrete else 2,
            action_repeat=options.action_repeat,
            pixels=pixels,
            frame_stack=options.frame_stack if isinstance(options, ToyPixelsOptions) else 1,
            discrete=options.discrete,
            episode_steps=-(-options.limit // options.action_repeat),
            time_input=time_input,
        )
        self.description = "toy, pixels, drawn without a renderer" if pixels else "toy, states"

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
    kinds = {ToyPixelsOptions: ("pixels", "small pictures"), ToyStatesOptions: ("states", "states")}
    return [
        Component(
            *(f"toy_{name}", options, _build, f"a dot to be pushed to its target, seen in {seen}"),
            provides=frozenset({"time input"}),
        )
        for options, (name, seen) in kinds.items()
    ]
