"""How many frames a replay buffer has, what is in them, and what that takes.

A frame is one observation (the newest of a stack) with what was done there and came of
it. An episode of ``L`` transitions fills ``L + 1``, so that no observation is stored twice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from core.api import EnvironmentSpec

ASSUMED_EPISODE = 1000
"""Agent steps per episode where the environment states no time limit."""
INDEX_BYTES = 8
"""One int64 per transition: the frame that it starts from."""


@dataclass(frozen=True)
class Column:
    """One field of a frame."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Layout:
    """The rings of all environments: shapes, without any memory."""

    environments: int
    transitions: int
    """Transitions kept per environment, at most."""
    frames: int
    """Frames per environment; a full ring of full-length episodes holds ``transitions``."""
    frame_stack: int
    observation: Column
    """The newest frame of a stack, or the whole observation where nothing is stacked."""
    action: Column

    @property
    def placed(self) -> dict[str, Column]:
        """The large columns, kept where the ``storage`` option says."""
        return {"observation": self.observation, "action": self.action}

    @property
    def ledger(self) -> dict[str, Column]:
        """The small columns, always in memory: windows are worked out from them on the host.

        ``end``: 0 the episode goes on, 1 it ended after this transition, 2 it truly
        terminated. ``age``: steps since the episode's first frame, at most ``frame_stack - 1``.
        """
        return {
            "reward": Column((), torch.float32),
            "end": Column((), torch.uint8),
            "age": Column((), torch.uint8),
        }

    @property
    def placed_bytes(self) -> int:
        return self.environments * self.frames * sum(c.bytes for c in self.placed.values())

    @property
    def ledger_bytes(self) -> int:
        per_frame = sum(c.bytes for c in self.ledger.values())
        return self.environments * (self.frames * per_frame + self.transitions * INDEX_BYTES)

    @property
    def bytes(self) -> int:
        """Everything, when full."""
        return self.placed_bytes + self.ledger_bytes


def plan(spec: EnvironmentSpec, capacity: int, environments: int) -> Layout:
    """Lay out ``capacity`` transitions for ``environments`` environments.

    Beside one frame per transition a ring needs one per episode end, ``frame_stack - 1`` for
    the stack of its oldest start, one for the newest observation, and one because a window
    of whole episodes' length can contain two ends.
    """
    transitions = capacity // environments
    stack = spec.frame_stack
    ends = math.ceil(transitions / (spec.episode_steps or ASSUMED_EPISODE))
    channels = spec.observation[0] // stack
    return Layout(
        environments=environments,
        transitions=transitions,
        frames=transitions + ends + stack + 1,
        frame_stack=stack,
        observation=Column(
            (channels, *spec.observation[1:]), torch.uint8 if spec.pixels else torch.float32
        ),
        action=Column((), torch.int64) if spec.discrete else Column((spec.action,), torch.float32),
    )
