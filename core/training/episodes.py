"""Returns and lengths of the training episodes, as they end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tensordict import TensorDictBase


class EpisodeTracker:
    """Sums rewards per environment. Returns are raw and undiscounted; lengths in agent steps."""

    def __init__(self, count: int) -> None:
        self._returns = np.zeros(count)
        self._lengths = np.zeros(count, np.int64)
        self._ended: list[tuple[float, int]] = []

    def extend(self, transitions: TensorDictBase) -> None:
        """Take collected transitions ``[N, T]``, on the host."""
        following = transitions.get("next")
        # NumPy: a tensor's operation costs several times as much on so few numbers
        rewards = following.get("reward").numpy()[..., 0]
        done = following.get("done").numpy()[..., 0]
        if not done.any():
            self._returns += rewards.sum(1, dtype=np.float64)
            self._lengths += rewards.shape[1]
            return
        for t in range(rewards.shape[1]):
            self._returns += rewards[:, t]
            self._lengths += 1
            for i in done[:, t].nonzero()[0]:
                self._ended.append((float(self._returns[i]), int(self._lengths[i])))
                self._returns[i], self._lengths[i] = 0.0, 0

    def take(self) -> list[tuple[float, int]]:
        """Return and length of the episodes that ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def state_dict(self) -> dict[str, Any]:
        return {"returns": self._returns, "lengths": self._lengths, "ended": self._ended}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._returns, self._lengths = state["returns"], state["lengths"]
        self._ended = [(float(r), int(n)) for r, n in state["ended"]]
