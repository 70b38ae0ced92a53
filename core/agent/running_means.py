"""Running means of an update's metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from core.api.losses import Metrics, Scalars


class RunningMeans:
    """Means of scalars over a logging interval, kept where they are: on a device or the host."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._sums: Any = None
        self._finite: Any = None
        self._count = 0
        self._start = 0

    def add(self, metrics: Metrics | Scalars, update: int) -> None:
        names = list(metrics)
        values = _vector(list(metrics.values()))
        if self._sums is None or names != self._names:
            self._names, self._count, self._start = names, 0, update
            self._sums, self._finite = _zeros(values), _zeros(values)
        # A sum stays non-finite once it is, so counting its finite updates finds the first bad.
        self._sums += values
        self._finite += abs(self._sums) < math.inf
        self._count += 1

    def first_non_finite(self) -> tuple[int, str] | None:
        """The earliest update with a non-finite metric, and the first such metric in order."""
        if self._finite is None or self._finite.min() == self._count:
            return None
        update, index = min((int(n), i) for i, n in enumerate(self._finite.tolist()))
        return self._start + update, self._names[index]

    def take(self) -> dict[str, float]:
        """The means since the last call, on the host; empties them."""
        if self._sums is None or self._count == 0:
            return {}
        means = (self._sums / self._count).tolist()
        self._sums[...] = 0
        self._finite[...] = 0
        self._start, self._count = self._start + self._count, 0
        return dict(zip(self._names, means, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """A copy: the sums go on in place."""
        sums = None if self._sums is None else self._sums + 0
        counts = {"count": self._count, "start": self._start}
        return {"names": list(self._names), "sums": sums, **counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore; only sums that are finite are ever saved (:meth:`Learner.check`)."""
        self._names, self._count, self._start = list(state["names"]), state["count"], state["start"]
        self._sums = None if state["sums"] is None else state["sums"] + 0
        self._finite = None if self._sums is None else _zeros(self._sums) + self._count


def _vector(values: list[Any]) -> Any:
    """One vector of 0-d tensors, or of numbers that are already on the host."""
    if isinstance(values[0], float):
        return np.array(values)
    return torch.stack([value.float() for value in values])


def _zeros(like: Any) -> Any:
    return np.zeros_like(like) if isinstance(like, np.ndarray) else torch.zeros_like(like)
