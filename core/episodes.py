"""Returns and lengths of the training episodes, as they end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from tensordict import TensorDictBase


class EpisodeTracker:
    """Sums rewards per environment. Returns are raw and undiscounted; lengths in agent steps."""

    def __init__(self, count: int) -> None:
        self._returns = torch.zeros(count, dtype=torch.float64)
        self._lengths = torch.zeros(count, dtype=torch.int64)
        self._ended: list[tuple[float, int]] = []

    def extend(self, transitions: TensorDictBase) -> None:
        """Take collected transitions ``[N, T]``."""
        rewards = transitions.get(("next", "reward"))[..., 0].double()
        done = transitions.get(("next", "done"))[..., 0]
        if not bool(done.any()):
            self._returns += rewards.sum(1)
            self._lengths += rewards.shape[1]
            return
        for t in range(rewards.shape[1]):
            self._returns += rewards[:, t]
            self._lengths += 1
            for i in done[:, t].nonzero()[:, 0].tolist():
                self._ended.append((self._returns[i].item(), int(self._lengths[i])))
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
