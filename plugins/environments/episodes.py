"""One simulator in the middle of an episode, and how to come back to exactly there.

A simulator's whole state cannot be read in general: tasks change the model at reset, and
solvers keep warm starts. But what an episode is follows from the random generator as it was
before the reset, and from the actions since. So these are kept, and restoring replays them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, final

import numpy as np
import torch

from core.api import EnvironmentSpec

FloatOrByteArray = np.ndarray[Any, Any]
ASSUMED_STEPS = 1000
"""Agent steps over which the time input rises by 1 where there is no time limit (the
environments of streaming deep RL without one, arXiv 2410.14606, are given this)."""


def with_time(spec: EnvironmentSpec) -> EnvironmentSpec:
    """The spec of the same environment with the time as one more entry of the observation."""
    return replace(spec, observation=(spec.observation[0] + 1,), time_input=True)


def state_text(spec: EnvironmentSpec) -> str:
    """What is observed, in a few words, where it is no picture."""
    size = spec.observation[0]
    return f"states of {size - 1} and the time" if spec.time_input else f"states of {size}"


def time_input(steps: int, limit: int | None) -> float:
    """The time after so many agent steps: from -0.5, by ``1 / limit`` a step.

    The first step does not move it, as in streaming deep RL (arXiv 2410.14606), whose
    counter is read before it is advanced.
    """
    return -0.5 + max(steps - 1, 0) / (limit or ASSUMED_STEPS)


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

    ``row`` is where the observation is kept, shaped as ``spec`` says; with
    ``spec.time_input`` the simulator writes all but its last entry.
    """

    def __init__(self, simulator: Simulator, row: FloatOrByteArray, spec: EnvironmentSpec) -> None:
        self.simulator = simulator
        self.over = True
        self._row = row
        self._spec = spec
        self._simulated = row[:-1] if spec.time_input else row
        self._random: dict[str, Any] = simulator.random_state()
        self._actions: list[Any] = []

    @property
    def fresh(self) -> bool:
        """No action was taken yet: the observation is the episode's first."""
        return not self._actions

    def begin(self) -> None:
        """Reset the simulator and observe."""
        self._random = self.simulator.random_state()
        self._actions = []
        self.simulator.reset()
        self._observe(first=True)
        self.over = False

    def step(self, action: Any) -> tuple[float, bool, bool]:
        """One agent step; ``action`` is kept and must not be changed afterwards."""
        if self.over:
            raise RuntimeError("the episode is over: reset the environment before the next step")
        self._actions.append(action)
        reward, terminated, truncated = self.simulator.step(action)
        self._observe(first=False)
        self.over = terminated or truncated
        return reward, terminated, truncated

    def _observe(self, *, first: bool) -> None:
        self.simulator.observe(self._simulated, first=first)
        if self._spec.time_input:
            self._row[-1] = time_input(len(self._actions), self._spec.episode_steps)

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
        # a stack looks back on so many agent steps
        first_seen = max(0, len(actions) - self._spec.frame_stack + 1)
        self.simulator.reset()
        self.over = False
        for done in range(len(actions) + 1):
            if done >= first_seen:
                self._observe(first=done == 0)
            if self.over or done == len(actions):
                break
            _, terminated, truncated = self.simulator.step(actions[done])
            self._actions.append(actions[done])
            self.over = terminated or truncated
