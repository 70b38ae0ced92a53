"""The last transitions collected, for diagnostics of agents that keep none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from tensordict import TensorDict

if TYPE_CHECKING:
    from tensordict import TensorDictBase

    Array = np.ndarray[Any, Any]

ROOT = ("observation", "action")
NEXT = ("observation", "reward", "done", "terminated")


@final
class RecentTransitions:
    """A ring of one-step transitions, oldest overwritten first.

    In NumPy: a streaming agent passes here at every step, and a tensor's operation costs
    several times as much on so few numbers.
    """

    def __init__(self, size: int, gamma: float) -> None:
        self.size = size
        self._gamma = gamma
        self._rings: dict[tuple[str, str], Array] = {}
        self._seen = 0
        """Transitions ever taken."""

    def extend(self, transitions: TensorDictBase) -> None:
        """Take ``[N, T]`` transitions, on the host, as a collector gives them."""
        if not self.size:
            return
        for key, value in _columns(transitions):
            rows = value.swapaxes(0, 1).reshape(-1, *value.shape[2:])[-self.size :]
            if key not in self._rings:
                self._rings[key] = np.zeros((self.size, *rows.shape[1:]), rows.dtype)
            if len(rows) == 1:
                self._rings[key][self._seen % self.size] = rows[0]
            else:
                skipped = max(0, transitions.numel() - self.size)
                places = np.arange(self._seen + skipped, self._seen + skipped + len(rows))
                self._rings[key][places % self.size] = rows
        self._seen += transitions.numel()

    def __len__(self) -> int:
        return min(self._seen, self.size)

    def take(self, size: int) -> TensorDictBase:
        """The last ``size``, oldest first, with the discount of one step."""
        places = np.arange(self._seen - size, self._seen) % self.size
        found: dict[str, dict[str, torch.Tensor]] = {"root": {}, "next": {}}
        for (part, name), ring in self._rings.items():
            found[part][name] = torch.from_numpy(ring[places])
        alive = found["next"]["terminated"].logical_not()
        found["next"]["discount"] = self._gamma * alive.to(found["next"]["reward"].dtype)
        following = TensorDict(found["next"], batch_size=[size])
        return TensorDict({**found["root"], "next": following}, batch_size=[size])

    def state_dict(self) -> dict[str, Any]:
        rings = {f"{part}/{name}": ring for (part, name), ring in self._rings.items()}
        return {"size": self.size, "seen": self._seen, "rings": rings}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore; one of another size starts afresh."""
        if state["size"] == self.size:
            self._seen = state["seen"]
            self._rings = {tuple(key.split("/")): ring for key, ring in state["rings"].items()}


def _columns(transitions: TensorDictBase) -> list[tuple[tuple[str, str], Array]]:
    root: dict[str, Any] = dict(transitions.items())
    following: dict[str, Any] = dict(root["next"].items())
    columns = [(("root", name), root[name].numpy()) for name in ROOT]
    return columns + [(("next", name), following[name].numpy()) for name in NEXT]
