"""One simulator in the middle of an episode, and how to come back to exactly there.

A simulator's whole state cannot be read in general: tasks change the model at reset, and
solvers keep warm starts. But what an episode is follows from the random generator as it was
before the reset, and from the actions since. So these are kept, and restoring replays them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, final

import numpy as np
import torch

FloatOrByteArray = np.ndarray[Any, Any]


class Simulator(Protocol):
    """One environment. All its randomness comes from its own generator."""

    def random_state(self) -> dict[str, Any]:
        """The generator's state, of plain Python values and tensors."""

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`random_state` answered."""

    def reset(self) -> None:
        """Begin an episode."""

    def step(self, action: Any) -> tuple[float, bool, bool]:
        """One agent step: the summed reward, and whether it terminated or was truncated."""

    def observe(self, row: FloatOrByteArray, *, first: bool) -> None:
        """Write the observation into ``row``, which holds the previous one unless ``first``."""

    def render(self, height: int, width: int) -> FloatOrByteArray:
        """An RGB picture, uint8 ``[height, width, 3]``."""

    def close(self) -> None: ...


@final
class Episode:
    """A simulator, its current observation and the record of its current episode.

    ``row`` is where the observation is kept; ``history`` is the number of agent steps that
    one observation looks back on (the frame stack; 1 for states).
    """

    def __init__(self, simulator: Simulator, row: FloatOrByteArray, history: int) -> None:
        self.simulator = simulator
        self.over = True
        self._row = row
        self._history = history
        self._random: dict[str, Any] = simulator.random_state()
        self._actions: list[Any] = []

    def begin(self) -> None:
        """Reset the simulator and observe."""
        self._random = self.simulator.random_state()
        self._actions = []
        self.simulator.reset()
        self.simulator.observe(self._row, first=True)
        self.over = False

    def step(self, action: Any) -> tuple[float, bool, bool]:
        """One agent step; ``action`` is kept and must not be changed afterwards."""
        if self.over:
            raise RuntimeError("the episode is over: reset the environment before the next step")
        self._actions.append(action)
        reward, terminated, truncated = self.simulator.step(action)
        self.simulator.observe(self._row, first=False)
        self.over = terminated or truncated
        return reward, terminated, truncated

    def state_dict(self) -> dict[str, Any]:
        """The record, and the observation that the replay has to arrive at."""
        actions = np.stack(self._actions) if self._actions else np.empty(0, np.float32)
        return {
            "random": self._random,
            "actions": torch.from_numpy(actions),
            "begun": bool(self._actions) or not self.over,
            "observation": torch.from_numpy(self._row.copy()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> bool:
        """Replay the record; False if it led to another observation.

        Pictures are only compared in shape: two renderers may differ in the last bit.
        """
        self.simulator.set_random_state(state["random"])
        self._random, self._actions, self.over = state["random"], [], True
        if not state["begun"]:
            return True
        self._replay(list(state["actions"].numpy()))
        expected = state["observation"].numpy()
        return expected.dtype == np.uint8 or np.array_equal(expected, self._row, equal_nan=True)

    def _replay(self, actions: list[Any]) -> None:
        first_seen = max(0, len(actions) - self._history + 1)
        self.simulator.reset()
        self.over = False
        for done in range(len(actions) + 1):
            if done >= first_seen:
                self.simulator.observe(self._row, first=done == 0)
            if self.over or done == len(actions):
                break
            _, terminated, truncated = self.simulator.step(actions[done])
            self._actions.append(actions[done])
            self.over = terminated or truncated
