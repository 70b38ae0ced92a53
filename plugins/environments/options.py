"""What a preset can ask of environments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.api import require


@dataclass(frozen=True)
class DMControlOptions:
    """A task of the DeepMind Control Suite (arXiv 1801.00690)."""

    task: str
    """``DOMAIN-TASK``, as in ``humanoid-run`` or ``ball_in_cup-catch``."""
    pixels: bool = False
    """Observe camera pictures (uint8, channels first) instead of the state (float32)."""
    action_repeat: int = 2
    """Environment frames per agent step, at least 1; rewards are summed. 2 in DrQ-v2
    (arXiv 2107.09645, appendix) and in the state-based benchmark of arXiv 2506.17204."""
    frame_stack: int = 3
    """Pictures stacked into one observation, at least 1; only with ``pixels`` (3 in DrQ-v2)."""
    size: int = 84
    """Height and width of a picture in pixels, at least 1; only with ``pixels`` (84 in DrQ-v2)."""
    camera: int | None = None
    """Camera number in the model, -1 for the free camera. None: 2 for the quadruped, 0
    otherwise, as in DrQ-v2 (``dmc.py`` of facebookresearch/drqv2). Also used for videos."""
    rendering: Literal["full", "fast"] = "full"
    """``fast`` leaves out shadows, reflections and multisampling. It takes a fraction of the
    time in software, but the pictures are no longer those of the published benchmark."""
    time_limit: float | None = None
    """Length of an episode in seconds of simulation, above 0. None: the task's own, which is
    1000 environment frames nearly everywhere."""

    def __post_init__(self) -> None:
        for field in ("action_repeat", "frame_stack", "size"):
            value = getattr(self, field)
            require(value >= 1, field, f"must be at least 1, got {value}")
        require(
            self.camera is None or self.camera >= -1,
            *("camera", f"must be at least -1, got {self.camera}"),
        )
        require(
            self.time_limit is None or self.time_limit > 0,
            *("time_limit", f"must be above 0, got {self.time_limit}"),
        )


@dataclass(frozen=True)
class GymnasiumOptions:
    """A registered Gymnasium environment, observed as one flat vector."""

    id: str
    """The registered id, as in ``HalfCheetah-v5``; ``package:Name-v0`` imports a package."""
    max_episode_steps: int | None = None
    """Time limit in environment frames, at least 1. None: the registered one."""
    action_repeat: int = 1
    """Environment frames per agent step, at least 1; rewards are summed."""
    rescale_actions: bool = True
    """Map actions from [-1, 1] linearly onto the environment's bounds. Without, actions are
    in the environment's own units and clipped to its bounds, as in streaming deep RL
    (arXiv 2410.14606). No effect on discrete actions."""

    def __post_init__(self) -> None:
        require(
            self.max_episode_steps is None or self.max_episode_steps >= 1,
            *("max_episode_steps", f"must be at least 1, got {self.max_episode_steps}"),
        )
        require(
            self.action_repeat >= 1,
            *("action_repeat", f"must be at least 1, got {self.action_repeat}"),
        )
