"""What a preset may say of the toy environments."""

from __future__ import annotations

from dataclasses import dataclass

from core.api import require


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
