"""Which transitions a set of rings holds, and which of them can be drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plugins.data.replay.layout import Layout
from plugins.data.replay.windows import Bools, Bytes, Ints, Placement, place, slots_of


class Ledger:
    """Counters and the transition-to-frame index, all on the host.

    Every environment has its own ring. Transitions are numbered from 0 in each; those that
    can be drawn are always one run of numbers, because what excludes a start lies at either
    end: its stack's frames were overwritten, or its n-step window is still being collected.
    """

    def __init__(self, layout: Layout, n_step: int) -> None:
        self.layout = layout
        self.n_step = n_step
        self.count = 0
        """Transitions taken so far, in each environment."""
        self.head = np.zeros(layout.environments, dtype=np.int64)
        self.step = np.zeros(layout.environments, dtype=np.int64)
        self.first = np.zeros(layout.environments, dtype=np.int64)
        """The oldest transition whose whole stack is still there, by environment."""
        self.frame_of = torch.empty((layout.environments, layout.transitions), dtype=torch.int64)
        """The frame of each transition, at its number modulo ``transitions``."""
        self._frames = self.frame_of.numpy()
        self._refresh()

    @property
    def held(self) -> int:
        """Transitions held, those not yet drawable included."""
        return int(self.count * self.layout.environments - self.first.sum())

    @property
    def drawable(self) -> int:
        """Starts that can be drawn."""
        return self._drawable

    def append(self, ended: Bools) -> Placement:
        """Give frames to a block ``[N, T]``; ``T`` at most :attr:`block`."""
        placement = place(ended, self.head, self.step)
        numbers = np.arange(self.count, self.count + ended.shape[1])
        self._frames[:, numbers % self.layout.transitions] = placement.frames
        self.count += ended.shape[1]
        self.head, self.step = placement.head, placement.step
        return placement

    @property
    def block(self) -> int:
        """The longest block that cannot overwrite its own frames, even if every step ends."""
        return max(1, self.layout.transitions // 2)

    def settle(self, placement: Placement, age: Bytes) -> None:
        """After a block's frames were written: let go of what they overwrote."""
        newest = placement.frames[:, -1] + 1
        oldest = newest - self.layout.frames + 1
        if self.count > self.layout.transitions:
            np.maximum(self.first, self.count - self.layout.transitions, out=self.first)
        for environment in np.flatnonzero(oldest > 0).tolist():
            while self._reach(environment, age) < oldest[environment]:
                self.first[environment] += 1
        self._refresh()

    def _reach(self, environment: int, age: Bytes) -> int:
        """The oldest frame in the stack of an environment's first transition."""
        frame = self._frames[environment, self.first[environment] % self.layout.transitions]
        return int(frame) - int(age[environment * self.layout.frames + frame % self.layout.frames])

    def _refresh(self) -> None:
        pending = np.minimum(self.n_step - 1, self.step)
        sizes = np.maximum(self.count - pending - self.first, 0)
        self._drawable = int(sizes.sum())
        if self.layout.environments > 1:
            self._ends = np.cumsum(sizes)
            self._shift = self.first - self._ends + sizes

    def draw(self, batch_size: int, generator: torch.Generator | None) -> Tensor:
        """Slots of starts ``[batch_size]``, uniform with replacement over all drawable ones.

        Raises:
            RuntimeError: there is none.
        """
        if self._drawable == 0:
            raise RuntimeError("replay holds no transition that can be drawn yet")
        layout = self.layout
        pick = torch.randint(self._drawable, (batch_size,), generator=generator).numpy()
        if layout.environments == 1:
            number = (pick + self.first[0]) % layout.transitions
            return torch.from_numpy(self._frames[0].take(number) % layout.frames)
        environment = np.searchsorted(self._ends, pick, side="right")
        number = (pick + self._shift[environment]) % layout.transitions
        frame = self._frames[environment, number]
        return torch.from_numpy(environment * layout.frames + frame % layout.frames)

    def empty(self) -> None:
        """Forget every transition."""
        self.count = 0
        for counter in (self.head, self.step, self.first):
            counter.fill(0)
        self._refresh()

    def state_dict(self) -> dict[str, Any]:
        """The counters; frames and their index are saved by whoever saves the frames."""
        return {
            "count": self.count,
            "head": self.head.tolist(),
            "step": self.step.tolist(),
            "first": self.first.tolist(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count = int(state["count"])
        self.head = np.array(state["head"], dtype=np.int64)
        self.step = np.array(state["step"], dtype=np.int64)
        self.first = np.array(state["first"], dtype=np.int64)
        self._refresh()


def placed_slots(placement: Placement, ring: int) -> tuple[Ints, Ints]:
    """Slots ``[N, T]`` of a block's observations, and of the observations after them."""
    return slots_of(placement.frames, ring), slots_of(placement.frames + 1, ring)
